// Shared by every page: theme, palette, shortcuts, log drawer, system status.

import { number } from './lib/format.js'
import { held, hold } from './lib/busy.js'
import { wireConfirm } from './lib/dialog.js'
import { polled, refresh, sendForm, throttled } from './lib/live.js'
import { addLine } from './lib/log.js'
import { tellEnd, wireNotify } from './lib/notify.js'
import { makePalette } from './lib/palette.js'
import { toast } from './lib/toast.js'

document.documentElement.classList.add('js')

const typing = (target) =>
  target.matches?.('input:not([type="checkbox"], [type="radio"], [type="range"]), textarea, select, [contenteditable]')

// Theme: stored in a cookie by the server; changed here without a reload.
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

// Single-letter shortcuts can be disabled, here or in Settings, because speech input and accidental keys trigger them.
const LETTERS = 'tunesmith.letters'
const offInSettings = () => document.body.dataset.shortcuts === 'off'
const letters = () => !offInSettings() && localStorage.getItem(LETTERS) !== 'off'
const showKey = () => {
  const hint = document.getElementById('console-key')
  if (hint) hint.hidden = !letters()
}
showKey()

// The list comes from the help page, so that the two cannot differ.
async function showKeys() {
  const text = await fetch('/help/shortcuts')
    .then((response) => response.text())
    .catch(() => '')
  const list = new DOMParser().parseFromString(text, 'text/html').getElementById('shortcuts')
  if (!list) return toast('The list could not be loaded. Check that the server is running, then try again.')
  const dialog = document.createElement('dialog')
  dialog.setAttribute('aria-labelledby', 'keys-title')
  dialog.innerHTML = `<div class="sheet stack tight">
    <h2 id="keys-title">Keyboard shortcuts</h2>
    <p><label class="row"><input type="checkbox" id="letters"> Single-letter shortcuts (L, T, ?)</label></p>
    <p><button class="button" autofocus>Close</button></p>
  </div>`
  dialog.querySelector('h2').after(document.importNode(list, true))
  const box = dialog.querySelector('#letters')
  box.checked = letters()
  box.disabled = offInSettings()
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
  if (!drawer) return toast('There is no log to show: no job is running.')
  drawer.open = !drawer.open
}

const actions = { theme: () => themeForm?.requestSubmit(), console: toggleConsole, keys: showKeys }
const openPalette = document.getElementById('open-palette') ? makePalette(actions) : null
document.getElementById('open-palette')?.addEventListener('click', openPalette)

const letterKeys = { '?': showKeys, l: toggleConsole, t: actions.theme }

document.addEventListener('keydown', (event) => {
  const meta = event.ctrlKey || event.metaKey
  const key = event.key.toLowerCase()
  if (meta && key === 'k' && openPalette) {
    event.preventDefault()
    openPalette()
    return
  }
  if (document.querySelector('dialog[open], [popover]:popover-open')) return
  if (event.key === 'Escape') {
    const open = [menu, drawer].find((part) => part?.open)
    if (open) close(open)
    return
  }
  if (typing(event.target) || meta || event.altKey || !letters()) return
  letterKeys[key]?.()
})

// The log of the displayed job.
const log = document.getElementById('console-log')
const drawer = document.getElementById('console')
const toEnd = () => {
  if (log) log.scrollTop = log.scrollHeight
}
drawer?.addEventListener('toggle', toEnd)
function close(details) {
  const inside = details.contains(document.activeElement)
  details.open = false
  if (inside) details.querySelector('summary').focus()
}
const menu = document.querySelector('.menu')
document.addEventListener('click', (event) => {
  if (menu?.open && !menu.contains(event.target)) menu.open = false
})

// Confirmations and copy buttons on all pages.
wireConfirm()
document.addEventListener('click', async (event) => {
  const button = event.target.closest('[data-copy], [data-copy-from]')
  if (!button) return
  const text = button.dataset.copy || document.getElementById(button.dataset.copyFrom)?.textContent || ''
  try {
    await navigator.clipboard.writeText(text)
    toast('Copied.', 2)
  } catch {
    toast('Your browser blocked copying. Select the text and copy it yourself.')
  }
})
document.addEventListener('submit', (event) => {
  const form = event.target
  if (held(form)) {
    event.preventDefault()
    return
  }
  // Submits that a page's own script handles (autosave, chat) are not duplicates.
  if (event.defaultPrevented || form.method !== 'post') return
  const free = hold(form, event.submitter)
  if (form.dataset.liveSubmit !== undefined) {
    event.preventDefault()
    sendForm(form, { submitter: event.submitter }).then(free)
  }
})

// What's new is marked until its page was opened with this version, except on a first visit.
const SEEN = 'tunesmith.seen'
const read = document.getElementById('version-seen')?.dataset.version
const links = [...document.querySelectorAll('[data-version].version')]
if (read || !localStorage.getItem(SEEN)) localStorage.setItem(SEEN, read ?? links[0]?.dataset.version ?? '')
for (const link of links) {
  const mark = link.querySelector('.tag')
  mark.hidden = localStorage.getItem(SEEN) === link.dataset.version
}

wireNotify()
setInterval(() => {
  if (polled()) refresh()
}, 2000)

const gauges = {
  cpu: (update) => `${Math.round(update.cpu)}%`,
  memory: (update) => percentOrBytes(update.memory),
  gpu: (update) => (update.gpu_utilization == null ? null : `${Math.round(update.gpu_utilization)}%`),
}
const percentOrBytes = (value) =>
  typeof value === 'object' && value
    ? `${number(value.used / 1e9, 2)} / ${number(value.total / 1e9, 2)} GB`
    : `${Math.round(value)}%`

if (document.querySelector('.rail')) {
  const { socket } = await import('./lib/socket.js')
  socket.on('system_update', (update) => {
    for (const spot of document.querySelectorAll('[data-gauge]')) {
      const text = gauges[spot.dataset.gauge]?.(update)
      if (text) spot.textContent = text
    }
  })
  // A page with live content fetches itself; other pages fetch only the top bar, from a small page.
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
  // Also the first time, because changes between the page's request and its connection were missed.
  socket.on('connect', soon)
}
