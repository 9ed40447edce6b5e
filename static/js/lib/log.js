// A log on the page: a line each, those of native libraries marked, so that 'Show all lines' shows them.
// Which those are says the server (services/jobs/tail.py), in the page's own data.

const native = new RegExp(document.body.dataset.native)
const MOST = 800

export function addLine(place, text) {
  const atEnd = place.scrollHeight - place.scrollTop - place.clientHeight < 40
  place.querySelector('.nothing')?.remove()
  const line = document.createElement('span')
  if (native.test(text)) line.className = 'native'
  line.textContent = `${text}\n`
  place.append(line)
  while (place.childElementCount > MOST) place.firstElementChild.remove()
  if (atEnd) place.scrollTop = place.scrollHeight
}
