// What every page shares: theme, palette, keys, console drawer, the machine's readings.

import { number } from './lib/format.js'
import { pageData } from './lib/api.js'
import { held, hold } from './lib/busy.js'
import { polled, refresh, sendForm, throttled } from './lib/live.js'
import { addLine } from './lib/log.js'
import { tellEnd, wireNotify } from './lib/notify.js'
import { toast } from './lib/toast.js'

document.documentElement.classList.add('js')

const typing = (target) =>
  target.matches?.('input:not([type="checkbox"], [type="radio"], [type="range"]), textarea, select, [contenteditable]')

// Theme: the server keeps it in a cookie; here the page changes without a reload.
const themeForm = document.getElementById('theme-form')
themeForm?.addEventListener('submit', async (event) => {
  event.preventDefault()
  const response = await fetch(themeForm.action, { method: 'POST', body: new FormData(themeForm) })
  const fresh = new DOMParser().parseFromString(await response.text(), 'text/html')
  const theme = fresh.documentElement.dataset.theme
  if (theme) document.documentElement.dataset.theme = theme
  else delete document.documentElement.dataset.theme
  const button = themeForm.querySelector('button')
  const next = fresh.querySelector('#theme-form')
  themeForm.elements.theme.value = next.elements.theme.value
  for (const name of ['aria-label', 'title']) button.setAttribute(name, next.querySelector('button').getAttribute(name))
  button.innerHTML = next.querySelector('button').innerHTML
  document.dispatchEvent(new CustomEvent('theme:changed'))
  toast(button.title, 2)
})

// Palette: every page and action, found by typing.
function paletteDialog() {
  const dialog = document.createElement('dialog')
  dialog.className = 'palette'
  dialog.setAttribute('aria-label', 'Find a page or an action')
  dialog.innerHTML =
    '<input role="combobox" aria-expanded="true" aria-controls="palette-list" aria-label="Find a page or an action" ' +
    'placeholder="Where to, or what to do" autocomplete="off">' +
    '<ul id="palette-list" role="listbox" aria-label="Pages and actions"></ul>' +
    '<p class="nothing muted" role="status"></p>'
  document.body.append(dialog)
  return dialog
}

function buildPalette(entries) {
  const dialog = paletteDialog()
  const [input, list, nothing] = dialog.children
  let chosen = 0
  const draw = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean)
    const found = entries.filter((entry) =>
      words.every((word) => `${entry.title} ${entry.kind}`.toLowerCase().includes(word)),
    )
    chosen = Math.max(0, Math.min(chosen, found.length - 1))
    list.replaceChildren(
      ...found.map((entry, index) => {
        const item = paletteItem(entry, index, index === chosen)
        item.onclick = () => go(entry)
        return item
      }),
    )
    nothing.textContent = found.length ? '' : `No page or action fits '${input.value.trim()}'.`
    input.setAttribute('aria-activedescendant', found.length ? `palette-${chosen}` : '')
    list.children[chosen]?.scrollIntoView({ block: 'nearest' })
    return found
  }
  const go = (entry) => {
    dialog.close()
    if (entry.action) actions[entry.action]?.()
    else location.href = entry.url
  }
  input.oninput = () => {
    chosen = 0
    draw()
  }
  input.onkeydown = (event) => {
    if (event.key === 'ArrowDown') chosen += 1
    else if (event.key === 'ArrowUp') chosen -= 1
    else if (event.key === 'Enter') {
      event.preventDefault()
      const found = draw()
      if (found[chosen]) go(found[chosen])
      return
    } else return
    event.preventDefault()
    draw()
  }
  return {
    open: () => {
      input.value = ''
      chosen = 0
      draw()
      dialog.showModal()
      input.focus()
    },
  }
}

function paletteItem(entry, index, chosen) {
  const item = document.createElement('li')
  item.id = `palette-${index}`
  item.setAttribute('role', 'option')
  item.setAttribute('aria-selected', String(chosen))
  const kind = document.createElement('small')
  kind.className = 'muted'
  kind.textContent = entry.kind
  item.append(entry.title, kind)
  return item
}

// Keys of a single letter can be switched off: speech input and slips of the hand press them, too.
const LETTERS = 'tunesmith.letters'
const letters = () => localStorage.getItem(LETTERS) !== 'off'
const KEYS = [
  ['Ctrl + K', 'Find a page or an action'],
  ['Esc', 'Close what is open'],
  ['L', 'Show or hide the log'],
  ['T', 'Change the theme'],
  ['?', 'This list'],
]
const showKey = () => {
  const hint = document.getElementById('console-key')
  if (hint) hint.hidden = !letters()
}
showKey()

function showKeys() {
  const dialog = document.createElement('dialog')
  dialog.setAttribute('aria-labelledby', 'keys-title')
  const rows = KEYS.map(([key, text]) => `<dt><kbd>${key}</kbd></dt><dd>${text}</dd>`).join('')
  dialog.innerHTML = `<div class="sheet stack tight">
    <h2 id="keys-title">Keys</h2><dl>${rows}</dl>
    <p><label><input type="checkbox" id="letters"> Keys of a single letter (L, T, ?)</label></p>
    <p><button class="button" autofocus>Close</button></p>
  </div>`
  const box = dialog.querySelector('#letters')
  box.checked = letters()
  box.onchange = () => {
    localStorage.setItem(LETTERS, box.checked ? 'on' : 'off')
    showKey()
  }
  dialog.querySelector('button').onclick = () => dialog.close()
  dialog.onclose = () => dialog.remove()
  document.body.append(dialog)
  dialog.showModal()
}

function toggleConsole() {
  const drawer = document.getElementById('console')
  if (!drawer) return toast('There is no job whose log could be shown.')
  drawer.open = !drawer.open
}

const actions = { theme: () => themeForm?.requestSubmit(), console: toggleConsole, keys: showKeys }
const entries = pageData('palette-data') ?? []
const palette = entries.length ? buildPalette(entries) : null
document.getElementById('open-palette')?.addEventListener('click', () => palette?.open())

const letterKeys = { '?': showKeys, l: toggleConsole, t: actions.theme }

document.addEventListener('keydown', (event) => {
  const meta = event.ctrlKey || event.metaKey
  const key = event.key.toLowerCase()
  if (meta && key === 'k' && palette) {
    event.preventDefault()
    palette.open()
    return
  }
  if (document.querySelector('dialog[open], [popover]:popover-open')) return
  if (event.key === 'Escape' && drawer?.open) {
    closeLog()
    return
  }
  if (typing(event.target) || meta || event.altKey || !letters()) return
  letterKeys[key]?.()
})

// The log of the job in view.
const log = document.getElementById('console-log')
const drawer = document.getElementById('console')
const toEnd = () => {
  if (log) log.scrollTop = log.scrollHeight
}
drawer?.addEventListener('toggle', toEnd)
function closeLog() {
  const inside = drawer.contains(document.activeElement)
  drawer.open = false
  if (inside) drawer.querySelector('summary').focus()
}

// Copy buttons and confirmations, wherever they are.
document.addEventListener('click', async (event) => {
  const button = event.target.closest('[data-copy]')
  if (!button) return
  const text = button.dataset.copy || document.getElementById(button.dataset.copyFrom)?.textContent || ''
  try {
    await navigator.clipboard.writeText(text)
    toast('Copied.', 2)
  } catch {
    toast('The browser did not allow copying. Select the text instead.')
  }
})
document.addEventListener('submit', (event) => {
  const form = event.target
  if (held(form)) {
    event.preventDefault()
    return
  }
  const question = event.submitter?.dataset.confirm
  if (question && !window.confirm(question)) {
    event.preventDefault()
    return
  }
  // What a page's own script takes over (autosave, chat) is no second sending, however often it comes.
  if (event.defaultPrevented || form.method !== 'post') return
  const free = hold(form, event.submitter)
  if (form.dataset.liveSubmit !== undefined) {
    event.preventDefault()
    sendForm(form, { submitter: event.submitter }).then(free)
  }
})
document.addEventListener(
  'toggle',
  (event) => {
    if (event.target.matches?.('.menu'))
      event.target.querySelector('summary').setAttribute('aria-expanded', String(event.target.open))
  },
  true,
)

wireNotify()
setInterval(() => {
  if (polled()) refresh()
}, 2000)

const gauges = {
  cpu: (update) => `${Math.round(update.cpu)} %`,
  memory: (update) => percentOrBytes(update.memory),
  gpu: (update) => (update.gpu_utilization == null ? null : `${Math.round(update.gpu_utilization)} %`),
}
const percentOrBytes = (value) =>
  typeof value === 'object' && value
    ? `${number(value.used / 1e9, 2)} / ${number(value.total / 1e9, 2)} GB`
    : `${Math.round(value)} %`

if (document.querySelector('.rail')) {
  const { socket } = await import('./lib/socket.js')
  socket.on('system_update', (update) => {
    for (const spot of document.querySelectorAll('[data-gauge]')) {
      const text = gauges[spot.dataset.gauge]?.(update)
      if (text) spot.textContent = text
    }
  })
  // A page whose content moves fetches itself; every other page only its top bar, from a small page.
  const moving = () => (document.querySelector('[data-refresh]') ? location.href : '/shell')
  const soon = throttled(1200, () => refresh(moving()))
  socket.on('training_status', soon)
  socket.on('export_progress', soon)
  socket.on('evaluation_status', soon)
  socket.on('probe_status', soon)
  socket.on(
    'training_update',
    throttled(3000, () => refresh(moving())),
  )
  const session = document.body.dataset.session
  socket.on('log_line', (entry) => {
    if (entry.session_id !== session) return
    for (const place of document.querySelectorAll('#console-log, #run-log'))
      addLine(place, entry.line ?? entry.text ?? '')
  })
  socket.on('training_status', tellEnd)
  // Also the first time: what happened between the page and its connection was told to nobody.
  socket.on('connect', soon)
}
