// A text field with a list of external suggestions, following the ARIA combobox pattern: the arrow
// keys move, Enter selects, Escape closes, and the focus never leaves the field.

import { element } from './dom.js'

const WAIT_MS = 300

export class Combobox {
  // `search(text, signal)` resolves with [{ value, text }]; `words(count)` is announced; a failed search
  // shows its error message. `taken(value)` is called when a suggestion was selected.
  constructor(input, { label, search, words, taken, shortest = 2 }) {
    Object.assign(this, { input, search, words, taken, shortest, current: -1, timer: null, asking: null })
    const id = `${input.id}-options`
    this.list = element('ul', { id, class: 'combobox-list', role: 'listbox', 'aria-label': label })
    this.list.hidden = true
    this.status = element('p', { class: 'small muted', role: 'status' })
    input.after(this.list, this.status)
    input.setAttribute('role', 'combobox')
    input.setAttribute('aria-autocomplete', 'list')
    input.setAttribute('aria-controls', id)
    input.setAttribute('aria-expanded', 'false')
    input.addEventListener('input', () => this.typed())
    input.addEventListener('keydown', (event) => this.pressed(event))
    input.addEventListener('blur', () => this.close())
    // On press, not on click, which would first move the focus and close the list.
    this.list.addEventListener('pointerdown', (event) => event.preventDefault())
    this.list.addEventListener('click', (event) => {
      const option = event.target.closest('[role="option"]')
      if (option) this.take(option)
    })
  }

  get options() {
    return [...this.list.children]
  }

  typed() {
    this.close()
    this.status.textContent = ''
    const text = this.input.value.trim()
    // Local paths and URLs are not searched for.
    const searchable = text.length >= this.shortest && !/^[/.~]|:\/\//.test(text)
    if (searchable) this.timer = setTimeout(() => this.ask(text), WAIT_MS)
  }

  async ask(text) {
    const mine = new AbortController()
    this.asking = mine
    this.status.textContent = 'Searching'
    const [found, word] = await this.search(text, mine.signal).then(
      (models) => [models, this.words(models.length)],
      (error) => [[], error.message],
    )
    if (mine.signal.aborted) return
    this.show(found)
    this.status.textContent = word
  }

  show(found) {
    this.list.replaceChildren(
      ...found.map(({ value, text }, index) =>
        element(
          'li',
          { id: `${this.list.id}-${index}`, role: 'option', 'aria-selected': 'false', 'data-value': value },
          element('span', { class: 'title' }, value),
          element('span', { class: 'text' }, text),
        ),
      ),
    )
    this.list.hidden = found.length === 0
    this.input.setAttribute('aria-expanded', String(found.length > 0))
  }

  move(to) {
    const all = this.options
    all[this.current]?.setAttribute('aria-selected', 'false')
    this.current = (to + all.length) % all.length
    all[this.current].setAttribute('aria-selected', 'true')
    all[this.current].scrollIntoView({ block: 'nearest' })
    this.input.setAttribute('aria-activedescendant', all[this.current].id)
  }

  pressed(event) {
    if (this.list.hidden) return
    if (event.key === 'ArrowDown') this.move(this.current + 1)
    else if (event.key === 'ArrowUp') this.move(this.current < 0 ? -1 : this.current - 1)
    else if (event.key === 'Enter' && this.current >= 0) this.take(this.options[this.current])
    else if (event.key === 'Escape') {
      this.close()
      event.stopPropagation()
    } else return
    event.preventDefault()
  }

  take(option) {
    this.close()
    this.status.textContent = ''
    this.input.value = option.dataset.value
    this.taken(option.dataset.value)
  }

  close() {
    clearTimeout(this.timer)
    this.asking?.abort()
    this.list.hidden = true
    this.list.replaceChildren()
    this.current = -1
    this.input.setAttribute('aria-expanded', 'false')
    this.input.removeAttribute('aria-activedescendant')
  }
}
