import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import { FakeStorage } from './support/dom.js'
import {
  Kept,
  messagesOf,
  newConversation,
  parseConversation,
  questionsOf,
  titleOf,
  toMarkdown,
} from '../../static/js/lib/conversation.js'

const you = (content) => ({ role: 'user', content })
const it = (content, more = {}) => ({ role: 'assistant', content, ...more })
const talk = (...sides) => ({ ...newConversation(), sides: sides.map((turns) => ({ model: 'm', turns })) })

beforeEach(() => {
  globalThis.localStorage = new FakeStorage()
})

test('a model is not sent unanswered questions, except the last', () => {
  const turns = [you('a'), it('1', { tokens: 3 }), you('b'), it('', { error: 'out of memory' }), you('c')]
  assert.deepEqual(messagesOf(turns, ''), [you('a'), it('1'), you('c')])
  assert.deepEqual(messagesOf([you('a')], ' Be brief. '), [{ role: 'system', content: ' Be brief. ' }, you('a')])
  assert.deepEqual(messagesOf([you('a')], '  '), [you('a')])
})

test('the questions are those of the side with the most', () => {
  assert.deepEqual(questionsOf(talk([you('a')], [you('a'), it('1'), you('b')])), ['a', 'b'])
  assert.deepEqual(questionsOf({ sides: [] }), [])
})

test('a title is the first question and the time', () => {
  const conversation = { ...talk([you('x'.repeat(80))]), created: '2026-01-02T03:04:05.000Z' }
  assert.equal(titleOf(conversation), `${'x'.repeat(60)} (2026-01-02 03:04)`)
  assert.match(titleOf({ ...conversation, sides: [] }), /^Empty conversation/)
})

test('a saved file can be opened; it becomes a new conversation', () => {
  const saved = { ...talk([you('a'), it('1')]), system_prompt: 'Be brief.', settings: { seed: 1 } }
  const opened = parseConversation(JSON.stringify(saved))
  assert.notEqual(opened.id, saved.id)
  assert.deepEqual({ ...opened, id: saved.id }, saved)
})

test('a file that is not a conversation is refused with a message', () => {
  const wrong = (change) => JSON.stringify({ ...talk([you('a')]), ...change })
  const bad = {
    'it is not valid JSON': '{',
    'it is not a conversation': wrong({ format: 'other' }),
    'it was saved by a newer version': wrong({ version: 2 }),
    'its messages cannot be read': wrong({ sides: [{ model: 'm', turns: [{ role: 'user', content: 1 }] }] }),
  }
  for (const [words, text] of Object.entries(bad))
    assert.throws(() => parseConversation(text), { message: new RegExp(`^This file could not be opened: ${words}\\.`) })
  assert.throws(() => parseConversation('null'), /not a conversation/)
  assert.throws(() => parseConversation(wrong({ sides: [] })), /cannot be read/)
  assert.throws(() => parseConversation(wrong({ sides: Array(5).fill({ model: 'm', turns: [] }) })), /cannot be read/)
})

test('Markdown has the settings, the system prompt, and every turn quoted', () => {
  const conversation = {
    ...talk([you('two\nlines'), it('1', { tokens: 3 }), you('b'), it('', { error: 'out of memory' })]),
    system_prompt: 'Be brief.',
    settings: { temperature: 0, seed: null, top_p: '' },
  }
  const text = toMarkdown(conversation, (turn) => `${turn.tokens} tokens`)
  assert.match(text, /^# two\nlines\n/)
  assert.match(text, /- temperature: 0\n\n/)
  assert.doesNotMatch(text, /seed|top_p/)
  assert.match(text, /\*\*You\*\*\n\n> two\n> lines\n/)
  assert.match(text, /> 1\n\n\*3 tokens\*/)
  assert.match(text, /> out of memory\n/)
})

test('the newest are kept, without duplicates', () => {
  const kept = new Kept('playground')
  const first = talk([you('first')])
  kept.put(first)
  for (let count = 0; count < 25; count += 1) kept.put(talk([you(String(count))]))
  assert.equal(kept.all().length, 20)
  assert.deepEqual(questionsOf(kept.all()[0]), ['24'])
  kept.put({ ...kept.all()[5], system_prompt: 'changed' })
  assert.equal(kept.all().length, 20)
  assert.equal(kept.all()[0].system_prompt, 'changed')
  kept.forget()
  assert.deepEqual(kept.all(), [])
})

test('a full store drops the oldest; a damaged or blocked one stores nothing', () => {
  const kept = new Kept('playground')
  const size = JSON.stringify([talk([you('0')])]).length
  globalThis.localStorage = new FakeStorage(size * 3)
  for (let count = 0; count < 6; count += 1) kept.put(talk([you(String(count))]))
  assert.deepEqual(
    kept.all().map((one) => questionsOf(one)[0]),
    ['5', '4', '3'],
  )
  localStorage.setItem('tunesmith.conversations.playground', '{not json')
  assert.deepEqual(kept.all(), [])
  globalThis.localStorage = new FakeStorage(0)
  kept.put(talk([you('a')]))
  assert.deepEqual(kept.all(), [])
})
