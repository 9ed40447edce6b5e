// Filter chips are links, and their state is in the URL. With scripts the cards are swapped without a reload, so
// that input elsewhere on the page is kept.

const CARDS = '[data-chips]'

async function show(url) {
  const response = await fetch(url, { headers: { Accept: 'text/html' } })
  if (!response.ok) throw new Error(`The server answered ${response.status}.`)
  const fresh = new DOMParser().parseFromString(await response.text(), 'text/html')
  const [here, next] = [document.querySelector(CARDS), fresh.querySelector(CARDS)]
  if (!here || !next) throw new Error('There are no cards on this page.')
  here.replaceWith(document.importNode(next, true))
  // The search form is outside of the cards, and keeps the active filters.
  const [form, other] = [document.getElementById('known-search'), fresh.getElementById('known-search')]
  if (form && other) form.replaceWith(document.importNode(other, true))
  history.replaceState(null, '', url)
}

// If the swap fails, the link or form works as without scripts.
export function wireChips() {
  document.addEventListener('click', (event) => {
    const link = event.target.closest(`${CARDS} a[href]`)
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return
    event.preventDefault()
    const title = link.dataset.chip
    show(link.href).then(
      () => [...document.querySelectorAll(`${CARDS} a`)].find((one) => one.dataset.chip === title)?.focus(),
      () => {
        location.href = link.href
      },
    )
  })
  document.addEventListener('submit', (event) => {
    const form = event.target
    if (form.id !== 'known-search') return
    event.preventDefault()
    const url = `${form.getAttribute('action').split('#')[0]}?${new URLSearchParams(new FormData(form))}#known`
    show(url).then(
      () => document.getElementById('known-q')?.focus(),
      () => {
        location.href = url
      },
    )
  })
}
