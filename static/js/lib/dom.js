// Elements made by script.

export function element(name, className, text) {
  const node = document.createElement(name)
  if (className) node.className = className
  if (text !== undefined) node.textContent = text
  return node
}

export function button(className, text, act) {
  const node = element('button', className, text)
  node.type = 'button'
  if (act) node.addEventListener('click', act)
  return node
}
