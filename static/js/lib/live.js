// One way of rendering: the server's. A live page fetches itself again and swaps the parts marked
// data-live whose content changed. A part with a field being edited is not swapped. A part with a
// data-key is swapped as a whole when its key changes, such as another tab; until then only its inner parts are.

import { toast } from './toast.js'

// While a button or finger is down nothing is swapped: the click would be lost with its target.
// Capturing, so that a page's own handler cannot stop the event first.
let down = null
let lift = () => {}
document.addEventListener('pointerdown', press, true)

function press() {
  down ??= new Promise((resolve) => {
    lift = resolve
  })
}

// The click comes after its pointerup, in a separate task: a swap in between would remove its target.
function release() {
  setTimeout(() => {
    lift()
    down = null
  }, 50)
}

for (const end of ['pointerup', 'pointercancel', 'dragend']) addEventListener(end, release, true)
// Not capturing: only the blur of the window itself. Pressing a button also blurs other elements.
addEventListener('blur', release)

// At most a second: the end of a press outside the window, or in a system dialog, may never be seen.
const lifted = () => Promise.race([down, new Promise((resolve) => void setTimeout(resolve, 1000))])

function swap(fresh, sent) {
  for (const part of document.querySelectorAll('[data-live][id]')) {
    const next = fresh.getElementById(part.id)
    if (!next || (part.dataset.live === 'sent' && !sent)) continue
    if (part.outerHTML === next.outerHTML) continue
    if (part.dataset.key !== undefined && part.dataset.key === next.dataset.key) continue
    const focus = document.activeElement
    const held = part.contains(focus) && focus !== part
    // The input is newer than the server's content; the part is swapped by a later fetch.
    if (held && focus.matches('input:not([type="checkbox"], [type="radio"]), textarea, select')) continue
    keepOpen(part, next)
    const here = part.getAttribute('role') === 'status' ? renewed(part, next) : document.importNode(next, true)
    if (here !== part) part.replaceWith(here)
    if (held) follow(here, focus.id)
  }
  document.dispatchEvent(new CustomEvent('live:swapped'))
}

// Announced elements are kept: a screen reader announces new text in them, not a new element.
function renewed(part, next) {
  for (const { name, value } of next.attributes) part.setAttribute(name, value)
  part.innerHTML = next.innerHTML
  return part
}

// The focus is kept or, if its control is gone, moves to the part that replaced it.
function follow(part, id) {
  const twin = id && part.querySelector(`#${CSS.escape(id)}`)
  if (!twin) part.tabIndex = -1
  ;(twin || part).focus({ preventScroll: true })
}

function keepOpen(part, next) {
  for (const open of part.querySelectorAll('details[id]')) {
    const twin = next.querySelector(`#${CSS.escape(open.id)}`)
    if (twin) twin.open = open.open
  }
}

async function take(response, sent = false) {
  const text = await response.text()
  if (!response.headers.get('content-type')?.includes('html')) return null
  const fresh = new DOMParser().parseFromString(text, 'text/html')
  // The last await: from here to the end of the swap nothing else can run.
  if (down) await lifted()
  swap(fresh, sent)
  return fresh
}

// Whether progress is only visible by polling, because no event reports it.
export const polled = () => document.querySelector('[data-poll]') !== null

let running = null
let next = null

// Fetch this page again; calls in the meantime become one more fetch, with the last one's URL.
// One at a time, because responses may arrive out of order, and the older would undo the newer. Calls in the
// meantime cannot join the running fetch: the server may have read its state before the event that caused them.
export async function refresh(url = location.href) {
  if (running) {
    next = url
    return running
  }
  running = (async () => {
    try {
      const response = await fetch(url, { headers: { Accept: 'text/html', 'X-Tunesmith-Live': '1' } })
      if (response.redirected && polled()) location.replace(response.url)
      else if (response.ok) {
        const fresh = await take(response)
        if (fresh && url !== '/shell') document.title = fresh.title
      }
    } catch {
      // socket.js reports that the server is unreachable; the next call recovers.
    }
  })()
  await running
  // Only the call that started the fetch gets here. It clears both before it continues, so that a call by
  // a listener of 'live:swapped' or by an awaiting caller starts a new fetch.
  running = null
  if (next) {
    const wanted = next
    next = null
    return refresh(wanted)
  }
}

export function throttled(wait, job) {
  let timer = null
  let last = 0
  return () => {
    if (timer) return
    const pause = Math.max(0, last + wait - Date.now())
    timer = setTimeout(() => {
      timer = null
      last = Date.now()
      job()
    }, pause)
  }
}

// Forms are sent one after another: simultaneous saves could reach the server out of order.
let queue = Promise.resolve()

// Send a form as the browser would, follow its redirect, and swap the live parts of the response. Resolves to
// { ok, url, page }, the page as a document, or null if the server cannot be reached.
export function sendForm(form, { submitter = null, extra = {}, quiet = false } = {}) {
  // Read now, not when it is sent: by then the response to the previous form may have swapped the fields.
  const data = new FormData(form, submitter)
  for (const [name, value] of Object.entries(extra)) data.set(name, value)
  queue = queue.then(async () => {
    try {
      const response = await fetch(
        submitter?.getAttribute('formaction') || form.getAttribute('action') || location.pathname,
        { method: 'POST', body: data, headers: { Accept: 'text/html' } },
      )
      const page = await take(response, true)
      if (!response.ok)
        toast(
          page?.querySelector('main p')?.textContent ?? 'That could not be saved. Your entries are still on the page.',
        )
      return { ok: response.ok, url: response.url, page }
    } catch {
      if (!quiet)
        toast('The server cannot be reached. Your entries are still on the page and are saved as soon as it answers.')
      return null
    }
  })
  return queue
}
