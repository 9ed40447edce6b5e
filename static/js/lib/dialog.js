// Asks before something that cannot be undone. A button says so with data-confirm, which names the consequence; the
// question is the button's own words. Without scripts the form is sent as it is.

import { element } from './dom.js'

const words = (text) => text.replace(/\s+/g, ' ').trim()

// Resolves with whether it was agreed to. Esc and Cancel say no; the element itself keeps the focus inside and gives
// it back.
export function ask({ title, text, action }) {
  const cancel = element('button', { class: 'button', value: 'no', autofocus: '' }, 'Cancel')
  const agree = element('button', { class: 'button danger', value: 'yes', 'data-testid': 'agree' }, action)
  const form = element(
    'form',
    { method: 'dialog', class: 'sheet stack tight' },
    element('h2', { id: 'ask-title' }, title),
    element('p', { id: 'ask-text' }, text),
    element('div', { class: 'buttons' }, cancel, agree),
  )
  const named = { role: 'alertdialog', 'aria-labelledby': 'ask-title', 'aria-describedby': 'ask-text' }
  const dialog = element('dialog', named, form)
  document.body.append(dialog)
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => {
      dialog.remove()
      resolve(dialog.returnValue === 'yes')
    })
    dialog.showModal()
  })
}

// A live page may have swapped the form away while the question was open: then it is sent from where nothing swaps.
function send(form, button) {
  const swapped = !form.isConnected
  if (swapped) {
    form.hidden = true
    document.body.append(form)
  }
  form.requestSubmit(button)
  if (swapped) setTimeout(() => form.remove())
}

// Capturing, so that neither the page's own scripts nor a second listener see a form that is not agreed to yet.
export function wireConfirm() {
  const agreed = new WeakSet()
  document.addEventListener(
    'submit',
    async (event) => {
      const { target: form, submitter: button } = event
      if (!button?.dataset.confirm || agreed.has(button)) return
      event.preventDefault()
      event.stopImmediatePropagation()
      const action = words(button.textContent)
      const title = `${button.getAttribute('aria-label') ?? action}?`
      if (!(await ask({ title, text: words(button.dataset.confirm), action }))) return
      agreed.add(button)
      send(form, button)
      agreed.delete(button)
    },
    true,
  )
}
