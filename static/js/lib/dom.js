// Elements made by script, and files handed over by it.

// Attributes as in HTML: { class: 'note', 'aria-label': 'Log' }; an empty text for one without a value.
export function element(name, attributes = {}, ...children) {
  const node = document.createElement(name)
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value)
  node.append(...children)
  return node
}

export function button(className, text, act) {
  const node = element('button', { type: 'button', class: className }, text)
  if (act) node.addEventListener('click', act)
  return node
}

export function save(blob, name) {
  const link = element('a', { href: URL.createObjectURL(blob), download: name })
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000)
}
