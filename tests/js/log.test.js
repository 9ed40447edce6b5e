import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import { FakeDocument, el } from './support/dom.js'

globalThis.document = new FakeDocument()
document.body.dataset.native = '^llama_|^ggml_'
const { addLine } = await import('../../static/js/lib/log.js')

let place
beforeEach(() => {
  place = Object.assign(el('pre', {}, el('span', { class: 'nothing' }, 'Nothing yet')), {
    scrollHeight: 500,
    clientHeight: 100,
    scrollTop: 400,
  })
})

test('lines of native libraries are marked, and the first line replaces the empty state', () => {
  addLine(place, 'Loading the model')
  addLine(place, 'llama_new_context: n_ctx = 128')
  assert.equal(place.textContent, 'Loading the model\nllama_new_context: n_ctx = 128\n')
  assert.deepEqual(
    place.elements.map((line) => line.className),
    ['', 'native'],
  )
})

test('a filtered log adds only matching lines', () => {
  Object.assign(place.dataset, { words: 'Step', native: 'off' })
  for (const line of ['Training step 1', 'Loading', 'llama_step: 3']) addLine(place, line)
  assert.equal(place.textContent, 'Training step 1\n')
})

test('it follows the end unless the user has scrolled up', () => {
  addLine(place, 'a')
  assert.equal(place.scrollTop, 500)
  place.scrollTop = 100
  addLine(place, 'b')
  assert.equal(place.scrollTop, 100)
})

test('only the last lines are kept', () => {
  for (let line = 0; line < 805; line += 1) addLine(place, String(line))
  assert.equal(place.childElementCount, 800)
  assert.equal(place.firstElementChild.textContent, '5\n')
})
