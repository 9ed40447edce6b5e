// A short message in the corner, announced politely.

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
  // A repeated message is not added again, but stays longer.
  if (!action) [...place.children].find((other) => other.textContent === text)?.remove()
  place.append(note)
  setTimeout(() => note.remove(), (action ? Math.max(seconds, 20) : seconds) * 1000)
}
