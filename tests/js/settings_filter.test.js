import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import { FakeDocument, el } from './support/dom.js'

const { wireFilter } = await import('../../static/js/lib/settings_filter.js')

const field = (name, label, hint) =>
  el('div', { class: 'field' }, el('label', {}, label), el('input', { name }), el('p', { class: 'hint' }, hint))
const group = (title, ...fields) => Object.assign(el('details', {}, el('h2', {}, title), ...fields), { open: false })

let input, told, fields, groups
beforeEach(() => {
  fields = [
    field('training.max_new_tokens', 'Maximum answer length', 'In tokens.'),
    field('training.temperature', 'Temperature', 'Higher varies more.'),
    field('training.learning_rate', 'Learning rate', 'How much each step changes the model.'),
  ]
  groups = [group('Answer generation', fields[0], fields[1]), group('Optimizer', fields[2])]
  groups[1].open = true
  ;[input, told] = [el('input'), el('p')]
  globalThis.document = new FakeDocument(el('form', { id: 'settings' }, ...groups))
  wireFilter(input, told)
})

const type = (text) => {
  input.value = text
  input.dispatchEvent(new Event('input'))
}
const press = (key) => {
  const event = Object.assign(new Event('keydown', { cancelable: true }), { key })
  input.dispatchEvent(event)
  return event.defaultPrevented
}
const shown = () => fields.map((one) => !one.hidden)

test('a setting is found by its title, its explanation, its group or its name in files', () => {
  for (const [query, found] of [
    ['temp', [false, true, false]],
    ['CHANGES model', [false, false, true]],
    ['generation', [true, true, false]],
    ['max_new_tokens', [true, false, false]],
  ]) {
    type(query)
    assert.deepEqual(shown(), found, query)
  }
})

test('groups with a match are open, and collapsed as before when the search is cleared', () => {
  type('temp')
  assert.deepEqual([groups[0].open, groups[1].hidden], [true, true])
  assert.equal(told.textContent, '1 of 3 settings')
  assert.ok(press('Escape'))
  assert.deepEqual([groups[0].open, groups[1].open, groups[1].hidden], [false, true, false])
  assert.deepEqual(shown(), [true, true, true])
  assert.equal(told.textContent, '')
})

test('Enter goes to the first match and submits nothing; no match is reported', () => {
  type('rate')
  assert.ok(press('Enter'))
  assert.equal(document.activeElement, fields[2].querySelector('input'))
  type('nonsense')
  assert.equal(told.textContent, "No setting matches 'nonsense'")
  assert.ok(press('Enter'))
})
