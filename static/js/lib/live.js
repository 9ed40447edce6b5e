// One way of rendering: the server's. A live page fetches itself again and swaps the parts marked
// data-live whose content changed. A part in which somebody is filling in a field is left alone. A part with a
// data-key is swapped as a whole when its key changes, such as another tab; until then only the parts within it are.

import { toast } from './toast.js'

// While a button or a finger is down nothing is swapped: the click would be lost with the part that it began on.
// Capturing, so that a page's own handler cannot stop the event before it is seen here.
let down = null
let lift = () => {}
document.addEventListener('pointerdown', press, true)

function press() {
  down ??= new Promise((resolve) => {
    lift = resolve
  })
}

// The click comes after its pointerup, in a task of its own: a swap in between would take its target away.
function release() {
  setTimeout(() => {
    lift()
    down = null
  }, 50)
}

for (const end of ['pointerup', 'pointercancel', 'dragend']) addEventListener(end, release, true)
// Not capturing: the blur of the window itself alone. Pressing a button takes the focus from something else, too.
addEventListener('blur', release)

// At most a second: a press that ends outside the window, or in a dialog of the system, may never be seen to end.
const lifted = () => Promise.race([down, new Promise((resolve) => void setTimeout(resolve, 1000))])

function swap(fresh, sent) {
  for (const part of document.querySelectorAll('[data-live][id]')) {
    const next = fresh.getElementById(part.id)
    if (!next || (part.dataset.live === 'sent' && !sent)) continue
    if (part.outerHTML === next.outerHTML) continue
    if (part.dataset.key !== undefined && part.dataset.key === next.dataset.key) continue
    const focus = document.activeElement
    const held = part.contains(focus) && focus !== part
    // What is being typed is newer than what the server sent; the part is swapped by a later fetch.
    if (held && focus.matches('input:not([type="checkbox"], [type="radio"]), textarea, select')) continue
    keepOpen(part, next)
    const here = part.getAttribute('role') === 'status' ? renewed(part, next) : document.importNode(next, true)
    if (here !== part) part.replaceWith(here)
    if (held) follow(here, focus.id)
  }
  document.dispatchEvent(new CustomEvent('live:swapped'))
}

// What is spoken stays the same element: a screen reader tells of new words in it, not of a new element.
function renewed(part, next) {
  for (const { name, value } of next.attributes) part.setAttribute(name, value)
  part.innerHTML = next.innerHTML
  return part
}

// The focus stays where it was, or, where its control is gone, at the part that took its place.
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
  // The last thing that is waited for: from here to the end of the swap nothing else can run.
  if (down) await lifted()
  swap(fresh, sent)
  return fresh
}

// Whether what is done is seen by asking only: no event tells of it.
export const polled = () => document.querySelector('[data-poll]') !== null

let running = null
let next = null

// Fetch this page once more; calls that arrive meanwhile become one more fetch, of what the last of them asked for.
// One at a time, for two answers may come in the other order, and the older would undo the newer. Those who call
// meanwhile cannot join the fetch that runs: the server may have read its state before what they have heard of.
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
      // The connection's own word (socket.js) says that the server is away; the next call heals it.
    }
  })()
  await running
  // Only the call that began the fetch gets here. It clears both before it goes on, so that a call made by
  // a listener of 'live:swapped' or by whoever awaits this one begins anew and is not taken for an old one.
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

// Forms are sent one after another: two saves at once could reach the server in the other order.
let queue = Promise.resolve()

// Send a form as the browser would, follow its redirect, and swap the live parts of what comes back. Resolves with
// { ok, url, page }, the page as a document, or with null where the server cannot be reached.
export function sendForm(form, { submitter = null, extra = {}, quiet = false } = {}) {
  // Read now, not when it is its turn: by then the answer to the form before may have swapped the fields.
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
