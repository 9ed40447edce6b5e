// A log on the page, line by line. Lines of native libraries are marked, so that 'Show everything' shows them; the
// server identifies them (core/log_tail.py) in the page's data. A filtered log only adds lines that
// match: `data-words` is text that a line must contain, `data-native="off"` leaves out native libraries.

import { element } from './dom.js'

const native = new RegExp(document.body.dataset.native)
const MOST = 800

export function addLine(place, text) {
  const remark = native.test(text)
  if (remark && place.dataset.native === 'off') return
  if (place.dataset.words && !text.toLowerCase().includes(place.dataset.words.toLowerCase())) return
  const atEnd = place.scrollHeight - place.scrollTop - place.clientHeight < 40
  place.querySelector('.nothing')?.remove()
  place.append(element('span', remark ? { class: 'native' } : {}, `${text}\n`))
  while (place.childElementCount > MOST) place.firstElementChild.remove()
  if (atEnd) place.scrollTop = place.scrollHeight
}
