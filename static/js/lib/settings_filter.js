// Searches for settings in collapsed groups.

// Which texts contain every word of a query, in any case and order.
export function matching(texts, query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean)
  return texts.map((text) => words.every((word) => text.toLowerCase().includes(word)))
}

// Shows matching fields, with their groups open; an empty query shows all, collapsed as before.
export function wireFilter(input, told) {
  if (!input) return
  const groups = [...document.getElementById('settings').querySelectorAll('details')]
  const fields = groups.map((group) => [...group.querySelectorAll('.field')])
  let before = null // which groups were open before the first letter

  const show = () => {
    const query = input.value.trim()
    if (query) before ??= groups.map((group) => group.open)
    let count = 0
    groups.forEach((group, place) => {
      const title = group.querySelector('h2')?.textContent ?? ''
      const found = matching(
        fields[place].map((field) => `${title} ${textOf(field)}`),
        query,
      )
      fields[place].forEach((field, index) => {
        field.hidden = !found[index]
      })
      const here = found.filter(Boolean).length
      count += here
      group.hidden = !here
      group.open = query ? here > 0 : (before?.[place] ?? group.open)
    })
    if (!query) before = null
    const all = fields.flat().length
    told.textContent = query ? (count ? `${count} of ${all} settings` : `No setting matches '${query}'`) : ''
  }

  input.addEventListener('input', show)
  input.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && input.value) {
      event.preventDefault()
      input.value = ''
      show()
    } else if (event.key === 'Enter') {
      event.preventDefault()
      fields
        .flat()
        .find((field) => !field.hidden)
        ?.querySelector('input, select, textarea')
        ?.focus()
    }
  })
}

function textOf(field) {
  const input = field.querySelector('input, select, textarea')
  const label = field.querySelector('label')?.textContent ?? ''
  const hint = field.querySelector('.hint')?.textContent ?? ''
  // Includes the field's name in files, because users search for 'max_new_tokens'.
  return `${label} ${hint} ${input?.getAttribute('name') ?? ''}`
}
