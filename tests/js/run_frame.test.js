import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Rows, frame, turning } from '../../static/js/lib/run_frame.js'

const warm = (step) => ({ phase: 'warm_up', step })
const trained = (step, more = {}) => ({ phase: 'training', step, ...more })
const held = (when, step) => ({ phase: 'evaluation', when, step })

test('for a repeated step the later row counts, in any order of arrival', () => {
  const rows = new Rows()
  rows.take([trained(1, { row: 5, reward: 2 }), trained(1, { row: 3, reward: 1 }), trained(2, { row: 6 })])
  assert.equal(rows.size, 2)
  assert.equal(rows.all()[0].reward, 2)
})

test('the names of components are those of all rows, in order', () => {
  const rows = new Rows()
  rows.take([trained(1, { row: 1, parts: { b: 1 } }), trained(2, { row: 2, parts: { a: 1 } }), trained(3, { row: 3 })])
  assert.deepEqual(rows.parts('parts'), ['a', 'b'])
})

test('training counts from 1 with and without a warm-up, which comes before it', () => {
  const { xs, warmUp, label, word } = frame([held('before', 0), warm(1), warm(2), trained(1), trained(2)])
  assert.equal(warmUp, 2)
  assert.deepEqual(xs, [-2, -1, 0, 0.5, 1, 2])
  assert.deepEqual(xs.map(label), ['', '', '', '', '1', '2'])
  assert.deepEqual([word(-1), word(0), word(1)], ['Warm-up step 1', 'Warm-up step 2', 'Step 1'])
  const alone = frame([held('before', 0), trained(1), trained(2)])
  assert.deepEqual(alone.xs, [0, 1, 2])
  assert.deepEqual(alone.xs.map(alone.label), ['0', '1', '2'])
  assert.equal(alone.label(1.5), '')
})

test('an evaluation shares its position with the step before it', () => {
  const { xs, rows, evaluations } = frame([trained(1), trained(2), held('end', 2)])
  assert.deepEqual(xs, [1, 2])
  assert.deepEqual(evaluations, [2])
  assert.equal(rows[1].evaluation.when, 'end')
  assert.equal(rows[1].phase, 'training')
})

test('the lowest held-out value is marked only while the latest one is clearly higher', () => {
  const keys = { key: 'value', rise: 'clear' }
  const at = (step, value, clear) => ({ phase: 'evaluation', step, row: step, value, clear })
  const before = at(0, 3)
  assert.equal(turning([], keys), null)
  assert.equal(turning([before], keys), null)
  assert.equal(turning([before, at(5, 2, -1.2), at(10, 2.5, 0.1)], keys), 5)
  assert.equal(turning([at(10, 2.5, 0.1), before, trained(7, { value: 1 }), at(5, 2, -1.2)], keys), 5)
  assert.equal(turning([before, at(5, 2, -1.2), at(10, 2.1, -0.1)], keys), null, 'within the noise')
  assert.equal(turning([before, at(5, 2, -1), at(10, 2.5, 0.1), at(15, 1.9, -0.3)], keys), null, 'it fell again')
  assert.equal(turning([at(0, 1), at(5, 2, 0.5)], keys), null, 'nothing was learned')
  assert.equal(turning([before, at(5, 2), at(10, 2.5)], keys), null, 'an older run has no intervals')
})
