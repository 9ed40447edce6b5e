import assert from 'node:assert/strict'
import { beforeEach, mock, test } from 'node:test'
import { FakeDocument, el } from './support/dom.js'

mock.timers.enable({ apis: ['setTimeout'] })
globalThis.document = new FakeDocument(el('div', { id: 'lost' }))
const { socket, watch } = await import('../../static/js/lib/socket.js')

let got
const rows = (...numbers) => numbers.map((row) => ({ row, session_id: 's' }))
const push = (...numbers) => rows(...numbers).forEach((row) => socket.receive('training_update', row))
const begin = (after = 0) => watch('s', after, (fresh) => got.push(...fresh.map(({ row }) => row)))

// Listeners stay on the page's only connection, so each test makes it look new.
beforeEach(() => {
  got = []
  socket.sent = []
  socket.connected = false
  socket.listeners.delete('training_update')
})

test('events pushed before the response wait for it, and are delivered once and in order', () => {
  socket.connected = true
  begin(2)
  assert.deepEqual(socket.sent[0].data, { session_id: 's', after: 2 })
  push(7, 6, 5)
  assert.deepEqual(got, [])
  socket.sent[0].answer({ rows: rows(3, 4, 5) })
  assert.deepEqual(got, [3, 4, 5, 6, 7])
  push(8)
  push(8, 7, 9)
  assert.deepEqual(got, [3, 4, 5, 6, 7, 8, 9])
})

test('rows of another run are ignored', () => {
  socket.connected = true
  begin()
  socket.sent[0].answer({ rows: [] })
  socket.receive('training_update', { row: 1, session_id: 'other' })
  assert.deepEqual(got, [])
})

test('after a gap it requests the missing rows, from its last row on', () => {
  const before = socket.listeners.get('connect').length
  begin()
  assert.equal(socket.sent.length, 0, 'not before there is a connection: it would be asked twice')
  const ask = socket.listeners.get('connect')[before]
  ask()
  socket.sent[0].answer({ rows: rows(1, 2) })
  push(3)
  ask()
  push(7)
  assert.deepEqual(got, [1, 2, 3], 'a row from after the gap waits for those of the gap')
  assert.deepEqual(socket.sent[1].data, { session_id: 's', after: 3 })
  socket.sent[1].answer({ rows: rows(4, 5, 6, 7) })
  assert.deepEqual(got, [1, 2, 3, 4, 5, 6, 7])
})

test('an error response has no rows, and later ones still arrive', () => {
  socket.connected = true
  begin()
  socket.sent[0].answer({ error: { code: 'not_found' } })
  push(1)
  assert.deepEqual(got, [1])
})

test('a lost connection is reported after a moment, and not at all if it is back by then', () => {
  const lost = document.getElementById('lost')
  lost.hidden = true
  socket.receive('disconnect')
  mock.timers.tick(799)
  assert.equal(lost.hidden, true)
  socket.receive('connect')
  mock.timers.tick(1000)
  assert.equal(lost.hidden, true)
  socket.receive('disconnect')
  mock.timers.tick(800)
  assert.equal(lost.hidden, false)
  socket.receive('connect')
  assert.equal(lost.hidden, true)
})
