// Uploads a file in pieces, with progress, cancel and drag and drop. An interrupted upload resumes where it stopped,
// even after the page was closed. Without scripts the same form is sent as a whole.

import { api } from './api.js'
import { button } from './dom.js'

const PATIENCE = 8
const BROKEN = 'The connection was lost. What has been uploaded is kept: choose the same file again to resume.'
const wait = (ms) => new Promise((resolve) => void setTimeout(resolve, ms))
const key = (file) => `upload:${file.name}:${file.size}:${file.lastModified}`

async function begin(file, signal) {
  const before = localStorage.getItem(key(file))
  if (before) {
    const job = await api(`/api/datasets/jobs/${before}`, { signal }).catch(() => null)
    if (job && job.state !== 'done' && job.size === file.size) return job
  }
  const json = { name: file.name, size: file.size }
  const job = await api('/api/datasets/uploads', { method: 'POST', json, signal })
  localStorage.setItem(key(file), job.id)
  return job
}

async function send(file, job, onProgress, signal) {
  let { offset } = job
  let tries = 0
  const path = `/api/datasets/jobs/${job.id}`
  const arrived = () => api(path, { signal }).then((now) => now.offset)
  while (offset < file.size) {
    try {
      const body = file.slice(offset, offset + job.chunk)
      offset = (await api(`${path}?offset=${offset}`, { method: 'PATCH', body, signal })).offset
      tries = 0
    } catch (error) {
      // 409: the response to a piece was lost, and the server is further into the file. It reports the offset.
      if (signal?.aborted || (error.status && error.status !== 409)) throw error
      tries += 1
      if (tries > PATIENCE) throw new Error(BROKEN, { cause: error })
      await wait(500 * 2 ** Math.min(tries, 5))
      offset = (await arrived().catch(() => null)) ?? offset
    }
    onProgress(0.9 * (offset / file.size))
  }
}

async function finish(job, choices, onProgress, signal) {
  let now = await api(`/api/datasets/jobs/${job.id}/finish`, { method: 'POST', json: choices, signal })
  while (now.state === 'working') {
    await wait(500)
    now = await api(`/api/datasets/jobs/${job.id}`, { signal })
    if (now.total_bytes) onProgress(0.9 + 0.1 * (now.bytes / now.total_bytes))
  }
  if (now.state === 'done' && now.dataset.already) await discard(job)
  if (now.state === 'done') return now.dataset
  if (!now.state) return now
  throw Object.assign(new Error(now.error), { code: now.state })
}

const discard = (job) => api(`/api/datasets/jobs/${job.id}`, { method: 'DELETE' }).catch(() => null)

// Questions from the server; each answer is used for another try, and earlier decisions are kept.
const QUESTIONS = {
  bad_rows: [{ words: 'Skip unusable rows', choice: { bad_rows: 'skip' }, testid: 'skip-bad' }],
  heading: [
    { words: 'First line is column names', choice: { heading: 'yes' }, testid: 'heading-yes' },
    { words: 'First line is data', choice: { heading: 'no' }, testid: 'heading-no' },
  ],
}

// Resolves to the dataset's info, with `already` for an existing one; rejects with the server's message.
// `code` is a key of QUESTIONS if the user can decide: call again with the choice. An aborted `signal`
// deletes the upload.
export async function upload(file, onProgress, choices = {}, signal = undefined) {
  const job = await begin(file, signal)
  const forget = () => localStorage.removeItem(key(file))
  try {
    await send(file, job, onProgress, signal)
    const info = await finish(job, choices, onProgress, signal).catch((error) => {
      if (!(error.code in QUESTIONS)) forget()
      throw error
    })
    forget()
    return info
  } catch (error) {
    if (signal?.aborted) {
      await discard(job)
      forget()
    }
    throw error
  }
}

// Wires the upload area of a page (templates/datasets/_upload.html): chosen or dropped files and pasted rows are sent
// immediately, then `done` is called. Errors stay until the next file.
export function wireDrop(done) {
  const at = (id) => document.getElementById(id)
  let sending = null
  const show = (share) => {
    at('upload-progress').value = share
    at('upload-share').textContent = `${Math.round(share * 100)}%`
  }
  const start = async (file, choices = {}) => {
    if (!file || sending) return
    sending = new AbortController()
    const { signal } = sending
    const problem = at('upload-problem')
    problem.replaceChildren()
    at('upload-name').textContent = file.name
    show(0)
    at('upload-row').hidden = false
    try {
      done(await upload(file, show, choices, signal))
    } catch (error) {
      problem.textContent = signal.aborted ? `Upload canceled: ${file.name}` : `${file.name}: ${error.message}`
      const questions = signal.aborted ? [] : (QUESTIONS[error.code] ?? [])
      for (const { words, choice, testid } of questions) {
        const answer = button('button small', words, () => start(file, { ...choices, ...choice }))
        answer.dataset.testid = testid
        problem.append(' ', answer)
      }
    } finally {
      sending = null
      at('file').value = ''
      at('upload-row').hidden = true
    }
  }
  document.addEventListener('change', (event) => {
    if (event.target.id === 'file') start(event.target.files[0])
  })
  document.addEventListener('click', (event) => {
    if (event.target.closest('#upload-cancel')) sending?.abort()
    if (!event.target.closest('#paste-send')) return
    event.preventDefault() // the form's own submit would send the text as a whole
    const text = at('pasted').value
    if (text.trim()) start(new File([text], at('pasted-name').value.trim() || 'Pasted rows'))
    else at('upload-problem').textContent = 'Paste some rows first.'
  })
  wireDrag(start)
  // A file chosen before this script ran is also sent; one restored by a reload is not.
  if (performance.getEntriesByType('navigation')[0]?.type === 'navigate') start(at('file')?.files[0])
}

function wireDrag(start) {
  const area = () => document.getElementById('drop')
  document.addEventListener('dragover', (event) => {
    if (!area()?.contains(event.target)) return
    event.preventDefault()
    area().classList.add('over')
  })
  document.addEventListener('dragleave', (event) => {
    if (area()?.contains(event.target)) area().classList.remove('over')
  })
  document.addEventListener('drop', (event) => {
    if (!area()?.contains(event.target)) return
    const file = event.dataTransfer.files[0]
    area().classList.remove('over')
    if (!file) return // text dropped into the box for pasting
    event.preventDefault()
    start(file)
  })
}
