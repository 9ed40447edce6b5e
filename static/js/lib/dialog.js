// Asks before something that cannot be undone. A button says so with data-confirm, which names the consequence; the
// question is the button's own words. Without scripts the form is sent as it is.

const words = (text) => text.replace(/\s+/g, ' ').trim()

function element(name, values, ...inside) {
  const node = Object.assign(document.createElement(name), values)
  node.append(...inside)
  return node
}

// Resolves with whether it was agreed to. Esc and Cancel say no; the element itself keeps the focus inside and gives
// it back.
export function ask({ title, text, action }) {
  const cancel = element('button', { className: 'button', value: 'no', autofocus: true }, 'Cancel')
  const agree = element('button', { className: 'button danger', value: 'yes' }, action)
  agree.dataset.testid = 'agree'
  const form = element(
    'form',
    { method: 'dialog', className: 'sheet stack tight' },
    element('h2', { id: 'ask-title' }, title),
    element('p', { id: 'ask-text' }, text),
    element('div', { className: 'buttons' }, cancel, agree),
  )
  const dialog = element('dialog', { className: 'ask' }, form)
  dialog.setAttribute('role', 'alertdialog')
  dialog.setAttribute('aria-labelledby', 'ask-title')
  dialog.setAttribute('aria-describedby', 'ask-text')
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
