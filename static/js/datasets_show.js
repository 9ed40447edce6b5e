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
    const { rows } = await api(`/api/datasets/${id}/map`, { method: 'POST', json: { mapping: mapping(), samples: 3 } })
    if (mine !== asked) return // The response to an older edit.
    problem.textContent = ''
    out.replaceChildren(
      ...rows.map(({ instruction, response }) => {
        const lines = [line('Question', instruction), line('Answer', response || 'No answer found')]
        return element('div', { class: 'pair' }, ...lines)
      }),
    )
  } catch (error) {
    if (mine === asked) problem.textContent = error.message
  }
}

function line(title, text) {
  const shown = text.length > 600 ? `${text.slice(0, 600)}…` : text
  return element('div', {}, element('span', { class: 'small muted' }, title), element('pre', { class: 'code' }, shown))
}

form?.addEventListener('input', () => {
  clearTimeout(timer)
  timer = setTimeout(show, 300)
})
