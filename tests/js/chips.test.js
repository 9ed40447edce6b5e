import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import { FakeDocument, el, fakeFetch, happen, settled } from './support/dom.js'
import { wireChips } from '../../static/js/lib/chips.js'

const html = (text) => new Response(text, { headers: { 'content-type': 'text/html' } })
const chip = (title, href) => Object.assign(el('a', { href, 'data-chip': title }), { href })
const replaced = []

// A page with one chip; fake elements have no descendant selectors, so the chip itself names its parent.
function page(title) {
  const link = chip(title, '/datasets?task=math#known')
  const cards = el('div', { 'data-chips': '' }, link)
  link.closest = (selector) => (selector.startsWith('[data-chips]') ? link : null)
  return { link, cards, form: el('form', { id: 'known-search', action: '/datasets#known' }) }
}

beforeEach(() => {
  replaced.length = 0
  globalThis.history = { replaceState: (_state, _title, url) => replaced.push(url) }
  globalThis.location.href = 'http://localhost/datasets'
})

function parsed(...nodes) {
  globalThis.DOMParser = class {
    parseFromString() {
      return new FakeDocument(...nodes)
    }
  }
}

test('a chip replaces the cards and the search, and its state is in the address', async () => {
  const [here, there] = [page('Task: Math'), page('Task: Math')]
  globalThis.document = new FakeDocument(here.cards, here.form)
  parsed(there.cards, there.form)
  const calls = fakeFetch([html('<p></p>')])
  wireChips()
  const event = happen('click', here.link)
  await settled()
  await settled()
  assert.equal(event.defaultPrevented, true)
  assert.equal(calls[0].path, '/datasets?task=math#known')
  assert.equal(document.querySelector('[data-chips]'), there.cards)
  assert.equal(document.getElementById('known-search'), there.form)
  assert.deepEqual(replaced, ['/datasets?task=math#known'])
})

test('a click for another tab is left to the browser, and a failed swap follows the link', async () => {
  const here = page('Task: Code')
  globalThis.document = new FakeDocument(here.cards, here.form)
  const calls = fakeFetch(() => new Response('', { status: 502 }))
  wireChips()
  assert.equal(happen('click', here.link, { ctrlKey: true }).defaultPrevented, false)
  assert.deepEqual(calls, [])
  happen('click', here.link)
  await settled()
  await settled()
  assert.equal(location.href, '/datasets?task=math#known')
  assert.deepEqual(replaced, [])
})
