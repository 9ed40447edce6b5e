import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import { FakeDocument, FakeStorage, el, fakeFetch, happen, json, settled } from './support/dom.js'
import { Stalls, tellEnd, tellStall, wireNotify } from '../../static/js/lib/notify.js'

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

test('checking the box gives one notification per run at its end, with the verdict', async () => {
  wireNotify()
  assert.equal(box.checked, false)
  await tick(true)
  fakeFetch(() => json({ headline: 'It learned this.' }))
  await tellEnd({ status: 'completed', name: 'sums', session_id: 's1' })
  await tellEnd({ status: 'training', name: 'sums', session_id: 's1' })
  assert.deepEqual(shown, [{ title: 'sums has finished', body: 'It learned this.', tag: 's1' }])
})

test('without an available verdict the notification has none', async () => {
  wireNotify()
  await tick(true)
  fakeFetch([new TypeError('fetch failed')])
  await tellEnd({ status: 'crashed', name: 'sums', session_id: 's1' })
  assert.deepEqual(shown, [{ title: 'sums has crashed', body: '', tag: 's1' }])
})

test('a browser that refuses leaves the box unchecked and says where to allow it', async () => {
  FakeNotification.answer = 'denied'
  wireNotify()
  await tick(true)
  assert.equal(box.checked, false)
  assert.match(document.getElementById('toasts').textContent, /blocks notifications/)
  await tellEnd({ status: 'failed', name: 'sums', session_id: 's1' })
  assert.deepEqual(shown, [])
})

test('without browser support the box is hidden, and a redrawn part shows its state again', () => {
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

test('notifications turned off in Settings are off for every run', async () => {
  wireNotify()
  await tick(true)
  document.body.dataset.notify = 'off'
  happen('live:swapped')
  assert.equal(box.parent.hidden, true)
  await tellEnd({ status: 'completed', name: 'sums', session_id: 's1' })
  assert.deepEqual(shown, [])
})

test('a background tab shows the event in its title until it is viewed', async () => {
  Object.assign(document, { title: 'Home', hidden: false })
  await tellEnd({ status: 'failed', name: 'sums', session_id: 's1' })
  assert.equal(document.title, 'Home')
  document.hidden = true
  await tellEnd({ status: 'failed', name: 'sums', session_id: 's1' })
  assert.equal(document.title, 'sums has failed · Home')
  await tellEnd({ status: 'completed', name: 'more', session_id: 's2' })
  assert.equal(document.title, 'more has finished · Home')
  document.hidden = false
  happen('visibilitychange')
  assert.equal(document.title, 'Home')
})

test('a run has stalled after two minutes and six of its steps, reported once', () => {
  const stalls = new Stalls()
  const minute = 60_000
  for (const at of [-2000, 0]) {
    stalls.row({ session_id: 'quick', phase: 'training' }, at)
    stalls.row({ session_id: 'slow', phase: 'training' }, at * 30)
    stalls.row({ session_id: 'scored', phase: 'training' }, at)
  }
  stalls.row({ session_id: 'first step', phase: 'training' }, 0)
  stalls.status({ session_id: 'scored', status: 'evaluating' })
  for (const at of [0, 2000]) stalls.row({ session_id: 'scored', phase: 'evaluation' }, at)
  stalls.row({ session_id: 'slow', phase: 'training' }, 1000) // The longest pause counts.
  assert.deepEqual(stalls.late(2 * minute), [])
  assert.deepEqual(stalls.late(3 * minute), [{ id: 'quick', minutes: 3 }])
  assert.deepEqual(stalls.late(4 * minute), [])
  assert.deepEqual(stalls.late(7 * minute), [{ id: 'slow', minutes: 7 }])
  for (const at of [8, 8.1]) stalls.row({ session_id: 'quick', phase: 'training' }, at * minute)
  stalls.status({ session_id: 'quick', status: 'completed' })
  assert.deepEqual(stalls.late(20 * minute), [])
})

test('a stall is reported for a run that is still running', async () => {
  wireNotify()
  await tick(true)
  fakeFetch(() => json({ name: 'sums', active: true }))
  await tellStall('s1', 12)
  fakeFetch(() => json({ name: 'sums', active: false }))
  await tellStall('s1', 12)
  assert.deepEqual(shown, [
    { title: 'sums may have stalled', body: 'No new step for 12 minutes. Check its log.', tag: 's1' },
  ])
})
