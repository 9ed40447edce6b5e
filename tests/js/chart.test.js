import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import { FakeDocument, el } from './support/dom.js'
import { Chart, smooth } from '../../static/js/lib/chart.js'

const REWARD = { label: 'mean', values: (row) => row.reward, colour: '--c1' }
const HELD_OUT = { label: 'held-out', values: (row) => row.held, colour: '--c3', points: true }
const RANGE = { ...REWARD, band: (row) => (row.low == null ? null : [row.low, row.high]) }

let place
let readout
let heard
const hears = { point: (index) => heard.push(index), zoom: (range) => heard.push(range) }

beforeEach(() => {
  heard = []
  readout = el('span', { id: 'chart-readout' })
  place = el('figure', {}, el('span', { class: 'now' }), el('div', { class: 'canvas' }))
  Object.assign(place.querySelector('.canvas'), { clientWidth: 400, clientHeight: 176 })
  globalThis.document = new FakeDocument(readout, place)
  document.createElement = (name) => Object.assign(el(name), { style: {} })
})

const frameOf = (...rows) => ({
  xs: rows.map((_, index) => index + 1),
  rows: rows.map((row) => (Object.keys(row).length ? { phase: 'training', ...row } : row)),
  warmUp: 0,
  evaluations: [],
  label: (x) => `${x}`,
  word: (x) => `step ${x}`,
})
const made = (series, more = {}) => new Chart(place, { title: 'Reward', axis: 'Reward', series, ...more }, hears)
const look = (weight = 0, more = {}) => ({ weight, log: false, zoom: null, ...more })

test('smoothing is an exponential mean that restarts with each phase and keeps gaps', () => {
  assert.deepEqual(smooth([1, 3, null, 5], 0.5, ['a', 'a', 'a', 'a']), [1, 2, null, 3.5])
  assert.deepEqual(smooth([1, 3, 10, 20], 0.5, ['a', 'a', 'b', 'b']), [1, 2, 10, 15])
  assert.deepEqual(smooth([1, 3], 0, ['a', 'a']), [1, 3])
})

test('a line has raw and smoothed values, a band two more, points only their own', () => {
  const frame = frameOf({ reward: 1, low: 0, high: 2 }, { reward: 3 }, { held: 5 })
  const columns = made([RANGE, HELD_OUT]).columns(frame, look(0.5))
  assert.deepEqual(columns, [
    [1, 2, 3],
    [0, null, null],
    [2, null, null],
    [1, 3, null],
    [1, 2, null],
    [null, null, 5],
  ])
})

test('there is one series per column, and bands join the right two', () => {
  const chart = made([RANGE, HELD_OUT, { ...REWARD, plain: true }])
  chart.draw(frameOf({ reward: 1, low: 0, high: 2, held: 3 }), look(0.5))
  const { series, bands } = chart.plot.options
  assert.equal(series.length, chart.plot.data.length)
  assert.deepEqual(bands[0].series, [2, 1])
  assert.equal(bands[0].fill, 'rgba(1, 2, 3, 0.12)')
})

test('the value axis starts at 0 if that is near, leaves room above, and handles one value and none', () => {
  const chart = made([REWARD])
  chart.draw(frameOf({ reward: 1 }), look())
  const { range } = chart.plot.options.scales.y
  assert.deepEqual(range(null, 0, 100), [0, 108])
  assert.deepEqual(range(null, 1000, 1100), [992, 1108])
  assert.deepEqual(range(null, -1, 1), [-1.16, 1.16])
  assert.deepEqual(range(null, 0.5, 0.5), [0.46, 0.54])
  assert.deepEqual(range(null, null, null), [0, 1])
})

test('a custom range is used unchanged', () => {
  const range = () => [0, 1]
  const chart = made([REWARD], { range })
  chart.draw(frameOf({ reward: 1 }), look())
  assert.equal(chart.plot.options.scales.y.range, range)
})

test('it shows the latest value with its unit; several lines are named', () => {
  const chart = made([REWARD, HELD_OUT], { unit: 'points' })
  chart.draw(frameOf({ reward: 1, held: 2 }, { reward: 3 }), look())
  assert.equal(place.querySelector('.now').textContent, 'Latest: mean 3 · held-out 2 points')
  chart.draw(frameOf({ reward: 4 }), look())
  assert.equal(place.querySelector('.now').textContent, 'Latest: mean 4 points')
})

test('arrow keys read out one step after another, past the gap between two phases', () => {
  const chart = made([REWARD])
  chart.draw(frameOf({ reward: 1 }, {}, { reward: 3 }), look())
  const press = (key) => chart.key({ key, preventDefault() {} })
  press('ArrowLeft')
  assert.equal(readout.textContent, 'Reward, step 1: 1', 'the empty place is passed over')
  press('ArrowLeft')
  press('End')
  assert.equal(readout.textContent, 'Reward, step 3: 3')
  press('x')
  assert.deepEqual(heard, [0, 0, 2])
})

test('new values reuse the plot; another theme or scale makes a new one', () => {
  const chart = made([REWARD])
  chart.draw(frameOf({ reward: 1 }), look())
  const { plot } = chart
  chart.draw(frameOf({ reward: 1 }, { reward: 2 }), look(0.5))
  assert.equal(chart.plot, plot)
  chart.restyle()
  assert.notEqual(chart.plot, plot)
  assert.equal(plot.destroyed, true)
  const { plot: second } = chart
  chart.draw(chart.frame, look(0, { log: true }))
  assert.notEqual(chart.plot, second)
  assert.deepEqual(chart.plot.options.scales.y, { distr: 3 })
})

test('on a logarithmic axis, zero and negative values are gaps', () => {
  const columns = made([RANGE]).columns(frameOf({ reward: 1, low: -1, high: 2 }, { reward: 0 }), look(0, { log: true }))
  assert.deepEqual(columns.slice(1), [
    [null, null],
    [2, null],
    [1, null],
    [1, null],
  ])
})

test('axes have titles, shares are percentages, and a tick without a label has none', () => {
  const chart = made([REWARD], { axis: 'Share', share: true })
  chart.draw(frameOf({ reward: 0.5 }), look())
  const [x, y] = chart.plot.options.axes
  assert.deepEqual([x.label, y.label], ['Step', 'Share'])
  assert.deepEqual(y.values(null, [0, 0.5, null]), ['0%', '50%', ''])
  assert.equal(place.querySelector('.now').textContent, 'Latest: 50%')
})

test('the zoomed range is shown, otherwise everything; a single step has room on both sides', () => {
  const chart = made([REWARD])
  chart.draw(frameOf({ reward: 1 }, { reward: 2 }, { reward: 3 }), look())
  const { range } = chart.plot.options.scales.x
  assert.deepEqual(range(null, 1, 3), [1, 3])
  assert.deepEqual(range(null, 1, 1), [0, 2])
  chart.draw(chart.frame, look(0, { zoom: [1.5, 2] }))
  assert.deepEqual(range(null, 1, 3), [1.5, 2])
})

test('dragging zooms all charts, a tiny movement does not', () => {
  const chart = made([REWARD])
  chart.draw(frameOf({ reward: 1 }, { reward: 2 }), look())
  const [select] = chart.plot.options.hooks.setSelect
  chart.plot.select = { left: 10, width: 2 }
  select(chart.plot)
  assert.deepEqual(heard, [])
  chart.plot.select = { left: 10, width: 30 }
  select(chart.plot)
  assert.deepEqual(heard, [[10, 40]])
  assert.equal(chart.plot.select.width, 0)
})

test('keys zoom around the current step, and 0 shows everything', () => {
  const chart = made([REWARD])
  chart.draw(frameOf(...Array.from({ length: 11 }, (_, n) => ({ reward: n }))), look())
  const press = (key, more = {}) => chart.key({ key, preventDefault() {}, ...more })
  press('+')
  assert.deepEqual(heard.at(-1), [8.5, 11])
  chart.draw(chart.frame, look(0, { zoom: [8, 11] }))
  press('-')
  assert.deepEqual(heard.at(-1), [8, 11])
  press('0')
  assert.equal(heard.at(-1), null)
  press('0', { ctrlKey: true })
  assert.equal(heard.length, 3)
})

test('a marked step has its word on the side with room', () => {
  const chart = made([REWARD], { turn: { at: (rows) => rows.step, word: 'here' } })
  const texts = []
  const lines = []
  const ctx = {
    save() {},
    restore() {},
    beginPath() {},
    stroke() {},
    moveTo: (x) => lines.push(x),
    lineTo() {},
    measureText: () => ({ width: 60 }),
    fillText: (text, x) => texts.push([text, ctx.textAlign, x]),
  }
  globalThis.devicePixelRatio = 1
  const plot = { ctx, bbox: { left: 0, top: 20, width: 100, height: 50 }, valToPos: (x) => x * 10 }
  for (const step of [2, 9, null, 30]) {
    chart.frame = { all: { step } }
    chart.turn(plot)
  }
  assert.deepEqual(lines, [20, 90], 'nothing is marked outside the visible range')
  assert.deepEqual(texts, [
    ['here', 'left', 24],
    ['here', 'right', 86],
  ])
})
