// A run's page: charts that grow by the rows that arrive, and the answers by step.

import { api, pageData } from './lib/api.js'
import { Chart, save } from './lib/chart.js'
import { refresh, throttled } from './lib/live.js'
import { socket, watch } from './lib/socket.js'
import { toast } from './lib/toast.js'

const root = document.querySelector('[data-run]')
const session = root.dataset.run
// The charts in the order in which a person asks, and what a part of the reward is called, by the key of its scores.
const { charts: SECTIONS, parts: PART_TITLES } = pageData()
const PARTS = SECTIONS.flatMap(({ charts }) => charts).find((chart) => chart.parts)?.key
const place = document.getElementById('chart-place')
const COLOURS = ['--c1', '--c2', '--c3', '--c4']
const wholeAxis = (_, low, high) => [0, Math.max(1, high ?? 1)]

// What lies between two curves: those of two other metrics, or this one's with another on both sides.
function band({ key, around, between }) {
  if (around) return (row) => (row[around] == null ? null : [row[key] - row[around], row[key] + row[around]])
  if (between) return (row) => (row[between[0]] == null ? null : between.map((name) => row[name]))
  return undefined
}

const series = (line) => ({
  label: line.label,
  colour: line.colour,
  values: (row) => (line.held_out ? row.evaluation : row)?.[line.key],
  band: band(line),
  plain: !line.smoothed,
  points: line.held_out,
})
const partSeries = (name, index) => ({
  label: PART_TITLES[name] ?? name,
  colour: COLOURS[index % 4],
  values: (row) => row[PARTS]?.[name],
})

const latest = new Map()
let weight = Number(document.getElementById('smoothing').value)
let charts = []
let drawn = ''

const keyOf = (row) => `${row.phase}/${row.step}/${row.when ?? ''}`
const EXTRA = new Set(['session_id'])

function frame() {
  const rows = [...latest.values()]
  const warmUp = Math.max(0, ...rows.filter((row) => row.phase === 'warm_up').map((row) => row.step))
  const at = new Map()
  const evaluations = []
  for (const row of rows) {
    const x = row.phase === 'warm_up' ? row.step : row.when === 'before' ? 0 : warmUp + row.step
    const spot = at.get(x) ?? {}
    if (row.phase === 'evaluation') {
      spot.evaluation = row
      evaluations.push(x)
    } else Object.assign(spot, row)
    at.set(x, spot)
  }
  // Phases are not joined by a line.
  if (warmUp && at.has(warmUp + 1)) at.set(warmUp + 0.5, {})
  const xs = [...at.keys()].sort((a, b) => a - b)
  return {
    xs,
    rows: xs.map((x) => at.get(x)),
    warmUp,
    evaluations,
    label: (x) => (Number.isInteger(x) ? String(x <= warmUp && warmUp ? x : x - warmUp) : ''),
    word: (x) => (warmUp && x <= warmUp ? `warm-up step ${x}` : `step ${x - warmUp}`),
  }
}

function components() {
  const names = new Set()
  for (const row of latest.values()) for (const name of Object.keys(row[PARTS] ?? {})) names.add(name)
  return [...names].sort()
}

// A chart without a value is left out: empty axes say nothing. Of what only some runs have a zero is no value either.
const there = (definition, rows) =>
  definition.only_with
    ? [...latest.values()].some((row) => row[definition.only_with])
    : definition.series.some((one) => rows.some((row) => one.values(row) != null))

function sections(rows) {
  return SECTIONS.map(({ title, charts: list }) => [
    title,
    list
      .map((chart) => ({
        ...chart,
        range: chart.whole ? wholeAxis : undefined,
        series: chart.parts ? components().map(partSeries) : chart.lines.map(series),
      }))
      .filter((chart) => there(chart, rows)),
  ])
}

function card(definition) {
  const figure = document.createElement('figure')
  figure.className = `card chart${definition.wide ? ' wide' : ''}`
  figure.id = `chart-${definition.key}`
  figure.dataset.testid = `chart-${definition.key}`
  figure.innerHTML =
    '<header><h3></h3><span class="now"></span><button type="button" class="icon-button">' +
    '<svg class="icon" aria-hidden="true"><use href="/static/vendor/icons.svg#image"></use></svg></button></header>' +
    '<div class="legend"></div><div class="canvas" tabindex="0" role="img"></div>' +
    '<figcaption class="health"></figcaption>'
  figure.querySelector('h3').textContent = definition.title
  figure.querySelector('.health').textContent = definition.caption
  const canvas = figure.querySelector('.canvas')
  canvas.setAttribute(
    'aria-label',
    `${definition.title}. Arrow keys move through the steps; the table below has the same numbers.`,
  )
  const button = figure.querySelector('button')
  button.setAttribute('aria-label', `Save the chart '${definition.title}' as a picture (PNG)`)
  button.title = 'Save as a picture (PNG)'
  if (definition.series.length > 1) {
    figure.querySelector('.legend').append(
      ...definition.series.map((entry) => {
        const mark = document.createElement('span')
        mark.className = entry.colour.replace('--', '')
        mark.textContent = entry.label
        return mark
      }),
    )
  }
  return figure
}

function build(found) {
  for (const chart of charts) chart.plot?.destroy()
  charts = []
  place.replaceChildren()
  for (const [title, definitions] of found) {
    if (!definitions.length) continue
    const section = document.createElement('section')
    section.className = 'stack tight'
    const heading = document.createElement('h3')
    heading.textContent = title
    const grid = document.createElement('div')
    grid.className = 'charts'
    section.append(heading, grid)
    for (const definition of definitions) {
      const figure = card(definition)
      grid.append(figure)
      const chart = new Chart(figure, definition, () => {})
      figure.querySelector('button').onclick = async () => save(await chart.png(), `${session}-${definition.key}.png`)
      charts.push(chart)
    }
    place.append(section)
  }
}

function draw() {
  const now = frame()
  document.getElementById('charts').hidden = !latest.size
  const found = sections(now.rows)
  const names = [...components(), ...found.flatMap(([, list]) => list.map((one) => one.key))].join('\n')
  if (names !== drawn) {
    drawn = names
    build(found)
  }
  for (const chart of charts) chart.draw(now, weight)
  root.dataset.rows = String(latest.size)
}

let planned = false
function drawSoon() {
  if (planned) return
  planned = true
  requestAnimationFrame(() => {
    planned = false
    draw()
  })
}

function take(rows) {
  for (const row of rows) {
    const old = latest.get(keyOf(row))
    if (!old || old.row <= row.row) latest.set(keyOf(row), row)
  }
  drawSoon()
}

const first = await api(`/api/training/sessions/${session}/metrics?points=2000`)
take(first.rows)
watch(session, first.next, take)

document.getElementById('smoothing').addEventListener('input', (event) => {
  weight = Number(event.target.value)
  drawSoon()
})
const restyle = () => {
  for (const chart of charts) chart.restyle(weight)
}
document.addEventListener('theme:changed', restyle)
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', restyle)

document.getElementById('csv').addEventListener('click', () => {
  const flat = [...latest.values()].map(({ [PARTS]: parts, ...row }) => ({
    ...row,
    ...Object.fromEntries(Object.entries(parts ?? {}).map(([name, value]) => [`reward.${name}`, value])),
  }))
  const columns = [...new Set(flat.flatMap(Object.keys))].filter((name) => !EXTRA.has(name))
  const cell = (value) =>
    value == null ? '' : /[",\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value)
  const text = [columns.join(','), ...flat.map((row) => columns.map((name) => cell(row[name])).join(','))].join('\n')
  save(new Blob([text], { type: 'text/csv' }), `${session}.csv`)
  toast('Saved the numbers as CSV.', 3)
})

// Answers: the form's own GET, taken in place. A step that was chosen stays chosen while new ones arrive.
function address() {
  const form = document.getElementById('answers-form')
  return form ? `${location.pathname}?${new URLSearchParams(new FormData(form))}` : location.href
}
// What was chosen is read at once: an answer to an earlier choice may put the form back before the next is sent.
let wanted = location.href
const ask = throttled(150, () => {
  history.replaceState(null, '', wanted)
  refresh(wanted)
})
const show = () => {
  wanted = address()
  ask()
}
document.addEventListener('change', (event) => {
  if (event.target.closest('#answers-form') && event.target.id !== 'answers-slider') show()
})
document.addEventListener('input', (event) => {
  if (event.target.id !== 'answers-slider') return
  const select = document.getElementById('answers-step')
  select.selectedIndex = Number(event.target.value)
  event.target.setAttribute('aria-valuetext', `Step ${select.value}`)
  show()
})

const log = document.getElementById('run-log')
document.getElementById('log-fold').addEventListener('toggle', () => {
  log.scrollTop = log.scrollHeight
})
socket.on('training_status', (status) => {
  if (status.session_id === session && status.status === 'deleted') location.href = '/runs'
})
