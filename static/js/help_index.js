// Search while typing: the server searches, and its results replace the ones on the page.

import { throttled } from './lib/live.js'

const input = document.getElementById('q')
const results = document.getElementById('help-results')

let latest = 0
const search = throttled(250, async () => {
  const mine = ++latest
  const query = input.value.trim()
  const address = query ? `/help?q=${encodeURIComponent(query)}` : '/help'
  const response = await fetch(address, { headers: { Accept: 'text/html' } }).catch(() => null)
  // Responses may arrive out of order: an older one must not replace a newer one.
  if (!response?.ok || mine !== latest) return
  const page = new DOMParser().parseFromString(await response.text(), 'text/html')
  if (mine !== latest) return
  results.innerHTML = page.getElementById('help-results').innerHTML
  history.replaceState(null, '', address)
})
input.addEventListener('input', search)
