// The command palette: pages, actions, runs, datasets and help topics, found by typing. The server sends the list
// when the palette is opened (pages/palette.py), so other pages do not pay for it.

import { api } from './api.js'
import { element } from './dom.js'

const PLACEHOLDER = 'Search pages and actions'
const AT_FIRST = ['Actions', 'Pages', 'Runs']
const MOST_OF_A_GROUP = 6

// 0 is best, null is no match: the title starts with the query; each word starts a word of the title; all are in the
// title; all are anywhere.
function rankOf(entry, words) {
  const title = entry.title.toLowerCase()
  const everything = `${title} ${entry.group} ${entry.words ?? ''}`.toLowerCase()
  if (title.startsWith(words.join(' '))) return 0
  if (words.every((word) => ` ${title}`.includes(` ${word}`))) return 1
  if (words.every((word) => title.includes(word))) return 2
  return words.every((word) => everything.includes(word)) ? 3 : null
}

// The matching groups, best first, each as { title, entries }. Without a query, a short initial list.
export function find(entries, query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean)
  const groups = new Map()
  for (const entry of entries) {
    const rank = words.length ? rankOf(entry, words) : AT_FIRST.includes(entry.group) ? 0 : null
    if (rank === null) continue
    if (!groups.has(entry.group)) groups.set(entry.group, { title: entry.group, best: rank, ranked: [] })
    const group = groups.get(entry.group)
    group.best = Math.min(group.best, rank)
    group.ranked.push({ rank, entry })
  }
  return [...groups.values()]
    .sort((one, other) => one.best - other.best)
    .map(({ title, ranked }) => ({
      title,
      entries: ranked
        .sort((one, other) => one.rank - other.rank)
        .slice(0, words.length || title !== 'Pages' ? MOST_OF_A_GROUP : undefined)
        .map(({ entry }) => entry),
    }))
}

// Sent like a button's form: with its confirmation, and once.
function send({ title, post, confirm }) {
  const { content: token } = document.querySelector('meta[name="csrf-token"]')
  const button = element('button', confirm ? { 'data-confirm': confirm } : {}, title)
  const field = element('input', { type: 'hidden', name: 'csrf_token', value: token })
  const form = element('form', { method: 'post', action: post, hidden: '' }, field, button)
  document.body.append(form)
  form.requestSubmit(button)
}

function makeDialog() {
  const input = element('input', {
    role: 'combobox',
    'aria-autocomplete': 'list',
    'aria-expanded': 'false',
    'aria-controls': 'palette-list',
    'aria-label': PLACEHOLDER,
    placeholder: PLACEHOLDER,
    autocomplete: 'off',
    spellcheck: 'false',
  })
  const list = element('div', { id: 'palette-list', role: 'listbox', 'aria-label': 'Results' })
  const nothing = element('p', { class: 'nothing muted', role: 'status' })
  const dialog = element('dialog', { class: 'palette', 'aria-label': PLACEHOLDER }, input, list, nothing)
  // A press on the dialog itself is on the backdrop.
  dialog.onclick = (event) => {
    if (event.target === dialog) dialog.close()
  }
  document.body.append(dialog)
  return { dialog, input, list, nothing }
}

function drawGroups(list, groups, onChoose) {
  let place = 0
  const option = (entry) => {
    const given = { id: `palette-${place++}`, class: 'option', role: 'option', 'aria-selected': 'false' }
    const item = element('div', given, entry.title)
    item.onclick = () => onChoose(entry)
    return item
  }
  list.replaceChildren(
    ...groups.map(({ title, entries }) => {
      const heading = element('div', { class: 'heading', 'aria-hidden': 'true' }, title)
      return element('div', { role: 'group', 'aria-label': title }, heading, ...entries.map(option))
    }),
  )
}

// `actions` are functions by name. Returns a function that opens the palette.
export function makePalette(actions) {
  const { dialog, input, list, nothing } = makeDialog()
  let entries = []
  let shown = []
  let chosen = 0
  let early = false

  const go = (entry) => {
    dialog.close()
    if (entry.action) actions[entry.action]()
    else if (entry.post) send(entry)
    else location.href = entry.url
  }

  const choose = (place) => {
    list.querySelector('[aria-selected="true"]')?.setAttribute('aria-selected', 'false')
    chosen = shown.length ? (place + shown.length) % shown.length : 0
    const option = document.getElementById(`palette-${chosen}`)
    option?.setAttribute('aria-selected', 'true')
    option?.scrollIntoView({ block: 'nearest' })
    input.setAttribute('aria-activedescendant', option?.id ?? '')
  }

  const draw = (message = '') => {
    const groups = find(entries, input.value)
    shown = groups.flatMap((group) => group.entries)
    drawGroups(list, groups, go)
    input.setAttribute('aria-expanded', String(shown.length > 0))
    const query = input.value.trim()
    nothing.textContent = message || (shown.length ? '' : query ? `No page or action matches “${query}”.` : 'Loading…')
    choose(0)
  }

  input.oninput = () => {
    early = false
    draw()
  }
  input.onkeydown = (event) => {
    if (event.key === 'ArrowDown') choose(chosen + 1)
    else if (event.key === 'ArrowUp') choose(chosen - 1)
    else if (event.key !== 'Enter' || event.isComposing) return
    else if (shown[chosen]) go(shown[chosen])
    else early = !entries.length
    event.preventDefault()
  }

  return async () => {
    if (dialog.open) return
    input.value = ''
    early = false
    draw()
    dialog.showModal()
    input.focus()
    try {
      entries = await api('/palette')
      draw()
      // Enter was pressed before the list arrived.
      if (early && dialog.open && shown.length) go(shown[0])
    } catch {
      if (!entries.length) draw('The list could not be loaded. Check that the server is running, then try again.')
    }
  }
}
