import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import { FakeDocument, FakeStorage, el, fakeFetch, happen, json, settled } from './support/dom.js'
import { tellEnd, wireNotify } from '../../static/js/lib/notify.js'

let shown
let box

class FakeNotification {
  static permission = 'default'

  static answer = 'granted'

  static requestPermission() {
    this.permission = this.answer
    return Promise.resolve(this.answer)
  }

  constructor(title, options) {
    shown.push({ title, ...options })
  }
}

beforeEach(() => {
  shown = []
  box = el('input', { id: 'notify' })
  globalThis.document = new FakeDocument(el('label', {}, box), el('div', { id: 'toasts' }))
  globalThis.localStorage = new FakeStorage()
  globalThis.isSecureContext = true
  globalThis.Notification = FakeNotification
  Object.assign(FakeNotification, { permission: 'default', answer: 'granted' })
})

const tick = async (checked) => {
  box.checked = checked
  happen('change', box)
  await settled()
}

test('who ticks the box is told of the end, once for each run, with its verdict', async () => {
  wireNotify()
  assert.equal(box.checked, false)
  await tick(true)
  fakeFetch(() => json({ headline: 'It learned this.' }))
  await tellEnd({ status: 'completed', name: 'sums', session_id: 's1' })
  await tellEnd({ status: 'training', name: 'sums', session_id: 's1' })
  assert.deepEqual(shown, [{ title: 'sums has finished', body: 'It learned this.', tag: 's1' }])
})

test('a verdict that cannot be had leaves the notification without one', async () => {
  wireNotify()
  await tick(true)
  fakeFetch([new TypeError('fetch failed')])
  await tellEnd({ status: 'crashed', name: 'sums', session_id: 's1' })
  assert.deepEqual(shown, [{ title: 'sums has crashed', body: '', tag: 's1' }])
})

test('a browser that refuses leaves the box unticked and says where to allow it', async () => {
  FakeNotification.answer = 'denied'
  wireNotify()
  await tick(true)
  assert.equal(box.checked, false)
  assert.match(document.getElementById('toasts').textContent, /does not allow notifications/)
  await tellEnd({ status: 'failed', name: 'sums', session_id: 's1' })
  assert.deepEqual(shown, [])
})

test('where there are none the box is hidden, and a part that was drawn anew shows its state again', () => {
  globalThis.isSecureContext = false
  wireNotify()
  assert.equal(box.parent.hidden, true)
  globalThis.isSecureContext = true
  FakeNotification.permission = 'granted'
  localStorage.setItem('tunesmith.notify', 'on')
  happen('live:swapped')
  assert.equal(box.parent.hidden, false)
  assert.equal(box.checked, true)
})
