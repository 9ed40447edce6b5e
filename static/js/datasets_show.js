// Previews a column mapping while it is edited. Without a script the page shows the saved one.

import { api, pageData } from './lib/api.js'
import { element } from './lib/dom.js'

const { id } = pageData()
const form = document.getElementById('mapping-form')
const out = document.getElementById('mapping-preview')
const problem = document.getElementById('mapping-problem')
let timer = 0

// Parses 'tests = test_list, choices' into the names that rewards use and the columns they stand for.
const names = (text) =>
  Object.fromEntries(
    text
      .split(',')
      .filter((part) => part.trim())
      .map((part) => {
        const [name, of = ''] = part.split(/=(.*)/s).map((word) => word.trim())
        return [name, of || name]
      }),
  )

const mapping = () => {
  const data = new FormData(form)
  const read = (name) => data.get(name)?.toString() ?? ''
  return {
    instruction_field: read('instruction_field'),
    response_field: read('response_field'),
    chosen_field: read('chosen_field'),
    rejected_field: read('rejected_field'),
    winner_field: read('winner_field'),
    label_field: read('label_field'),
    columns: names(read('columns')),
    instruction_template: read('instruction_template') || null,
    extraction: read('extraction'),
    extraction_pattern: read('extraction_pattern'),
  }
}

let asked = 0

async function show() {
  asked += 1
  const mine = asked
  try {
    const json = { mapping: mapping(), samples: 3 }
    const { shown } = await api(`/api/datasets/${id}/map`, { method: 'POST', json })
    if (mine !== asked) return // The response to an older edit.
    problem.textContent = ''
    out.replaceChildren(...legend(shown), ...shown.map(view))
  } catch (error) {
    if (mine === asked) problem.textContent = error.message
  }
}

// As templates/datasets/_answers.html.
function legend(rows) {
  if (!rows.some(({ answers }) => answers.length > 1)) return []
  const mark = element('mark', { class: 'differs' }, 'underlined')
  return [element('p', { class: 'small muted' }, 'The words that only one of the two answers has are ', mark, '.')]
}

function view({ question, answers, note }) {
  const sides = answers.map(({ title, parts, tag }) => line(title, parts, tag))
  const said = note ? [element('p', { class: 'small note-text' }, note)] : []
  const kind = answers.length > 1 ? 'pair two' : 'pair'
  return element('div', { class: kind }, line('Question', [[question, false]]), ...sides, ...said)
}

function line(title, parts, [word, level] = ['', '']) {
  const text = parts.map(([piece, differs]) => (differs ? element('mark', { class: 'differs' }, piece) : piece))
  const tag = word ? [' ', element('span', { class: `tag ${level}` }, word)] : []
  const head = element('span', { class: 'small muted' }, title)
  return element('div', {}, head, ...tag, element('pre', { class: 'code' }, ...text))
}

form?.addEventListener('input', () => {
  clearTimeout(timer)
  timer = setTimeout(show, 300)
})
