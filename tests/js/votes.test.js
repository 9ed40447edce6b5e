import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import { FakeStorage } from './support/dom.js'
import { Votes, shuffled } from '../../static/js/lib/votes.js'

const A = { model: 'a', title: 'Model a' }
const B = { model: 'b', title: 'Model b' }

beforeEach(() => {
  globalThis.localStorage = new FakeStorage()
})

test('a vote counts for the winner and against the others; a tie is half a win', () => {
  const votes = new Votes()
  votes.record([A, B], 1)
  votes.record([B, A], 0)
  votes.record([A, B], null)
  assert.deepEqual(new Votes().rows(), [
    { ...{ wins: 2, losses: 0, ties: 1 }, title: 'Model b', share: 2.5 / 3 },
    { ...{ wins: 0, losses: 2, ties: 1 }, title: 'Model a', share: 0.5 / 3 },
  ])
  votes.forget()
  assert.deepEqual(votes.rows(), [])
})

test('a damaged or full store has no votes and breaks nothing', () => {
  for (const text of ['{not json', '[]', 'null', '{"a": {"wins": "x"}, "b": null}']) {
    localStorage.setItem('tunesmith.votes', text)
    assert.deepEqual(new Votes().rows(), [])
  }
  globalThis.localStorage = new FakeStorage(0)
  new Votes().record([A, B], 0)
  assert.deepEqual(new Votes().rows(), [])
})

test('shuffling keeps everything and does not change the list', () => {
  const list = [1, 2, 3, 4]
  for (let count = 0; count < 20; count += 1) assert.deepEqual(shuffled(list).sort(), [1, 2, 3, 4])
  assert.deepEqual(list, [1, 2, 3, 4])
  const firsts = new Set(Array.from({ length: 200 }, () => shuffled(list)[0]))
  assert.equal(firsts.size, 4)
})
