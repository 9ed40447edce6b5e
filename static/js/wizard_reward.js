// The reward step's search for components. Adding one uses the button for pages without scripts.

import { wirePicker } from './lib/picker.js'

const root = document.getElementById('component-picker')
const add = document.getElementById('add-component')
if (root) {
  wirePicker(root, (name) => {
    document.getElementById('component').value = name
    add.form.requestSubmit(add)
  })
  // Removing a component also removes the focus.
  let removed = false
  add.form.addEventListener('submit', (event) => {
    removed ||= Boolean(event.submitter?.value.startsWith('remove-'))
  })
  document.addEventListener('live:swapped', () => {
    if (removed) document.getElementById('component-search').focus({ preventScroll: true })
    removed = false
  })
}
