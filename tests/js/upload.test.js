import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import { FakeDocument, FakeStorage, el, fakeFetch, happen, json, settled } from './support/dom.js'
import { upload, wireDrop } from '../../static/js/lib/upload.js'

const KEY = 'upload:a.jsonl:10:1'
const file = { name: 'a.jsonl', size: 10, lastModified: 1, slice: (from, to) => `${from}-${Math.min(to, 10)}` }
const DONE = { state: 'done', dataset: { id: 'd' } }

// A server that stores uploads; `broken` responds to a request instead.
function server({ chunk = 4, broken = () => null, ends = [DONE], job = {} } = {}) {
  const state = { offset: 0, size: 10, chunk, id: 'j', state: 'receiving', ...job }
  let reading = false
  const result = () => {
    const now = ends.shift()
    reading = now.state === 'working'
    return json(now)
  }
  const calls = fakeFetch((path, { method = 'GET', body }) => {
    const instead = broken(method, path, state)
    if (instead) return instead
    if (method === 'POST' && path.endsWith('/uploads')) return json(state)
    if (reading || path.endsWith('/finish')) return result()
    if (method === 'PATCH') {
      assert.equal(path, `/api/datasets/jobs/j?offset=${state.offset}`)
      state.offset = Number(body.split('-')[1])
    }
    return json(state)
  })
  return { state, calls, pieces: () => calls.filter(({ method }) => method === 'PATCH').map(({ body }) => body) }
}

beforeEach((t) => {
  globalThis.localStorage = new FakeStorage()
  globalThis.document = new FakeDocument()
  t.mock.timers.enable({ apis: ['setTimeout'] })
})

// Run pending tasks and timers until a promise settles.
async function over(t, promise) {
  let done = false
  const seen = promise.finally(() => {
    done = true
  })
  seen.catch(() => {})
  for (let turn = 0; turn < 2000 && !done; turn += 1) {
    await settled()
    t.mock.timers.tick(20_000)
  }
  return seen
}

test('a file is sent in chunks, one after the other, and its progress ends below 100%', async (t) => {
  const { pieces, calls } = server()
  const shares = []
  assert.deepEqual(
    await over(
      t,
      upload(file, (share) => shares.push(share)),
    ),
    { id: 'd' },
  )
  assert.deepEqual(pieces(), ['0-4', '4-8', '8-10'])
  assert.deepEqual(
    shares.map((share) => Number(share.toFixed(2))),
    [0.36, 0.72, 0.9],
  )
  assert.equal(calls[0].body, '{"name":"a.jsonl","size":10}')
  assert.equal(localStorage.getItem(KEY), null, 'a finished file is begun anew the next time')
})

test('an unfinished upload continues where it stopped', async (t) => {
  localStorage.setItem(KEY, 'j')
  const { pieces, calls } = server({ job: { offset: 8 } })
  await over(
    t,
    upload(file, () => {}),
  )
  assert.deepEqual(pieces(), ['8-10'])
  assert.equal(calls[0].path, '/api/datasets/jobs/j')
})

test('one that is gone, done or of another size starts over', async (t) => {
  for (const job of [{ state: 'done' }, { size: 11 }, null]) {
    localStorage.setItem(KEY, 'old')
    let asked = 0
    const broken = (method, path) => {
      if (!path.endsWith('/old')) return null
      asked += 1
      return job ? json({ id: 'old', state: 'receiving', size: 10, ...job }) : json({ error: {} }, 404)
    }
    const { pieces } = server({ broken })
    await over(
      t,
      upload(file, () => {}),
    )
    assert.equal(asked, 1)
    assert.equal(pieces()[0], '0-4')
  }
})

test('after a broken connection it requests the offset and continues there', async (t) => {
  let times = 0
  const broken = (method, path, state) => {
    if (method !== 'PATCH' || state.offset !== 4 || times === 2) return null
    times += 1
    if (times === 2) state.offset = 8 // it arrived; only the response was lost
    return new TypeError('fetch failed')
  }
  const { pieces } = server({ broken })
  await over(
    t,
    upload(file, () => {}),
  )
  assert.deepEqual(pieces(), ['0-4', '4-8', '4-8', '8-10'])
})

test('each uploaded chunk resets the count of failed attempts', async (t) => {
  let calls = 0
  const broken = (method, path) => {
    if (path.endsWith('/uploads')) return null
    calls += 1
    return calls % 3 ? new TypeError('fetch failed') : null // a chunk, the request for the offset, then a chunk again
  }
  const { pieces } = server({ broken, chunk: 1, ends: [DONE, DONE] })
  await over(
    t,
    upload(file, () => {}).catch((error) => assert.equal(error.message, 'fetch failed')),
  )
  assert.equal(pieces().at(-1), '9-10')
})

test("the server's offset takes precedence", async (t) => {
  let first = true
  const broken = (method, path, state) => {
    if (method !== 'PATCH' || !first) return null
    first = false
    state.offset = 8
    return json({ error: { message: 'at 8', code: 'conflict' } }, 409)
  }
  const { pieces } = server({ broken })
  await over(
    t,
    upload(file, () => {}),
  )
  assert.deepEqual(pieces(), ['0-4', '8-10'])
})

test("a refusal ends it at once, with the server's message", async (t) => {
  const broken = (method) => (method === 'PATCH' ? json({ error: { message: 'The disk is full.' } }, 507) : null)
  const { pieces } = server({ broken })
  await assert.rejects(
    over(
      t,
      upload(file, () => {}),
    ),
    { message: 'The disk is full.' },
  )
  assert.equal(pieces().length, 1)
})

test('a connection that stays down is given up, and uploaded chunks are kept for the next attempt', async (t) => {
  const broken = (method, path) => (path.endsWith('/uploads') ? null : new TypeError('fetch failed'))
  const { pieces } = server({ broken })
  await assert.rejects(
    over(
      t,
      upload(file, () => {}),
    ),
    (error) => {
      assert.match(error.message, /choose the same file again/)
      assert.equal(error.cause.message, 'fetch failed')
      return true
    },
  )
  assert.equal(pieces().length, 9)
  assert.equal(localStorage.getItem(KEY), 'j')
})

test('it waits for the import, shown as the last tenth', async (t) => {
  const working = { state: 'working', bytes: 5, total_bytes: 10 }
  server({ ends: [{ state: 'working' }, working, DONE] })
  const shares = []
  await over(
    t,
    upload(file, (share) => shares.push(share)),
  )
  assert.equal(shares.at(-1).toFixed(2), '0.95')
})

test('a dataset that already exists is not stored twice', async (t) => {
  const { calls } = server({ ends: [{ state: 'done', dataset: { id: 'd', already: true } }] })
  assert.equal(
    (
      await over(
        t,
        upload(file, () => {}),
      )
    ).already,
    true,
  )
  assert.equal(calls.at(-1).method, 'DELETE')
})

test('a pending decision keeps the upload; an unreadable file ends it', async (t) => {
  server({ ends: [{ state: 'bad_rows', error: '3 rows cannot be used.' }] })
  await assert.rejects(
    over(
      t,
      upload(file, () => {}),
    ),
    { code: 'bad_rows', message: '3 rows cannot be used.' },
  )
  assert.equal(localStorage.getItem(KEY), 'j')
  localStorage.removeItem(KEY)
  server({ ends: [{ state: 'failed', error: 'It is no table.' }] })
  await assert.rejects(
    over(
      t,
      upload(file, () => {}),
    ),
    { code: 'failed' },
  )
  assert.equal(localStorage.getItem(KEY), null)
})

// The elements of templates/datasets/_upload.html.
function page(...more) {
  const [problem, row] = [el('div', { id: 'upload-problem' }), el('div', { id: 'upload-row' })]
  const ids = ['upload-name', 'upload-progress', 'upload-share', 'upload-cancel', 'pasted', 'pasted-name', 'paste-send']
  const parts = Object.fromEntries(ids.map((id) => [id, el('div', { id })]))
  globalThis.document = new FakeDocument(problem, row, el('input', { id: 'file' }), ...Object.values(parts), ...more)
  return { problem, row, parts }
}

test('a canceled upload stops, and the server is told to delete its chunks', async (t) => {
  const stop = new AbortController()
  const broken = (method, path, state) => {
    if (method === 'PATCH' && state.offset) stop.abort()
    return stop.signal.aborted && method !== 'DELETE' ? new DOMException('Aborted', 'AbortError') : null
  }
  const { calls, pieces } = server({ broken })
  await assert.rejects(
    over(
      t,
      upload(file, () => {}, {}, stop.signal),
    ),
    { name: 'AbortError' },
  )
  assert.equal(pieces().length, 2, 'an abort is not tried again')
  assert.deepEqual([calls.at(-1).method, calls.at(-1).path], ['DELETE', '/api/datasets/jobs/j'])
  assert.equal(localStorage.getItem(KEY), null)
})

test('pasted rows are uploaded like a file, under the typed name', async () => {
  const found = []
  const { problem, parts } = page()
  const { calls } = server({ job: { offset: 8 } })
  wireDrop((info) => found.push(info))
  const press = async () => {
    const event = happen('click', parts['paste-send'])
    for (let turn = 0; turn < 50; turn += 1) await settled()
    return event
  }
  assert.equal((await press()).defaultPrevented, true)
  assert.match(problem.textContent, /Paste some rows/)
  assert.deepEqual(calls, [])
  parts.pasted.value = 'a,b\n1,2\n'
  parts['pasted-name'].value = ' mine '
  await press()
  assert.equal(calls[0].body, '{"name":"mine","size":8}')
  assert.deepEqual(found, [{ id: 'd' }])
  assert.equal(problem.textContent, '')
})

test('a dropped file is sent, its question is a button, and the choice is sent with the next attempt', async (t) => {
  const found = []
  const area = Object.assign(el('form', { id: 'drop' }), { classList: new Set() })
  area.classList.remove = area.classList.delete
  const { problem, row } = page(area)
  const { calls } = server({ ends: [{ state: 'heading', error: 'Is the first line a row?' }, DONE] })
  wireDrop((info) => found.push(info))
  assert.equal(happen('dragover', el('p')).defaultPrevented, false)
  assert.equal(happen('dragover', area).defaultPrevented, true)
  assert.equal(area.classList.has('over'), true)
  happen('drop', area, { dataTransfer: { files: [file] } })
  await over(t, settled())
  for (let turn = 0; turn < 50; turn += 1) await settled()
  assert.match(problem.textContent, /^a.jsonl: Is the first line a row\?/)
  const [, second] = problem.querySelectorAll('button')
  second.dispatchEvent(new Event('click'))
  for (let turn = 0; turn < 50; turn += 1) await settled()
  assert.deepEqual(found, [{ id: 'd' }])
  assert.equal(calls.findLast(({ path }) => path.endsWith('/finish')).body, '{"heading":"no"}')
  assert.equal(row.hidden, true)
})
