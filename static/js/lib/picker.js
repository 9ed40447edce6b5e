// A searchable list over a select: each match has its title, what it does, and a button that picks it.

const words = (text) => text.toLowerCase().split(/\s+/).filter(Boolean)

// Choices in which every word of the query begins a word; those with it in the title come first.
export function found(choices, query) {
  const wanted = words(query)
  const begins = (text, word) => words(text.replace(/[^\p{L}\p{N}]+/gu, ' ')).some((one) => one.startsWith(word))
  const all = (text) => wanted.every((word) => begins(text, word))
  const matching = choices.filter(({ title, text, group }) => all(`${title} ${text} ${group}`))
  return [...matching.filter(({ title }) => all(title)), ...matching.filter(({ title }) => !all(title))]
}

function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties)
  element.append(...children)
  return element
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
  const search = make('input', { type: 'search', id: 'component-search', autocomplete: 'off' })
  search.placeholder = `Search ${choices.length} components`
  const list = make('ul', { className: 'matches' })
  const count = make('p', { className: 'small muted' })
  count.setAttribute('role', 'status')

  let matching = choices
  const take = ({ value, title }) => {
    pick(value)
    count.textContent = `Added: ${title}.`
  }
  const show = () => {
    matching = found(choices, search.value)
    list.replaceChildren(
      ...matching.map((choice) => {
        const button = make('button', { type: 'button', className: 'match' })
        button.dataset.value = choice.value
        button.append(
          make('strong', {}, choice.title),
          make('span', { className: 'tag' }, choice.badge),
          make('span', { className: 'small muted' }, choice.text),
        )
        button.addEventListener('click', () => take(choice))
        return make('li', {}, button)
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
  const label = make('label', { htmlFor: search.id }, 'Add component')
  root.append(make('div', { className: 'stack tight' }, label, search, count, list))
  show()
}
