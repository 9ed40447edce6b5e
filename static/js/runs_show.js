// A run's page: tabs, answers and log change without a reload, with their state in the URL; charts are live.

import { api } from './lib/api.js'
import { refresh, throttled } from './lib/live.js'
import { Rows } from './lib/run_frame.js'
import { socket, watch } from './lib/socket.js'

const root = document.querySelector('[data-run]')
const session = root.dataset.run

// Navigation: links and forms of the page are fetched in place. Intermediate choices, such as a slider's
// steps and letters of a search, replace the previous URL, so that Back skips them.
function go(url, { by = 'push' } = {}) {
  if (url !== location.href) history[by === 'push' ? 'pushState' : 'replaceState'](null, '', url)
  return refresh(url)
}

addEventListener('popstate', () => {
  document.querySelector('dialog.full-chart')?.close()
  // A focused field would keep its value.
  if (root.contains(document.activeElement)) document.activeElement.blur()
  refresh(location.href)
})

const plainClick = (event) =>
  !event.defaultPrevented && !event.button && !(event.metaKey || event.ctrlKey || event.shiftKey || event.altKey)

root.addEventListener('click', (event) => {
  const link = event.target.closest('#run-tabs a, a[data-in-place]')
  if (!link || !plainClick(event)) return
  event.preventDefault()
  go(link.href)
})

// Defaults are left out of the URL.
function addressOf(form) {
  const given = new URLSearchParams()
  for (const [name, value] of new FormData(form)) if (value) given.append(name, value)
  const latest = form.elements.step?.options
  if (latest && latest[latest.length - 1]?.value === given.get('step')) given.delete('step')
  if (given.get('phase') === 'training') given.delete('phase')
  return new URL(`${form.getAttribute('action')}?${given}`, location.href).href
}

// Choices are read immediately: the response to an earlier one may reset the form before the next is sent.
let wanted = location.href
const ask = throttled(200, () => go(wanted, { by: 'replace' }))

root.addEventListener('submit', (event) => {
  if (event.target.dataset.inPlace === undefined) return
  event.preventDefault()
  go(addressOf(event.target))
})
root.addEventListener('change', (event) => {
  const form = event.target.closest('form[data-in-place]')
  if (form && !['range', 'search'].includes(event.target.type)) go(addressOf(form))
})
root.addEventListener('input', (event) => {
  const form = event.target.closest('form[data-in-place]')
  if (!form || !['range', 'search'].includes(event.target.type)) return
  if (event.target.id === 'answers-slider') {
    const select = document.getElementById('answers-step')
    select.selectedIndex = Number(event.target.value)
    event.target.setAttribute('aria-valuetext', `Step ${select.value}`)
  }
  wanted = addressOf(form)
  ask()
})

// Charts: their code and the run's rows are fetched when first viewed.
const rows = new Rows()
let charts = null
let following = false

function take(fresh) {
  rows.take(fresh)
  root.dataset.rows = String(rows.size)
  charts?.drawSoon()
}

async function follow() {
  if (following) return
  following = true
  const first = await api(`/api/training/sessions/${session}/metrics?points=2000`)
  take(first.rows)
  watch(session, first.next, take)
}

async function draw(place) {
  charts?.drop()
  charts = null
  if (!place) return
  const { RunCharts } = await import('./lib/run_charts.js')
  if (!place.isConnected) return
  charts = new RunCharts(session, rows)
  charts.drawSoon()
  await follow()
}

// A swap for new rows leaves these elements alone, and with them the zoom and the position in the log.
let place = null
let log = null

function tab() {
  const before = [place, log]
  place = document.getElementById('chart-place')
  log = document.getElementById('run-log')
  if (place !== before[0]) draw(place)
  if (log && log !== before[1]) log.scrollTop = log.scrollHeight
}

document.addEventListener('live:swapped', tab)
tab()

const restyle = () => charts?.restyle()
document.addEventListener('theme:changed', restyle)
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', restyle)

socket.on('training_status', (status) => {
  // If this page is sending its Delete form, the response brings the list with the Undo button.
  if (document.querySelector('form[data-busy]')) return
  if (status.session_id === session && status.status === 'deleted') location.href = '/runs'
})
