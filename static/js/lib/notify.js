// A browser notification when a run ends or stalls, if enabled, and a note in the title of a
// background tab for everyone. This needs an open page.

import { api } from './api.js'
import { toast } from './toast.js'

const KEY = 'tunesmith.notify'
const ENDS = { completed: 'has finished', stopped: 'was stopped', failed: 'has failed', crashed: 'has crashed' }
const CHECK_EVERY = 15_000

// As in services/runs/forecast.py: a run has stalled after this long, and after this many of its usual steps.
const QUIET = 120_000
const MANY = 6

// 'off' in Settings applies to all runs.
const possible = () => document.body.dataset.notify !== 'off' && isSecureContext && 'Notification' in window
const wanted = () => possible() && Notification.permission === 'granted' && localStorage.getItem(KEY) === 'on'

// The choice is on an active run's page; after a swap its state is set again.
export function wireNotify() {
  const show = () => {
    const box = document.getElementById('notify')
    if (!box) return
    box.closest('label').hidden = !possible()
    box.checked = wanted()
  }
  document.addEventListener('change', async (event) => {
    if (event.target.id !== 'notify') return
    localStorage.setItem(KEY, event.target.checked ? 'on' : 'off')
    if (event.target.checked) await Notification.requestPermission()
    if (event.target.checked && Notification.permission !== 'granted')
      toast(
        'Your browser blocks notifications from this site. Allow them in its site settings, then select the box again.',
      )
    show()
  })
  document.addEventListener('live:swapped', show)
  show()
  // Pages without the menu, such as the login, have no connection.
  if (document.querySelector('.rail')) import('./socket.js').then(({ socket }) => followStalls(socket))
}

// Runs that have been silent for too long, by the rows received on this page.
export class Stalls {
  constructor() {
    this.seen = new Map()
  }

  // Step times need two rows; the longest pause between any two counts.
  row({ session_id: id, phase }, now) {
    if (phase === 'evaluation') return
    const before = this.seen.get(id)
    this.seen.set(id, { at: now, usual: before ? Math.max(before.usual, now - before.at) : 0 })
  }

  // Only these phases have a row for each step: scoring, loading and saving can take any time.
  status({ session_id: id, status }) {
    if (!['training', 'warming_up'].includes(status)) this.seen.delete(id)
  }

  // Each silence is reported once.
  late(now) {
    const found = [...this.seen].filter(([, { at, usual }]) => usual && now - at > Math.max(QUIET, MANY * usual))
    for (const [id] of found) this.seen.delete(id)
    return found.map(([id, { at }]) => ({ id, minutes: Math.round((now - at) / 60_000) }))
  }
}

function followStalls(socket) {
  const stalls = new Stalls()
  socket.on('training_update', (row) => stalls.row(row, Date.now()))
  socket.on('training_status', (status) => stalls.status(status))
  setInterval(() => {
    for (const { id, minutes } of stalls.late(Date.now())) tellStall(id, minutes)
  }, CHECK_EVERY)
}

export async function tellStall(id, minutes) {
  const run = await api(`/api/training/sessions/${id}`).catch(() => null)
  if (!run?.active) return
  mark(`Stalled: ${run.name}`)
  if (wanted()) notify(id, `${run.name} may have stalled`, `No new step for ${minutes} minutes. Check its log.`)
}

export async function tellEnd(status) {
  const how = ENDS[status.status]
  if (!how) return
  mark(`${status.name} ${how}`)
  if (!wanted()) return
  const said = await api(`/api/training/sessions/${status.session_id}/verdict`).catch(() => null)
  notify(status.session_id, `${status.name} ${how}`, said?.headline ?? '')
}

// Several pages may receive the same event: one tag, one notification.
function notify(id, title, body) {
  const note = new Notification(title, { body, tag: id })
  note.onclick = () => {
    focus()
    location.href = `/runs/${id}`
  }
}

// The event is put before the title until the tab is viewed. A swapped page has another title.
let marked = null
function mark(words) {
  if (!document.hidden) return
  const plain = marked?.title === document.title ? marked.plain : document.title
  marked = { plain, title: `${words} · ${plain}` }
  document.title = marked.title
  document.addEventListener('visibilitychange', unmark, { once: true })
}

function unmark() {
  if (document.title === marked?.title) document.title = marked.plain
  marked = null
}
