// A run's page: charts that grow by the rows that arrive, and the answers by step.

import { api, pageData } from './lib/api.js'
import { Chart, save } from './lib/chart.js'
import { number } from './lib/format.js'
import { refresh, throttled } from './lib/live.js'
import { socket, watch } from './lib/socket.js'
import { toast } from './lib/toast.js'

const root = document.querySelector('[data-run]')
const session = root.dataset.run
// What a part of the reward is called, by the key of its scores.
const { parts = {} } = JSON.parse(document.getElementById('page-data')?.textContent || '{}')
const place = document.getElementById('chart-place')
const share = (_, low, high) => [0, Math.max(1, high ?? 1)]
const COLOURS = ['--c1', '--c2', '--c3', '--c4']

const line = (label, name, colour = '--c1', more = {}) => ({ label, values: (row) => row[name], colour, ...more })

const best = pageData()?.best

// In the order in which a person asks. `health` names the figure in the latest row that is judged.
const SECTIONS = [
  ['Is it learning?', [
    { id: 'reward', title: 'How good the answers were (reward)', wide: true, series: [
      line('mean', 'reward', '--c1', { band: (row) => (row.reward_std == null ? null : [row.reward - row.reward_std, row.reward + row.reward_std]) }),
      { label: 'held out', values: (row) => row.evaluation?.reward, colour: '--c3', points: true }], health: `Higher is better${best == null ? '' : `, ${number(best)} is the most`}. The band is the spread within a question; points are questions it never trains on.` },
    { id: 'components', title: 'Parts of the reward', series: [], components: true, health: 'Before weights; which part carries the reward?' },
    { id: 'solved', title: 'Fully right answers (solved share)', range: share, series: [line('training', 'solved'), { label: 'held out', values: (row) => row.evaluation?.solved, colour: '--c3', points: true }], health: 'Higher is better.' },
  ]],
  ['Is it healthy?', [
    { id: 'groups', title: 'Questions with nothing to compare', range: share, marks: [0.9], series: [line('share', 'groups_without_spread')], health: 'Near 1 nothing is being learnt.' },
    { id: 'kl', title: 'How far it moved (KL divergence)', marks: [0.1, 1], series: [line('training', 'kl'), { label: 'held out', values: (row) => row.evaluation?.kl, colour: '--c3', points: true }], health: 'Below 0.01 calm, above 0.1 watch, above 1 stop and look. Measured in training only with a KL penalty.' },
    { id: 'entropy', title: 'How undecided it is (entropy)', series: [line('entropy', 'entropy')], health: 'Falls as it becomes sure; near 0 it says one thing only.' },
    { id: 'grad-norm', title: 'Size of the correction (gradient norm)', marks: [100], series: [line('norm', 'grad_norm')], health: 'Between 0.01 and 100 is fine.' },
    { id: 'clip', title: 'Corrections held back (clip ratio)', series: [line('all', 'clip_ratio'), line('low', 'clip_ratio_low', '--c2'), line('high', 'clip_ratio_high', '--c3')], health: 'With one use of each answer 0 by construction.' },
    { id: 'learning-rate', title: 'How far each step goes (learning rate)', series: [line('rate', 'learning_rate', '--c1', { plain: true })], health: 'As the schedule has it.' },
  ]],
  ['What does it write?', [
    { id: 'length', title: 'Length of the answers', unit: 'tokens', series: [line('mean', 'completion_length_mean', '--c1', { band: (row) => (row.completion_length_min == null ? null : [row.completion_length_min, row.completion_length_max]) }), line('shortest', 'completion_length_min', '--c2', { plain: true }), line('longest', 'completion_length_max', '--c3', { plain: true })], health: 'Should stay well below the limit.' },
    { id: 'cut-off', title: 'Answers cut off', range: share, marks: [0.5], series: [line('share', 'cut_off')], health: 'Lower is better. Above 0.5 the limit is too short.' },
  ]],
  ['How fast is it?', [
    { id: 'step-time', title: 'Time for one step', unit: 's', series: [line('whole', 'step_time'), line('writing', 'time_generation', '--c2'), line('scoring', 'time_reward', '--c3')], health: 'Lower is better.' },
    { id: 'scoring-time', title: 'Time for scoring a step (rewards)', unit: 's', series: [line('scoring', 'time_reward')], health: 'Lower is better. A fraction of the time for writing is fine.' },
    { id: 'no-opinion', title: 'Answers without an opinion', only: 'no_opinion', series: [line('answers', 'no_opinion', '--c1', { plain: true })], health: 'Answers a step on which a reward said nothing (None). They gain and lose nothing by it.' },
    { id: 'judge', title: 'Asked of the judge', only: 'judge_requests', series: [line('answers', 'judge_requests', '--c1', { plain: true }), line('remembered', 'judge_cached', '--c2', { plain: true }), line('without a score', 'judge_failed', '--c3', { plain: true })], health: 'Answers a step that another model judged. Those without a score earned nothing.' },
    { id: 'judge-tokens', title: 'Tokens of the judge', unit: 'tokens', only: 'judge_requests', series: [line('tokens', 'judge_tokens', '--c1', { plain: true })], health: 'What is paid for, in each step.' },
    { id: 'judge-cost', title: 'Cost of the judge', only: 'judge_cost', series: [line('cost', 'judge_cost', '--c1', { plain: true })], health: 'By the price that you gave, in each step.' },
    { id: 'tokens', title: 'Writing speed', unit: 'tokens a second', series: [line('speed', 'tokens_per_second')], health: 'Higher is better.' },
  ]],
  ['Loss', [
    { id: 'loss', title: 'Training loss', series: [line('loss', 'loss')], health: 'In the warm-up lower is better. In training it is near 0 by construction and says nothing about progress: watch the reward.' },
  ]],
]

const latest = new Map()
let weight = Number(document.getElementById('smoothing').value)
let charts = []
let componentNames = ''

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
    xs, rows: xs.map((x) => at.get(x)), warmUp, evaluations,
    label: (x) => (Number.isInteger(x) ? String(x <= warmUp && warmUp ? x : x - warmUp) : ''),
    word: (x) => (warmUp && x <= warmUp ? `warm-up step ${x}` : `step ${x - warmUp}`),
  }
}

function components() {
  const names = new Set()
  for (const row of latest.values()) for (const name of Object.keys(row.reward_components ?? {})) names.add(name)
  return [...names].sort()
}

// A chart without a value is left out: empty axes say nothing. Of what only some runs have a zero is no value either.
const there = (definition, rows) => (definition.only
  ? [...latest.values()].some((row) => row[definition.only])
  : definition.series.some((one) => rows.some((row) => one.values(row) != null)))

function card(definition) {
  const figure = document.createElement('figure')
  figure.className = `card chart${definition.wide ? ' wide' : ''}`
  figure.id = `chart-${definition.id}`
  figure.dataset.testid = `chart-${definition.id}`
  figure.innerHTML = '<header><h3></h3><span class="now"></span><button type="button" class="icon-button"><svg class="icon" aria-hidden="true"><use href="/static/vendor/icons.svg#image"></use></svg></button></header><div class="legend"></div><div class="canvas" tabindex="0" role="img"></div><figcaption class="health"></figcaption>'
  figure.querySelector('h3').textContent = definition.title
  figure.querySelector('.health').textContent = definition.health ?? ''
  const canvas = figure.querySelector('.canvas')
  canvas.setAttribute('aria-label', `${definition.title}. Arrow keys move through the steps; the table below has the same numbers.`)
  const button = figure.querySelector('button')
  button.setAttribute('aria-label', `Save the chart '${definition.title}' as a picture (PNG)`)
  button.title = 'Save as a picture (PNG)'
  if (definition.series.length > 1) {
    figure.querySelector('.legend').append(...definition.series.map((entry) => {
      const mark = document.createElement('span')
      mark.className = entry.colour.replace('--', '')
      mark.textContent = entry.label
      return mark
    }))
  }
  return figure
}

function build(rows) {
  for (const chart of charts) chart.plot?.destroy()
  charts = []
  place.replaceChildren()
  for (const [title, definitions] of SECTIONS) {
    const section = document.createElement('section')
    section.className = 'stack tight'
    const heading = document.createElement('h3')
    heading.textContent = title
    const grid = document.createElement('div')
    grid.className = 'charts'
    section.append(heading, grid)
    for (const base of definitions) {
      const definition = base.components
        ? { ...base, series: components().map((name, index) => ({ label: parts[name] ?? name, values: (row) => row.reward_components?.[name], colour: COLOURS[index % 4] })) }
        : base
      if (!there(definition, rows)) continue
      const figure = card(definition)
      grid.append(figure)
      const chart = new Chart(figure, definition, () => {})
      figure.querySelector('button').onclick = async () => save(await chart.png(), `${session}-${definition.id}.png`)
      charts.push(chart)
    }
    if (grid.childElementCount) place.append(section)
  }
}

function draw() {
  const now = frame()
  document.getElementById('charts').hidden = !latest.size
  const names = [...components(), ...SECTIONS.flatMap(([, list]) => list.filter((one) => there(one, now.rows)).map((one) => one.id))].join('\n')
  if (names !== componentNames) {
    componentNames = names
    build(now.rows)
  }
  for (const chart of charts) chart.draw(now, weight)
  root.dataset.rows = String(latest.size)
}

let planned = false
function drawSoon() {
  if (planned) return
  planned = true
  requestAnimationFrame(() => { planned = false; draw() })
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

document.getElementById('smoothing').addEventListener('input', (event) => { weight = Number(event.target.value); drawSoon() })
const restyle = () => { for (const chart of charts) chart.restyle(weight) }
document.addEventListener('theme:changed', restyle)
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', restyle)

document.getElementById('csv').addEventListener('click', () => {
  const flat = [...latest.values()].map(({ reward_components: parts, ...row }) => ({ ...row, ...Object.fromEntries(Object.entries(parts ?? {}).map(([name, value]) => [`reward.${name}`, value])) }))
  const columns = [...new Set(flat.flatMap(Object.keys))].filter((name) => !EXTRA.has(name))
  const cell = (value) => (value == null ? '' : /[",\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value))
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
document.addEventListener('change', (event) => { if (event.target.closest('#answers-form') && event.target.id !== 'answers-slider') show() })
document.addEventListener('input', (event) => {
  if (event.target.id !== 'answers-slider') return
  const select = document.getElementById('answers-step')
  select.selectedIndex = Number(event.target.value)
  event.target.setAttribute('aria-valuetext', `Step ${select.value}`)
  show()
})

const log = document.getElementById('run-log')
document.getElementById('log-fold').addEventListener('toggle', () => { log.scrollTop = log.scrollHeight })
socket.on('training_status', (status) => { if (status.session_id === session && status.status === 'deleted') location.href = '/runs' })
