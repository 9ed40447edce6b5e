// A short word in the corner, read out politely.

import { button, element } from './dom.js'

// With an action, such as { title: 'Undo', act }, there is a button, and more time to press it.
export function toast(text, seconds = 6, action = null) {
  const place = document.getElementById('toasts')
  const note = element('div', { class: 'toast' }, text)
  const act = () => {
    note.remove()
    action.act()
  }
  if (action) note.append(' ', button('button small', action.title, act))
  // The same word again is not a second one: it only stays longer.
  if (!action) [...place.children].find((other) => other.textContent === text)?.remove()
  place.append(note)
  setTimeout(() => note.remove(), (action ? Math.max(seconds, 20) : seconds) * 1000)
}
