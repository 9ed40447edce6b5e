// A file in pieces, with progress and by drag and drop; it goes on where a broken connection left it,
// also after the page was closed. Without a script the same form is sent whole, as it is.

import { api } from './api.js'

const PATIENCE = 8
const BROKEN = 'The connection broke off. What has arrived is kept: choose the same file again to go on.'
const wait = (ms) => new Promise((resolve) => void setTimeout(resolve, ms))
const key = (file) => `upload:${file.name}:${file.size}:${file.lastModified}`

async function begin(file) {
  const before = localStorage.getItem(key(file))
  if (before) {
    const job = await api(`/api/datasets/jobs/${before}`).catch(() => null)
    if (job && job.state !== 'done' && job.size === file.size) return job
  }
  const job = await api('/api/datasets/uploads', { method: 'POST', json: { name: file.name, size: file.size } })
  localStorage.setItem(key(file), job.id)
  return job
}

async function send(file, job, onProgress) {
  let { offset } = job
  let tries = 0
  const arrived = () => api(`/api/datasets/jobs/${job.id}`).then((now) => now.offset)
  while (offset < file.size) {
    try {
      const piece = file.slice(offset, offset + job.chunk)
      offset = (await api(`/api/datasets/jobs/${job.id}?offset=${offset}`, { method: 'PATCH', body: piece })).offset
      tries = 0
    } catch (error) {
      // 409: the server is elsewhere in the file, since the answer to a piece was lost. It says where.
      if (error.status && error.status !== 409) throw error
      tries += 1
      if (tries > PATIENCE) throw new Error(BROKEN, { cause: error })
      await wait(500 * 2 ** Math.min(tries, 5))
      offset = (await arrived().catch(() => null)) ?? offset
    }
    onProgress(0.9 * (offset / file.size))
  }
}

async function finish(job, choices, onProgress) {
  let now = await api(`/api/datasets/jobs/${job.id}/finish`, { method: 'POST', json: choices })
  while (now.state === 'working') {
    await wait(500)
    now = await api(`/api/datasets/jobs/${job.id}`)
    if (now.total_bytes) onProgress(0.9 + 0.1 * (now.bytes / now.total_bytes))
  }
  if (now.state === 'done' && now.dataset.already)
    await api(`/api/datasets/jobs/${job.id}`, { method: 'DELETE' }).catch(() => null)
  if (now.state === 'done') return now.dataset
  if (!now.state) return now
  throw Object.assign(new Error(now.error), { code: now.state })
}

// The server asks about these; each answer is a choice for another try, and what was decided before stays.
const QUESTIONS = {
  bad_rows: [{ words: 'Skip the bad rows', choice: { bad_rows: 'skip' }, testid: 'skip-bad' }],
  heading: [
    { words: 'The first line holds the column names', choice: { heading: 'yes' }, testid: 'heading-yes' },
    { words: 'The first line is a row', choice: { heading: 'no' }, testid: 'heading-no' },
  ],
}

// Resolves with the dataset's info, `already` set where it was here before; rejects with the server's words.
// `code` names a question of QUESTIONS where a person can decide: call again with the choice.
export async function upload(file, onProgress, choices = {}) {
  const job = await begin(file)
  await send(file, job, onProgress)
  try {
    const info = await finish(job, choices, onProgress)
    localStorage.removeItem(key(file))
    return info
  } catch (error) {
    if (!(error.code in QUESTIONS)) localStorage.removeItem(key(file))
    throw error
  }
}

// Wires the drop area of a page: a chosen or dropped file is sent at once, then `done` is called.
export function wireDrop(done) {
  const area = () => document.getElementById('drop')
  let busy = false
  const start = async (file, choices = {}) => {
    if (!file || busy) return
    busy = true
    const bar = document.getElementById('upload-progress')
    const problem = document.getElementById('upload-problem')
    problem.textContent = ''
    bar.hidden = false
    try {
      done(
        await upload(
          file,
          (share) => {
            bar.value = share
          },
          choices,
        ),
      )
    } catch (error) {
      problem.textContent = `${file.name}: ${error.message}`
      for (const one of QUESTIONS[error.code] ?? [])
        problem.append(
          ' ',
          answerButton(one, () => start(file, { ...choices, ...one.choice })),
        )
    } finally {
      busy = false
      document.getElementById('file').value = ''
      bar.hidden = true
      bar.value = 0
    }
  }
  document.addEventListener('change', (event) => {
    if (event.target.id === 'file') start(event.target.files[0])
  })
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
    event.preventDefault()
    area().classList.remove('over')
    start(event.dataTransfer.files[0])
  })
  // A file that was chosen before this script ran is sent too; one that a reload brought back is not.
  if (performance.getEntriesByType('navigation')[0]?.type === 'navigate')
    start(document.getElementById('file')?.files[0])
}

function answerButton({ words, testid }, action) {
  const button = document.createElement('button')
  Object.assign(button, { type: 'button', className: 'button small', textContent: words })
  button.dataset.testid = testid
  button.addEventListener('click', action)
  return button
}
