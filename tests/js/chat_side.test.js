import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import { FakeDocument, el } from './support/dom.js'

globalThis.document = new FakeDocument()
const { Side } = await import('../../static/js/lib/chat_side.js')
const { factsOf } = await import('../../static/js/lib/chat_turns.js')
const { socket } = await import('../../static/js/lib/socket.js')

let frames
let page
let side
let section

function select(...values) {
  const options = values.map((value) => Object.assign(el('option', {}, `Model ${value}`), { value }))
  return Object.assign(el('select', { class: 'js-model' }, ...options), {
    options,
    value: values[0],
    get selectedOptions() {
      return options.filter((option) => option.value === this.value)
    },
  })
}

beforeEach(() => {
  socket.sent = []
  frames = []
  globalThis.requestAnimationFrame = (frame) => frames.push(frame)
  section = el(
    'section',
    {},
    el('div', { class: 'messages' }),
    el('p', { class: 'js-called' }),
    el('p', { class: 'facts' }),
    el('button', { class: 'js-again' }),
    select('m', 'other'),
    el('input', { class: 'js-other' }),
  )
  page = { system: 'Be brief.', settings: { temperature: 0 }, tokens: false, plain: false, chose: [] }
  page.markdown = (text) => el('p', {}, text)
  page.changed = () => {}
  page.chosen = (model) => page.chose.push(model)
  page.titleOf = (model) => `Model ${model}`
  side = new Side(section, page)
})

const words = () =>
  section
    .querySelector('.messages')
    .querySelectorAll('.bubble, .note, .seen')
    .map((node) => node.textContent)
const drawn = () => frames.splice(0).forEach((frame) => frame(performance.now()))
const said = () => section.querySelector('.facts').textContent

test('details show tokens, time, speed, the prompt, and why it ended', () => {
  assert.equal(factsOf({}), '')
  assert.equal(factsOf({ tokens: 1, seconds: 0 }), '1 token in 0 s')
  assert.equal(
    factsOf({ tokens: 20, seconds: 4, prompt_tokens: 7, finish: 'length' }),
    '20 tokens in 4 s, 5 tokens per second, prompt 7 tokens; cut off at the maximum length',
  )
  assert.equal(factsOf({ tokens: 2, seconds: 1, finish: 'stop' }), '2 tokens in 1 s, 2 tokens per second')
  assert.equal(factsOf({ finish: 'left' }), 'Incomplete, because the page was closed')
})

test('a question is sent with the system prompt and settings, and the answer grows token by token', async () => {
  const over = side.ask('What is 1 + 1?')
  const { data } = socket.sent[0]
  assert.equal(data.model_path, 'm')
  assert.equal(data.temperature, 0)
  assert.deepEqual(data.messages, [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'What is 1 + 1?' },
  ])
  assert.equal(said(), 'Waiting for the model…')
  side.waiting({ ahead: 2 })
  assert.equal(said(), 'Waiting for 2 other answers. Answers are generated one at a time.')
  side.token({ text: 'It', tokens: 1, seconds: 0.5 })
  side.token({ text: ' is 2', tokens: 2, seconds: 1 })
  assert.equal(frames.length, 1, 'two tokens, one drawing')
  drawn()
  assert.deepEqual(words(), ['What is 1 + 1?', 'It is 2'])
  assert.equal(said(), 'Writing: 2 tokens, 2 tokens per second')
  assert.equal(side.sofar.at(-1).finish, 'left', 'what is kept of an answer that is being written')
  side.done({ text: 'It is 2.', tokens: 3, seconds: 1, finish: 'stop' })
  await over
  assert.deepEqual(words(), ['What is 1 + 1?', 'It is 2.'])
  assert.equal(side.turns.at(-1).content, 'It is 2.')
})

test('a failure keeps the text so far, says why, and the question can be retried', async () => {
  const over = side.ask('a')
  side.token({ text: 'half' })
  side.fail({ message: 'Out of memory.' })
  await over
  assert.deepEqual(words(), ['a', 'half', 'Out of memory.'])
  side.fail({ message: 'The connection was lost.' })
  assert.equal(words().length, 3, 'nothing is being written, so nothing failed')
  side.regenerate()
  assert.deepEqual(side.turns, [{ role: 'user', content: 'a' }])
  assert.deepEqual(socket.sent.at(-1).data.messages.at(-1), { role: 'user', content: 'a' })
})

test("a refusal in the server's response is a failure too", () => {
  side.ask('a')
  socket.sent[0].answer({ error: { message: 'Too many words.' } })
  assert.deepEqual(words(), ['a', 'Too many words.'])
})

test('without a model nothing is sent', () => {
  side.select.value = 'other'
  side.ask('a')
  assert.equal(socket.sent.length, 0)
  assert.match(words()[1], /No model is selected/)
})

test('clearing cancels a running answer and empties the side', async () => {
  const over = side.ask('a')
  side.clear()
  await over
  assert.equal(socket.sent.at(-1).event, 'chat_cancel')
  assert.deepEqual(side.turns, [])
  assert.deepEqual(words(), [])
})

test('a model that is not in the list can be typed', () => {
  side.model = 'Qwen/Qwen3-0.6B'
  assert.equal(side.select.value, 'other')
  assert.equal(side.model, 'Qwen/Qwen3-0.6B')
  assert.equal(side.title, 'Qwen/Qwen3-0.6B')
  assert.equal(side.typed.hidden, false)
  side.model = 'm'
  assert.equal(side.title, 'Model m')
  assert.equal(side.typed.hidden, true)
})

test("tokens are shown on request, and another model's answer is labeled", () => {
  page.tokens = true
  side.load({
    model: 'm',
    turns: [
      { role: 'user', content: 'a' },
      {
        role: 'assistant',
        content: 'bc',
        pieces: ['b', 'c'],
        model: 'n',
        prompt_tokens: 3,
        seen: [['<s>', true], 'a'],
      },
    ],
  })
  const messages = section.querySelector('.messages')
  assert.deepEqual(
    messages.querySelectorAll('.token').map((node) => node.textContent),
    ['b', 'c'],
  )
  assert.match(words().join('|'), /bc\|Full prompt \(3 tokens\)/)
  assert.equal(messages.querySelector('.special').textContent, '<s>')
  assert.match(messages.textContent, /Answered by Model n/)
})

test('an answer is Markdown, or plain text on request, and can be copied', () => {
  const turns = [
    { role: 'user', content: 'a' },
    { role: 'assistant', content: '**b**', model: 'm' },
  ]
  side.load({ model: 'm', turns })
  const bubble = () => section.querySelector('.messages').querySelectorAll('.bubble')[1]
  assert.equal(bubble().dataset.form, 'markdown')
  assert.equal(bubble().firstElementChild.localName, 'p')
  page.plain = true
  side.draw()
  assert.equal(bubble().dataset.form, 'plain')
  assert.equal(bubble().firstElementChild, null)
  assert.equal(section.querySelector('.turn-tools').firstElementChild.dataset.copy, '**b**')
})

test('an earlier question is edited: the page is told how many questions it goes back', () => {
  const told = []
  page.resend = (questions, text) => told.push([questions, text])
  const turns = ['a', 'b', 'c'].flatMap((content) => [
    { role: 'user', content },
    { role: 'assistant', content: content.toUpperCase() },
  ])
  side.load({ model: 'm', turns })
  const edit = (place) => {
    section.querySelectorAll('.js-edit')[place].dispatchEvent(new Event('click'))
    return section.querySelector('textarea')
  }
  const press = (node, key, more = {}) => node.dispatchEvent(Object.assign(new Event('keydown'), { key, ...more }))
  press(edit(1), 'Escape')
  assert.equal(section.querySelector('textarea'), null)
  const field = edit(1)
  assert.equal(field.value, 'b')
  field.value = ' better '
  press(field, 'Enter', { shiftKey: true })
  assert.deepEqual(told, [])
  press(field, 'Enter')
  assert.deepEqual(told, [[2, 'better']])
  side.rewind(2)
  assert.deepEqual(words(), ['a', 'A'])
  side.rewind(5)
  assert.deepEqual(words(), [], 'a side that has fewer questions starts anew')
})
