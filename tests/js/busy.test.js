import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import { el } from './support/dom.js'
import { held, hold } from '../../static/js/lib/busy.js'

let button
let form
const off = () => button.getAttribute('aria-disabled') === 'true'

beforeEach((t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  button = el('button')
  form = el('form', {}, el('button', { type: 'button' }), button)
})

test('a form is locked at once, its button is disabled a moment later so that it is submitted', (t) => {
  hold(form)
  assert.equal(held(form), true)
  assert.equal(off(), false)
  t.mock.timers.tick(0)
  assert.equal(off(), true)
})

test('it is unlocked by the response, even before the button was disabled', (t) => {
  hold(form, button)()
  t.mock.timers.tick(20_000)
  assert.equal(held(form), false)
  assert.equal(off(), false)
})

test('it is unlocked after a while or when the page is shown again, even without a response', (t) => {
  hold(form)
  t.mock.timers.tick(15_000)
  assert.equal(held(form), false)
  hold(form)
  t.mock.timers.tick(1)
  dispatchEvent(new Event('pageshow'))
  assert.equal(held(form), false)
  assert.equal(off(), false)
})
