import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import { FakeDocument, el } from './support/dom.js'
import { Combobox } from '../../static/js/lib/combobox.js'

const MODELS = [
  { value: 'a/one', text: '1B' },
  { value: 'a/two', text: '2B' },
]
let input, box, taken, asked, answer

beforeEach((t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  input = el('input', { id: 'model-name' })
  globalThis.document = new FakeDocument(el('div', {}, input))
  taken = []
  asked = []
  answer = () => Promise.resolve(MODELS)
  box = new Combobox(input, {
    label: 'Models',
    search: (text, signal) => {
      asked.push(text)
      return answer(signal)
    },
    words: (count) => `${count} found`,
    taken: (value) => taken.push(value),
  })
})

const settle = async () => {
  for (let turn = 0; turn < 10; turn += 1) await Promise.resolve()
}

async function type(t, text) {
  input.value = text
  input.dispatchEvent(new Event('input'))
  t.mock.timers.tick(300)
  await settle()
}

function press(key) {
  const event = Object.assign(new Event('keydown', { cancelable: true }), { key })
  input.dispatchEvent(event)
  return event
}

test('requests once typing pauses, and not for a single letter, a path or a URL', async (t) => {
  for (const text of ['q', '/models/mine', './here', '~/there', 'https://huggingface.co/Qwen']) await type(t, text)
  assert.deepEqual(asked, [])
  input.value = 'qw'
  input.dispatchEvent(new Event('input'))
  t.mock.timers.tick(200)
  await type(t, 'qwen')
  assert.deepEqual(asked, ['qwen'])
  assert.equal(input.getAttribute('aria-expanded'), 'true')
  assert.equal(box.status.textContent, '2 found')
})

test('works with the keyboard alone', async (t) => {
  assert.equal(press('ArrowDown').defaultPrevented, false)
  await type(t, 'qwen')
  assert.equal(press('Enter').defaultPrevented, false)
  press('ArrowUp')
  assert.equal(input.getAttribute('aria-activedescendant'), 'model-name-options-1')
  press('ArrowDown')
  assert.equal(box.options[0].getAttribute('aria-selected'), 'true')
  assert.equal(box.options[1].getAttribute('aria-selected'), 'false')
  assert.equal(press('Enter').defaultPrevented, true)
  assert.equal(input.value, 'a/one')
  assert.deepEqual(taken, ['a/one'])
  assert.equal(box.list.hidden, true)
  assert.equal(input.getAttribute('aria-activedescendant'), null)
})

test('Escape closes it and nothing else', async (t) => {
  await type(t, 'qwen')
  assert.equal(press('Escape').defaultPrevented, true)
  assert.equal(input.getAttribute('aria-expanded'), 'false')
  assert.equal(press('Escape').defaultPrevented, false)
  assert.deepEqual(taken, [])
})

test('a late response to an earlier query is not shown', async (t) => {
  let late
  answer = () =>
    new Promise((resolve) => {
      late = resolve
    })
  await type(t, 'qwen')
  const first = late
  await type(t, 'phi')
  late([MODELS[1]])
  await settle()
  first(MODELS)
  await settle()
  assert.deepEqual(
    box.options.map((option) => option.dataset.value),
    ['a/two'],
  )
})

test('says why there are no results', async (t) => {
  answer = () => Promise.reject(new Error('Hugging Face cannot be reached right now.'))
  await type(t, 'qwen')
  assert.equal(box.status.textContent, 'Hugging Face cannot be reached right now.')
  assert.equal(box.list.hidden, true)
})
