// The parts of a browser that lib/ needs: a tree of elements, events, storage. There is no layout and no HTML parser.

const camel = (name) => name.replace(/-(\w)/g, (_, letter) => letter.toUpperCase())
const kebab = (name) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)

// The selectors used in lib/: tag, .class, #id, [name], [name="value"], :not(…), combinations, comma-separated lists.
function fits(node, selector) {
  return splitList(selector).some((one) => {
    const parts = one.match(/:not\([^)]*\)|\[[^\]]*\]|[.#]?[\w-]+/g) ?? []
    return parts.every((part) => fitsPart(node, part))
  })
}

const splitList = (selector) => selector.split(/,(?![^(]*\))/).map((one) => one.trim())

function fitsPart(node, part) {
  if (part.startsWith(':not(')) return !fits(node, part.slice(5, -1))
  if (part.startsWith('.')) return node.className.split(/\s+/).includes(part.slice(1))
  if (part.startsWith('#')) return node.id === part.slice(1)
  if (!part.startsWith('[')) return node.localName === part
  const [, name, value] = part.match(/\[([\w-]+)(?:="([^"]*)")?\]/)
  const given = node.getAttribute(name)
  return value === undefined ? given !== null : given === value
}

export class FakeElement extends EventTarget {
  constructor(localName, attributes = {}, ...children) {
    super()
    Object.assign(this, { localName, children: [], own: '', parent: null, hidden: false, value: '' })
    this.written = new Map()
    this.dataset = new Proxy({}, datasetOf(this))
    for (const [name, value] of Object.entries(attributes)) this.setAttribute(name, value)
    this.append(...children)
  }

  get id() {
    return this.getAttribute('id') ?? ''
  }

  set id(value) {
    this.setAttribute('id', value)
  }

  get className() {
    return this.getAttribute('class') ?? ''
  }

  set className(value) {
    this.setAttribute('class', value)
  }

  get attributes() {
    return [...this.written].map(([name, value]) => ({ name, value }))
  }

  getAttribute(name) {
    return this.written.get(name) ?? null
  }

  setAttribute(name, value) {
    this.written.set(name, String(value))
  }

  removeAttribute(name) {
    this.written.delete(name)
  }

  get textContent() {
    return this.own + this.children.map((child) => child.textContent ?? String(child)).join('')
  }

  set textContent(text) {
    this.replaceChildren()
    this.own = String(text)
  }

  get innerHTML() {
    return this.own + this.children.map((child) => child.outerHTML ?? String(child)).join('')
  }

  set innerHTML(html) {
    this.textContent = html
  }

  get outerHTML() {
    const attributes = this.attributes.map(({ name, value }) => ` ${name}="${value}"`).join('')
    return `<${this.localName}${attributes}>${this.innerHTML}</${this.localName}>`
  }

  append(...nodes) {
    for (const node of nodes) {
      if (node instanceof FakeElement) node.parent = this
      this.children.push(node)
    }
  }

  get elements() {
    return this.children.filter((child) => child instanceof FakeElement)
  }

  get childElementCount() {
    return this.elements.length
  }

  get firstElementChild() {
    return this.elements[0] ?? null
  }

  replaceChildren(...nodes) {
    this.children = []
    this.own = ''
    this.append(...nodes)
  }

  replaceWith(node) {
    const { parent } = this
    parent.children[parent.children.indexOf(this)] = node
    node.parent = parent
  }

  after(...nodes) {
    const { children } = this.parent
    children.splice(children.indexOf(this) + 1, 0, ...nodes)
    for (const node of nodes) node.parent = this.parent
  }

  scrollIntoView() {}

  remove() {
    if (this.parent) this.parent.children = this.parent.children.filter((child) => child !== this)
    this.parent = null
  }

  contains(node) {
    return node === this || this.elements.some((child) => child.contains(node))
  }

  matches(selector) {
    return fits(this, selector)
  }

  closest(selector) {
    return this.matches(selector) ? this : (this.parent?.closest(selector) ?? null)
  }

  querySelectorAll(selector) {
    return this.elements.flatMap((child) => [
      ...(child.matches(selector) ? [child] : []),
      ...child.querySelectorAll(selector),
    ])
  }

  querySelector(selector) {
    return this.querySelectorAll(selector)[0] ?? null
  }

  focus() {
    document.activeElement = this
  }
}

const datasetOf = (node) => ({
  get: (_, name) => node.getAttribute(`data-${kebab(name)}`) ?? undefined,
  set: (_, name, value) => {
    node.setAttribute(`data-${kebab(name)}`, value)
    return true
  },
  deleteProperty: (_, name) => {
    node.removeAttribute(`data-${kebab(name)}`)
    return true
  },
  ownKeys: () => node.attributes.map(({ name }) => camel(name.slice(5))),
})

export class FakeDocument extends FakeElement {
  constructor(...children) {
    super('html')
    this.title = ''
    this.body = new FakeElement('body', {}, ...children)
    this.append(this.body)
    this.documentElement = this
    this.activeElement = this.body
  }

  createElement(name) {
    return new FakeElement(name)
  }

  getElementById(id) {
    return this.querySelectorAll(`#${id}`)[0] ?? null
  }

  importNode(node) {
    return node
  }
}

export const el = (name, attributes, ...children) => new FakeElement(name, attributes, ...children)

// Dispatch an event on an element; the document's listeners get it too, as after bubbling.
export function happen(type, target = document, more = {}) {
  const event = Object.assign(new Event(type, { cancelable: true }), more)
  Object.defineProperty(event, 'target', { value: target })
  document.dispatchEvent(event)
  return event
}

export class FakeStorage {
  constructor(most = Infinity) {
    this.kept = new Map()
    this.most = most
  }

  getItem(key) {
    return this.kept.get(key) ?? null
  }

  setItem(key, value) {
    if (String(value).length > this.most) throw new Error('QuotaExceededError')
    this.kept.set(key, String(value))
  }

  removeItem(key) {
    this.kept.delete(key)
  }
}

export function install() {
  const page = new EventTarget()
  Object.assign(globalThis, {
    document: new FakeDocument(),
    window: globalThis,
    localStorage: new FakeStorage(),
    location: { href: 'http://localhost/page', pathname: '/page', replace() {} },
    devicePixelRatio: 1,
    CSS: { escape: (text) => text },
    ResizeObserver: class {
      observe() {}
    },
    CustomEvent: globalThis.CustomEvent ?? Event,
    addEventListener: page.addEventListener.bind(page),
    dispatchEvent: page.dispatchEvent.bind(page),
    getComputedStyle: () => ({ color: 'rgb(1, 2, 3)' }),
  })
}

// Everything that waits only for promises has run after this resolves.
export const settled = () => new Promise((resolve) => void setImmediate(resolve))

// A fetch that responds from a function of (path, options), or from a list in order; `calls` has the requests.
export function fakeFetch(answers) {
  const calls = []
  const next = typeof answers === 'function' ? answers : () => answers.shift()
  globalThis.fetch = async (path, options = {}) => {
    calls.push({ path, ...options })
    const answer = await next(path, options)
    if (answer instanceof Error) throw answer
    return answer
  }
  return calls
}

export function json(data, status = 200) {
  return new Response(status === 204 ? null : JSON.stringify(data), {
    status,
    headers: { 'content-type': 'application/json' },
  })
}
