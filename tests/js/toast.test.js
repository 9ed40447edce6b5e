import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeDocument, el } from './support/dom.js'
import { toast } from '../../static/js/lib/toast.js'

test('a message stays for its time, beside the others', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const place = el('div', { id: 'toasts' })
  globalThis.document = new FakeDocument(place)
  toast('Copied.', 2)
  toast('<b>Saved</b>')
  assert.deepEqual(
    place.elements.map((note) => note.textContent),
    ['Copied.', '<b>Saved</b>'],
  )
  t.mock.timers.tick(2000)
  assert.equal(place.textContent, '<b>Saved</b>')
  t.mock.timers.tick(4000)
  assert.equal(place.childElementCount, 0)
})

test('the same message again replaces the first', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const place = el('div', { id: 'toasts' })
  globalThis.document = new FakeDocument(place)
  toast('The page has expired.', 4)
  t.mock.timers.tick(3000)
  toast('The page has expired.', 4)
  assert.equal(place.childElementCount, 1)
  t.mock.timers.tick(3000)
  assert.equal(place.textContent, 'The page has expired.')
})

test('an action stays long enough to be clicked, and removes the message', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const place = el('div', { id: 'toasts' })
  globalThis.document = new FakeDocument(place)
  const acts = []
  toast('Deleted.', 2, { title: 'Undo', act: () => acts.push('undone') })
  t.mock.timers.tick(19_000)
  assert.equal(place.textContent, 'Deleted. Undo')
  place.querySelector('button').dispatchEvent(new Event('click'))
  assert.deepEqual([acts, place.childElementCount], [['undone'], 0])
  toast('Deleted.', 2, { title: 'Undo', act: () => acts.push('again') })
  t.mock.timers.tick(20_000)
  assert.deepEqual([acts, place.childElementCount], [['undone'], 0])
})
