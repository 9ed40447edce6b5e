import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import { FakeDocument, el, fakeFetch, happen, settled } from './support/dom.js'
import { polled, refresh, sendForm, throttled } from '../../static/js/lib/live.js'

// The server's pages, by their text.
let pages
const shown = (nodes, title = '') => Object.assign(new FakeDocument(...nodes), { title })
globalThis.DOMParser = class {
  parseFromString(text) {
    return pages[text]
  }
}
globalThis.FormData = class {
  constructor(form) {
    this.entries = { ...form.fields }
  }

  set(name, value) {
    this.entries[name] = value
  }
}

const part = (id, text, more = {}) => el('div', { id, 'data-live': '', ...more }, text)
const answer = (name, { status = 200, type = 'text/html', redirected = false } = {}) =>
  Object.defineProperty(new Response(name, { status, headers: { 'content-type': type } }), 'redirected', {
    value: redirected,
  })
const text = (id) => document.getElementById(id).textContent

// live.js listens to the document that existed at load time, so only its parts are replaced.
const first = globalThis.document
let swaps = 0
first.addEventListener('live:swapped', () => {
  swaps += 1
})

beforeEach(() => {
  pages = {}
  swaps = 0
  first.body.replaceChildren()
  first.activeElement = first.body
  first.title = ''
})

test('changed parts are replaced, the others stay the same elements', async () => {
  const [same, old] = [part('same', 'a'), part('changed', 'old')]
  document.body.append(same, old, el('p', { id: 'plain' }, 'old'))
  pages.next = shown([part('same', 'a'), part('changed', 'new'), el('p', { id: 'plain' }, 'new')], 'Next')
  const calls = fakeFetch([answer('next')])
  await refresh()
  assert.equal(calls[0].path, 'http://localhost/page')
  assert.equal(document.getElementById('same'), same)
  assert.equal(text('changed'), 'new')
  assert.equal(text('plain'), 'old', 'what is not marked is not touched')
  assert.equal(document.title, 'Next')
  assert.equal(swaps, 1)
})

test('a part with a key is replaced when its key changes, its own parts at any time', async () => {
  const panel = (key, words, more) => {
    const made = el('div', { id: 'panel', 'data-live': '', 'data-key': key }, part('inner', words))
    made.append(el('p', { id: 'drawn' }, more))
    return made
  }
  document.body.append(panel('charts', 'old', 'drawn by a script'))
  pages.same = shown([panel('charts', 'new', '')])
  pages.other = shown([panel('log', 'lines', 'of the log')])
  fakeFetch([answer('same'), answer('other')])
  await refresh()
  assert.equal(text('inner'), 'new')
  assert.equal(text('drawn'), 'drawn by a script')
  await refresh()
  assert.equal(text('inner'), 'lines')
  assert.equal(text('drawn'), 'of the log')
})

test("the top bar's fragment does not change the title", async () => {
  document.title = 'A run'
  pages.shell = shown([], 'Shell')
  fakeFetch([answer('shell')])
  await refresh('/shell')
  assert.equal(document.title, 'A run')
})

test('a part with text input is left alone; a checked box does not block it', async () => {
  const [field, box] = [el('textarea', { id: 'words' }), el('input', { type: 'checkbox', id: 'box' })]
  document.body.append(el('div', { id: 'a', 'data-live': '' }, field), el('div', { id: 'b', 'data-live': '' }, box))
  const fresh = () => [
    el('div', { id: 'a', 'data-live': '' }, 'new', el('textarea', { id: 'words' })),
    el('div', { id: 'b', 'data-live': '' }, 'new', el('input', { type: 'checkbox', id: 'box' })),
  ]
  field.focus()
  pages.next = shown(fresh())
  fakeFetch([answer('next'), answer('again')])
  await refresh()
  assert.equal(document.getElementById('words'), field)
  assert.notEqual(document.getElementById('box'), box)
  document.getElementById('box').focus()
  pages.again = shown([fresh()[0], el('div', { id: 'b', 'data-live': '' }, 'newer', el('input', { id: 'box' }))])
  await refresh()
  assert.equal(document.activeElement, document.getElementById('box'), 'the focus goes to its twin')
})

test('if the focused control is gone, the part that replaced it has the focus', async () => {
  const button = el('button', { id: 'stop' })
  document.body.append(el('div', { id: 'a', 'data-live': '' }, button))
  button.focus()
  pages.next = shown([part('a', 'Stopped')])
  fakeFetch([answer('next')])
  await refresh()
  assert.equal(document.activeElement, document.getElementById('a'))
  assert.equal(document.activeElement.tabIndex, -1)
})

test('a live region stays the same element, and expanded details stay open', async () => {
  const status = part('said', 'old', { role: 'status' })
  const details = Object.assign(el('details', { id: 'more' }), { open: true })
  document.body.append(status, el('div', { id: 'a', 'data-live': '' }, details))
  const twin = el('details', { id: 'more' })
  pages.next = shown([
    part('said', 'new', { role: 'status', class: 'x' }),
    el('div', { id: 'a', 'data-live': '' }, 'new', twin),
  ])
  fakeFetch([answer('next')])
  await refresh()
  assert.equal(document.getElementById('said'), status)
  assert.equal(text('said'), 'new')
  assert.equal(status.className, 'x')
  assert.equal(twin.open, true)
})

test('calls during a fetch become one more fetch, of the last address requested', async () => {
  const release = []
  const calls = fakeFetch(
    (path) =>
      new Promise((resolve) => {
        release.push(() => resolve(answer(path)))
      }),
  )
  for (const path of ['/a', '/b', '/c']) pages[path] = shown([])
  const all = Promise.all([refresh('/a'), refresh('/b'), refresh('/c')])
  await settled()
  assert.deepEqual(
    calls.map(({ path }) => path),
    ['/a'],
  )
  release[0]()
  await settled()
  await settled()
  release[1]()
  await all
  assert.deepEqual(
    calls.map(({ path }) => path),
    ['/a', '/c'],
  )
})

test('a refresh that fails is silent, and the next one works', async () => {
  document.body.append(part('a', 'old'))
  pages.next = shown([part('a', 'new')])
  fakeFetch([new TypeError('fetch failed'), answer('{}', { type: 'application/json' }), answer('next')])
  await refresh()
  await refresh()
  assert.equal(text('a'), 'old')
  await refresh()
  assert.equal(text('a'), 'new')
})

test('a page that is polled follows its redirect', async () => {
  const went = []
  location.replace = (url) => went.push(url)
  fakeFetch(() => answer('next', { redirected: true }))
  pages.next = shown([])
  await refresh()
  assert.deepEqual(went, [])
  document.body.append(el('div', { 'data-poll': '' }))
  assert.equal(polled(), true)
  await refresh()
  assert.equal(went.length, 1)
})

test('nothing is replaced while a button is held down: its click would be lost', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  document.body.append(part('a', 'old'))
  pages.next = shown([part('a', 'new')])
  fakeFetch([answer('next')])
  happen('pointerdown')
  const done = refresh()
  await settled()
  assert.equal(text('a'), 'old')
  dispatchEvent(new Event('pointerup'))
  await settled()
  t.mock.timers.tick(49)
  await settled()
  assert.equal(text('a'), 'old', 'the click comes after pointerup')
  t.mock.timers.tick(1)
  await done
  assert.equal(text('a'), 'new')
})

test('a press without a release blocks the page for at most a second', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  document.body.append(part('a', 'old'))
  pages.next = shown([part('a', 'new')])
  fakeFetch([answer('next')])
  happen('pointerdown')
  const done = refresh()
  await settled()
  t.mock.timers.tick(1000)
  await done
  assert.equal(text('a'), 'new')
  dispatchEvent(new Event('blur'))
  t.mock.timers.tick(50)
})

test('many calls become one per interval, the first at once', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 100_000 })
  let done = 0
  const soon = throttled(1000, () => {
    done += 1
  })
  soon()
  soon()
  t.mock.timers.tick(0)
  assert.equal(done, 1)
  soon()
  t.mock.timers.tick(999)
  assert.equal(done, 1)
  t.mock.timers.tick(1)
  assert.equal(done, 2)
})

const form = (fields) => Object.assign(el('form', { action: '/new/model' }), { fields })

test('forms are sent one after another, each with its values at the time of sending', async () => {
  const release = []
  const calls = fakeFetch(
    () =>
      new Promise((resolve) => {
        release.push(() => resolve(answer('next')))
      }),
  )
  pages.next = shown([])
  const one = form({ name: 'a' })
  const sent = [sendForm(one), sendForm(Object.assign(one, { fields: { name: 'b' } }), { extra: { action: 'save' } })]
  one.fields = { name: 'c' }
  await settled()
  assert.equal(calls.length, 1)
  release[0]()
  await settled()
  await settled()
  release[1]()
  await Promise.all(sent)
  assert.deepEqual(
    calls.map(({ body }) => body.entries),
    [{ name: 'a' }, { name: 'b', action: 'save' }],
  )
  assert.equal(calls[0].path, '/new/model')
})

test('a form also replaces parts reserved for its response, and its button sets the address', async () => {
  const told = () => part('told', 'new', { 'data-live': 'sent' })
  document.body.append(part('told', 'old', { 'data-live': 'sent' }))
  pages.next = shown([told()])
  const calls = fakeFetch(() => answer('next'))
  await refresh()
  assert.equal(text('told'), 'old')
  const result = await sendForm(form({}), { submitter: el('button', { formaction: '/elsewhere' }) })
  assert.equal(result.ok, true)
  assert.equal(calls[1].path, '/elsewhere')
  assert.equal(text('told'), 'new')
})

test('a refusal shows the message of its page; an unreachable server gives null', async () => {
  document.body.append(el('div', { id: 'toasts' }))
  pages.refused = shown([])
  pages.refused.querySelector = () => ({ textContent: 'The name is taken.' })
  fakeFetch([answer('refused', { status: 422 }), new TypeError('fetch failed'), new TypeError('fetch failed')])
  assert.equal((await sendForm(form({}))).ok, false)
  assert.equal(text('toasts'), 'The name is taken.')
  assert.equal(await sendForm(form({})), null)
  assert.match(text('toasts'), /The server cannot be reached/)
  const before = text('toasts')
  assert.equal(await sendForm(form({}), { quiet: true }), null)
  assert.equal(text('toasts'), before)
})
