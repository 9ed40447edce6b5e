import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import { FakeDocument, el, fakeFetch, json } from './support/dom.js'
import { api, pageData } from '../../static/js/lib/api.js'

beforeEach(() => {
  globalThis.document = new FakeDocument(el('meta', { name: 'csrf-token' }))
  document.querySelector('meta').content = 'secret'
})

test("reading sends no token, writing sends the page's", async () => {
  const calls = fakeFetch(() => json({ id: 1 }))
  assert.deepEqual(await api('/a'), { id: 1 })
  await api('/b', { method: 'POST', json: { x: 1 } })
  await api('/c', { method: 'PATCH', body: 'raw' })
  assert.deepEqual(calls[0].headers, { Accept: 'application/json' })
  assert.equal(calls[0].body, undefined)
  assert.equal(calls[1].headers['X-CSRF-Token'], 'secret')
  assert.equal(calls[1].headers['Content-Type'], 'application/json')
  assert.equal(calls[1].body, '{"x":1}')
  assert.equal(calls[2].headers['Content-Type'], undefined)
  assert.equal(calls[2].body, 'raw')
})

test('an empty response is null, one that is not JSON is its text', async () => {
  fakeFetch([json(null, 204), new Response('plain', { headers: { 'content-type': 'text/plain' } })])
  assert.equal(await api('/a'), null)
  assert.equal(await api('/b'), 'plain')
})

test("an error has the server's message, code and field", async () => {
  fakeFetch([json({ error: { message: 'Too small.', code: 'invalid', field: 'size' } }, 422)])
  await assert.rejects(api('/a'), { message: 'Too small.', code: 'invalid', field: 'size', status: 422 })
})

test('an error in another format still says what to do', async () => {
  const words = 'The server answered 502. Try again in a moment.'
  fakeFetch([new Response('<h1>Bad gateway</h1>', { status: 502 }), json({ error: null }, 502), json(null, 502)])
  for (let time = 0; time < 3; time += 1)
    await assert.rejects(api('/a'), { message: words, code: undefined, status: 502 })
})

test('a broken connection is an error without a status', async () => {
  fakeFetch([new TypeError('fetch failed')])
  await assert.rejects(api('/a'), (error) => error.status === undefined)
})

test("a page's data are read by the id of their script; a page without has null", () => {
  document.body.append(el('script', { id: 'page-data' }, '{"id": "x"}'))
  assert.deepEqual(pageData(), { id: 'x' })
  assert.equal(pageData('other'), null)
})
