// A searchable list over a select: each match has its title, a description, and a button that selects it.

import { element } from './dom.js'

const words = (text) => text.toLowerCase().split(/\s+/).filter(Boolean)

// Choices in which every word of the query starts a word; title matches come first.
export function found(choices, query) {
  const wanted = words(query)
  const begins = (text, word) => words(text.replace(/[^\p{L}\p{N}]+/gu, ' ')).some((one) => one.startsWith(word))
  const all = (text) => wanted.every((word) => begins(text, word))
  const matching = choices.filter(({ title, text, group }) => all(`${title} ${text} ${group}`))
  return [...matching.filter(({ title }) => all(title)), ...matching.filter(({ title }) => !all(title))]
}

export function wirePicker(root, pick) {
  const select = root.querySelector('select')
  const choices = [...select.options].map((option) => ({
    value: option.value,
    title: option.textContent.trim(),
    text: option.dataset.text,
    badge: option.dataset.badge,
    group: option.parentElement.label,
  }))
  const search = element('input', {
    type: 'search',
    id: 'component-search',
    autocomplete: 'off',
    placeholder: `Search ${choices.length} components`,
  })
  const list = element('ul', { class: 'matches' })
  const count = element('p', { class: 'small muted', role: 'status' })

  let matching = choices
  const take = ({ value, title }) => {
    pick(value)
    count.textContent = `Added: ${title}.`
  }
  const show = () => {
    matching = found(choices, search.value)
    list.replaceChildren(
      ...matching.map((choice) => {
        const button = element(
          'button',
          { type: 'button', class: 'match', 'data-value': choice.value },
          element('strong', {}, choice.title),
          element('span', { class: 'tag' }, choice.badge),
          element('span', { class: 'small muted' }, choice.text),
        )
        button.addEventListener('click', () => take(choice))
        return element('li', {}, button)
      }),
    )
    count.textContent = matching.length ? '' : 'No component matches. Try another word.'
  }
  search.addEventListener('input', show)
  search.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter') return
    event.preventDefault() // Enter in a field would send the form.
    if (search.value.trim() && matching.length) take(matching[0])
  })
  const label = element('label', { for: search.id }, 'Add component')
  root.append(element('div', { class: 'stack tight' }, label, search, count, list))
  show()
}
