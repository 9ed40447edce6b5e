// Asks before an action that cannot be undone. The button's data-confirm names the consequence; the
// question is the button's text. Without scripts the form is sent directly.

import { element } from './dom.js'

const words = (text) => text.replace(/\s+/g, ' ').trim()

// Resolves to whether it was confirmed. Esc and Cancel decline; the element itself traps the focus and restores
// it afterwards.
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

// A live page may have replaced the form while the dialog was open: then it is sent from outside the swapped parts.
function send(form, button) {
  const swapped = !form.isConnected
  if (swapped) {
    form.hidden = true
    document.body.append(form)
  }
  form.requestSubmit(button)
  if (swapped) setTimeout(() => form.remove())
}

// Capturing, so that neither the page's own scripts nor other listeners see an unconfirmed form.
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
