// Saves the step as it is filled in, and shows what the server says of it, without a reload.

import { sendForm, throttled } from './lib/live.js'
import { wireDrop } from './lib/upload.js'

const form = document.querySelector('form[data-autosave]')
const saved = document.getElementById('saved')

async function save(extra = {}, submitter = null) {
  if (saved) saved.textContent = 'Saving'
  const response = await sendForm(form, { submitter, extra: { action: 'save', ...extra } })
  if (saved) saved.textContent = response?.ok ? 'Saved' : 'Not saved yet'
  mark()
}

// A field whose message is a problem says so to assistive technology and by its border.
function mark() {
  for (const message of form.querySelectorAll('.message[id^="msg-"]')) {
    const field = message.closest('.field')
    const wrong = message.classList.contains('problem') && message.textContent.trim() !== ''
    field?.classList.toggle('has-problem', wrong)
    const input = field?.querySelector('input, select, textarea')
    if (input) wrong ? input.setAttribute('aria-invalid', 'true') : input.removeAttribute('aria-invalid')
  }
}

if (form) {
  const later = throttled(700, () => save())
  form.addEventListener('change', (event) => {
    if (event.target.type === 'file' || event.target.id === 'try-completion') return
    later()
  })
  form.addEventListener('input', (event) => { if (event.target.matches('input:not([type]), textarea')) later() })
  // Small actions stay on the page; the ones that lead on are sent as usual.
  let leaving = false
  window.addEventListener('pageshow', () => { leaving = false })  // Back may bring this very page again.
  const reload = () => { if (!leaving) location.reload() }
  form.addEventListener('submit', (event) => {
    const action = event.submitter?.value ?? ''
    if (event.defaultPrevented) return
    leaving = !/^(save|try|next-row|previous-row|sample-.*|check|use-guess)$/.test(action)
    if (leaving) return
    event.preventDefault()
    save({ action }, event.submitter).then(() => {
      if (/row$|^sample-/.test(action) || action === 'use-guess') reload()
    })
  })
  // The server may get to an autosave after the form that was sent on leaving: this tells it which is the newer.
  let sent = 0
  form.addEventListener('formdata', (event) => { sent += 1; event.formData.set('ui.sent', `${performance.timeOrigin} ${sent}`) })
  wireDrop((info) => save({ 'ui.kind': 'upload', upload: `upload:${info.id}`, action: 'take-upload' }).then(reload))
  // Typing a name means the name, not the model that was ticked before.
  document.getElementById('model-name')?.addEventListener('input', () => { form.querySelector('[name="choice"][value=""]').checked = true })
  mark()
  form.querySelector('[aria-invalid="true"]')?.closest('details')?.setAttribute('open', '')
}
