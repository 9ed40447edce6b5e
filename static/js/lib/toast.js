// A short word in the corner, read out politely.

// With an action, such as { title: 'Undo', act }, there is a button, and more time to press it.
export function toast(text, seconds = 6, action = null) {
  const place = document.getElementById('toasts')
  const note = document.createElement('div')
  note.className = 'toast'
  note.textContent = text
  if (action) {
    const button = document.createElement('button')
    button.className = 'button small'
    button.textContent = action.title
    button.addEventListener('click', () => {
      note.remove()
      action.act()
    })
    note.append(' ', button)
  }
  // The same word again is not a second one: it only stays longer.
  if (!action) [...place.children].find((other) => other.textContent === text)?.remove()
  place.append(note)
  setTimeout(() => note.remove(), (action ? Math.max(seconds, 20) : seconds) * 1000)
}
