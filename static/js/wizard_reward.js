// The reward step's search for components. Adding one is sent by the button that stands there without scripts.

import { wirePicker } from './lib/picker.js'

const root = document.getElementById('component-picker')
const add = document.getElementById('add-component')
if (root) {
  wirePicker(root, (name) => {
    document.getElementById('component').value = name
    add.form.requestSubmit(add)
  })
  // A component that is removed takes the focus with it.
  let removed = false
  add.form.addEventListener('submit', (event) => {
    removed ||= Boolean(event.submitter?.value.startsWith('remove-'))
  })
  document.addEventListener('live:swapped', () => {
    if (removed) document.getElementById('component-search').focus({ preventScroll: true })
    removed = false
  })
}
