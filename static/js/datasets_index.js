import { api } from './lib/api.js'
import { wireChips } from './lib/chips.js'
import { bytes } from './lib/format.js'
import { refresh } from './lib/live.js'
import { wireDrop } from './lib/upload.js'

wireChips()

wireDrop((info) => {
  location.href = `/datasets/${info.id}${info.already ? '?already=1' : ''}`
})

// Imports report their progress; when one ends, the page shows the result.
const running = () => document.querySelectorAll('[data-job][data-state="working"]')
const amount = (job) =>
  [
    job.rows ? `${job.rows.toLocaleString('en')} rows` : '',
    job.bytes ? bytes(job.bytes) + (job.total_bytes ? ` of ${bytes(job.total_bytes)}` : '') : '',
  ]
    .filter(Boolean)
    .join(', ')

async function follow() {
  if (!running().length) return
  for (const line of running()) {
    const job = await api(`/api/datasets/jobs/${line.dataset.job}`).catch(() => null)
    if (!job || job.state !== 'working') {
      await refresh() // not a reload: an upload or an error on this page stays
      break
    }
    line.querySelector('[data-said]').textContent = [job.message, amount(job)].filter(Boolean).join(': ')
    const whole = job.total_rows || job.total_bytes
    if (whole) line.querySelector('progress').value = (job.total_rows ? job.rows : job.bytes) / whole
  }
  setTimeout(follow, 1000)
}
setTimeout(follow, 600)
