import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import { FakeDocument, el } from './support/dom.js'
import { found, wirePicker } from '../../static/js/lib/picker.js'

const CHOICES = [
  {
    value: 'budget',
    title: 'Length budget',
    text: 'How long a summary is.',
    badge: "Doesn't check correctness",
    group: 'Summaries',
  },
  {
    value: 'numeric',
    title: 'Correct number',
    text: 'Compares numbers exactly.',
    badge: 'Checks the answer',
    group: 'Answers',
  },
  { value: 'length', title: 'Length', text: 'Counts words.', badge: "Doesn't check correctness", group: 'Format' },
]
const names = (query) => found(CHOICES, query).map(({ value }) => value)

test('every word matches the start of a word in title, description or family; titles come first', () => {
  assert.deepEqual(names(''), ['budget', 'numeric', 'length'])
  assert.deepEqual(names('NUMB'), ['numeric'])
  assert.deepEqual(names('long'), ['budget'])
  assert.deepEqual(names('summaries length'), ['budget'])
  assert.deepEqual(names('words'), ['length'])
  assert.deepEqual(names('umber'), [])
  assert.deepEqual(
    found([CHOICES[2], { ...CHOICES[1], text: 'Not length.' }], 'length').map(({ value }) => value),
    ['length', 'numeric'],
  )
})

beforeEach(() => {
  globalThis.document = new FakeDocument()
})

function picker() {
  const options = CHOICES.map(({ value, title, text, badge }) =>
    Object.assign(el('option', { 'data-text': text, 'data-badge': badge }, title), { value }),
  )
  const groups = options.map((option, at) => Object.assign(el('optgroup', {}, option), { label: CHOICES[at].group }))
  for (const [at, option] of options.entries()) option.parentElement = groups[at]
  const select = Object.assign(el('select', {}, ...groups), { options })
  const root = el('div', {}, select)
  const picked = []
  wirePicker(root, (value) => picked.push(value))
  const search = root.querySelector('input')
  const type = (text) => {
    search.value = text
    search.dispatchEvent(new Event('input'))
  }
  const press = (key) => search.dispatchEvent(Object.assign(new Event('keydown', { cancelable: true }), { key }))
  const rest = root.children[1].children
  return { picked, type, press, said: () => rest[2].textContent, shown: () => rest[3].children.length }
}

test('Enter picks the first match and never submits the form; without a query it picks nothing', () => {
  const { picked, type, press, said, shown } = picker()
  assert.equal(shown(), 3)
  assert.equal(press('Enter'), false)
  assert.deepEqual(picked, [])
  type('number')
  assert.equal(shown(), 1)
  assert.equal(press('Enter'), false)
  assert.deepEqual(picked, ['numeric'])
  assert.equal(said(), 'Added: Correct number.')
  type('zebra')
  assert.equal(shown(), 0)
  assert.equal(said(), 'No component matches. Try another word.')
})
