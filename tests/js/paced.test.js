import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { paced } from '../../static/js/lib/paced.js'

test('the newest text is drawn once per frame, and frames are skipped after a slow draw', () => {
  let clock = 0
  const frames = []
  mock.method(performance, 'now', () => clock)
  globalThis.requestAnimationFrame = (frame) => frames.push(frame)
  const drawn = []
  const push = paced((text) => {
    drawn.push(text)
    clock += 10
  })
  const tick = () => frames.splice(0).forEach((frame) => frame(clock))
  push('a')
  push('ab')
  tick()
  assert.deepEqual(drawn, ['ab'])
  assert.deepEqual(frames, [], 'nothing is drawn while nothing comes')
  push('abc')
  tick()
  assert.deepEqual(drawn, ['ab'], 'a drawing of 10 ms is followed by 80 ms of rest')
  clock += 80
  push('abcd')
  tick()
  assert.deepEqual(drawn, ['ab', 'abcd'])
})
