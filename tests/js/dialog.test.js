import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import { FakeDocument, FakeElement, el, happen, settled } from './support/dom.js'
import { ask, wireConfirm } from '../../static/js/lib/dialog.js'

// Close the dialog with a value, as a browser does.
function answer(value) {
  const dialog = document.querySelector('dialog')
  dialog.returnValue = value
  dialog.dispatchEvent(new Event('close'))
  return settled()
}

let page = new EventTarget()
beforeEach(() => {
  globalThis.document = new FakeDocument()
  // The previous test's listener must not get this test's events.
  page = new EventTarget()
  document.addEventListener = page.addEventListener.bind(page)
  document.dispatchEvent = page.dispatchEvent.bind(page)
  FakeElement.prototype.showModal = function () {
    this.open = true
  }
})

const button = (more = {}) =>
  el('button', { 'data-confirm': ' All of it\n  will be gone. ', ...more }, el('span', {}, ' Empty trash '))

test('the dialog names the consequence, and Cancel comes first', async () => {
  const agreed = ask({ title: 'Empty trash?', text: 'It will be gone.', action: 'Empty trash' })
  const dialog = document.querySelector('dialog')
  assert.equal(dialog.open, true)
  assert.equal(dialog.getAttribute('role'), 'alertdialog')
  assert.equal(dialog.textContent, 'Empty trash?It will be gone.CancelEmpty trash')
  await answer('no')
  assert.equal(await agreed, false)
  assert.equal(document.querySelector('dialog'), null)
})

test('a form with a confirmation is sent only once it is confirmed', async () => {
  wireConfirm()
  const pressed = button()
  const form = el('form', {}, pressed)
  const sent = []
  form.isConnected = true
  form.requestSubmit = (by) => {
    sent.push(by)
    // The browser's own event fires again and is let through.
    assert.equal(happen('submit', form, { submitter: by }).defaultPrevented, false)
  }
  for (const [value, count] of [
    ['', 0],
    ['no', 0],
    ['yes', 1],
  ]) {
    assert.equal(happen('submit', form, { submitter: pressed }).defaultPrevented, true)
    assert.equal(document.querySelector('#ask-title').textContent, 'Empty trash?')
    assert.equal(document.querySelector('#ask-text').textContent, 'All of it will be gone.')
    await answer(value)
    assert.equal(sent.length, count)
  }
  // The next click asks again.
  assert.equal(happen('submit', form, { submitter: pressed }).defaultPrevented, true)
})

test("a label says more than the button's text", () => {
  wireConfirm()
  happen('submit', el('form', {}), { submitter: button({ 'aria-label': 'Empty the trash of 3 items' }) })
  assert.equal(document.querySelector('#ask-title').textContent, 'Empty the trash of 3 items?')
})

test('a form that a live page replaced is sent all the same', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  wireConfirm()
  const pressed = button()
  const form = el('form', {}, pressed)
  let where = null
  form.isConnected = false
  form.requestSubmit = () => {
    where = form.parent
  }
  happen('submit', form, { submitter: pressed })
  await answer('yes')
  assert.equal(where, document.body)
  t.mock.timers.tick(1)
  assert.equal(form.parent, null)
})

test('a form without a confirmation is left alone', () => {
  wireConfirm()
  assert.equal(happen('submit', el('form', {}), { submitter: el('button', {}) }).defaultPrevented, false)
  assert.equal(happen('submit', el('form', {}), {}).defaultPrevented, false)
  assert.equal(document.querySelector('dialog'), null)
})
