// Autosaves the step and shows the server's remarks, without a reload.

import { element } from './lib/dom.js'
import { sendForm, throttled } from './lib/live.js'
import { wireFilter } from './lib/settings_filter.js'
import { wireDrop } from './lib/upload.js'

const RETRY_MS = 4000
const form = document.querySelector('form[data-autosave]')
const saved = document.getElementById('saved')

let edits = 0 // since the last save that arrived
let away = false // the last save did not arrive
let stale = false // another tab changed what this page cannot show without a reload
let retry = null

const tell = (...words) => saved?.replaceChildren(...words)

async function save(extra = {}, submitter = null) {
  if (stale) return
  const [sent, was, entered] = [edits, form.elements.was?.value, entries()]
  tell('Saving')
  const answer = await sendForm(form, { submitter, extra: { action: 'save', ...extra }, quiet: away })
  away = !answer?.ok
  if (away) {
    tell('Not saved yet')
    clearTimeout(retry)
    retry = setTimeout(again, RETRY_MS)
    return
  }
  edits -= sent
  mark()
  if (follow(answer, entered)) return tell(wrong() || 'Saved')
  // The page's original state is kept: if the form is sent anyway, the server rejects it again.
  stale = true
  edits = 0
  if (form.elements.was) form.elements.was.value = was
  tell('Changed in another tab. ', element('a', { href: location.pathname }, 'Reload'))
}

function again() {
  if (away && !stale) save()
}

const entry = (field) => (field.type === 'checkbox' ? field.checked : field.value)
const entries = () => new Map([...form.elements].filter((field) => field.name).map((field) => [field, entry(field)]))

// Shows what another tab changed. False if that needs a reload: both changed the same field, even while the
// save was pending, or a field of another type.
function follow({ url, page }, entered) {
  const told = new URL(url).searchParams
  if (told.get('refused')) return false
  const theirs = page?.querySelector('form[data-autosave]')
  return (told.get('elsewhere') ?? '')
    .split(' ')
    .filter(Boolean)
    .every((path) => {
      const [here, there] = [form.elements[path], theirs?.elements[path]]
      if (!(here instanceof HTMLElement) || !(there instanceof HTMLElement)) return false
      if (entry(here) !== entered.get(here)) return false
      if (here.type === 'checkbox') here.checked = there.checked
      else here.value = there.value
      return true
    })
}

function wrong() {
  const count = form.querySelectorAll('.message.problem:not(:empty), #reward-problems .note.problem').length
  return count && `${count === 1 ? 'One field needs' : `${count} fields need`} a correction. What you typed is kept.`
}

// A field with a problem is marked for assistive technology and by its border.
function mark() {
  for (const message of form.querySelectorAll('.message[id^="msg-"]')) {
    const field = message.closest('.field')
    const bad = message.classList.contains('problem') && message.textContent.trim() !== ''
    field?.classList.toggle('has-problem', bad)
    const input = field?.querySelector('input, select, textarea')
    if (bad) input?.setAttribute('aria-invalid', 'true')
    else input?.removeAttribute('aria-invalid')
  }
}

wireFilter(document.getElementById('settings-filter'), document.getElementById('settings-found'))

if (form) {
  // Continue by keyboard from any field, but do not press Start.
  document.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey)) return
    const next = form.querySelector('button[value="next"]')
    if (!next || document.querySelector('dialog[open]')) return
    event.preventDefault()
    form.requestSubmit(next)
  })
  const later = throttled(700, () => save())
  // A search within the form is no part of it: it has no name, or a form of its own.
  const edited = ({ target: field }) => {
    if (!field.name || field.form !== form) return
    edits += 1
    later()
  }
  form.addEventListener('change', (event) => {
    if (event.target.type !== 'file' && event.target.id !== 'try-completion') edited(event)
  })
  form.addEventListener('input', (event) => {
    if (event.target.matches('input:not([type]), textarea')) edited(event)
  })
  // Small actions stay on the page; navigating ones are sent as usual.
  let leaving = false
  window.addEventListener('pageshow', () => {
    leaving = false
  }) // Back may restore this page.
  const reload = () => {
    if (!leaving) location.reload()
  }
  form.addEventListener('submit', (event) => {
    const action = event.submitter?.value ?? ''
    if (event.defaultPrevented) return
    leaving = !/^(save|try|next-row|previous-row|sample-.*|check|use-guess|add-component|remove-.*)$/.test(action)
    if (leaving) return
    event.preventDefault()
    save({ action }, event.submitter).then(() => {
      if (/row$|^sample-/.test(action) || action === 'use-guess') reload()
    })
  })
  // The server may process an autosave after the form that was sent on leaving: this tells which is newer.
  let sent = 0
  form.addEventListener('formdata', (event) => {
    sent += 1
    event.formData.set('ui.sent', `${performance.timeOrigin} ${sent}`)
  })

  // Input from while the server was unreachable is sent when it is back; leaving before that asks first.
  window.addEventListener('online', again)
  if (document.querySelector('.rail')) import('./lib/socket.js').then(({ socket }) => socket.on('connect', again))
  window.addEventListener('beforeunload', (event) => {
    if (edits && away && !leaving) event.preventDefault()
  })
  // Recent input is sent when the page is left.
  window.addEventListener('pagehide', () => {
    if (!edits || away || stale || leaving) return
    const data = new FormData(form)
    data.set('action', 'save')
    data.delete('file')
    edits = 0
    fetch(location.pathname, { method: 'POST', body: data, keepalive: true, redirect: 'manual' }).catch(() => {})
  })

  wireDrop((info) =>
    save({ 'ui.kind': 'upload', upload: `upload:${info.id}`, action: 'take-upload' }).then(() => {
      if (info.already) location.href = '/new/dataset?already=1'
      else reload()
    }),
  )
  // Typing a name selects the name, not the previously selected model.
  document.getElementById('model-name')?.addEventListener('input', () => {
    form.querySelector('[name="choice"][value=""]').checked = true
  })
  mark()
  form.querySelector('[aria-invalid="true"]')?.closest('details')?.setAttribute('open', '')
}
