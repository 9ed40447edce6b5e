// A short word in the corner, read out politely.

export function toast(text, seconds = 6) {
  const place = document.getElementById('toasts')
  const note = document.createElement('div')
  note.className = 'toast'
  note.textContent = text
  place.append(note)
  setTimeout(() => note.remove(), seconds * 1000)
}
