// One model of a conversation: its list, its turns, and the answer that is being written.

import { number } from './format.js'
import { messagesOf } from './conversation.js'
import { socket } from './socket.js'

const WORDS = {
  length: 'reached the longest answer',
  cancelled: 'stopped by you',
  left: 'unfinished: the page was left',
}

const counted = (tokens) => `${tokens} ${tokens === 1 ? 'token' : 'tokens'}`

export function factsOf(turn) {
  if (turn.tokens === undefined) return ''
  const speed = turn.seconds > 0 ? `, ${number(turn.tokens / turn.seconds, 2)} tokens a second` : ''
  const asked = turn.prompt_tokens ? `, after ${turn.prompt_tokens} tokens of prompt` : ''
  const ended = WORDS[turn.finish] ? `; ${WORDS[turn.finish]}` : ''
  return `${counted(turn.tokens)} in ${number(turn.seconds ?? 0, 2)} s${speed}${asked}${ended}`
}

export function element(name, className, text) {
  const node = document.createElement(name)
  if (className) node.className = className
  if (text !== undefined) node.textContent = text
  return node
}

export class Side {
  // `page` knows the settings, whether tokens are shown, and is told of every change.
  constructor(section, page) {
    this.section = section
    this.page = page
    this.messages = section.querySelector('.messages')
    this.facts = section.querySelector('.facts')
    this.again = section.querySelector('.js-again')
    this.select = section.querySelector('.js-model')
    this.typed = section.querySelector('.js-other')
    this.turns = []
    this.id = null
    this.select.addEventListener('change', () => {
      this.showTyped()
      this.draw()
      page.chosen(this.model)
    })
    this.typed.addEventListener('change', () => {
      this.draw()
      page.chosen(this.model)
    })
    this.again.addEventListener('click', () => this.regenerate())
    this.showTyped()
  }

  get model() {
    return this.select.value === 'other' ? this.typed.value.trim() : this.select.value
  }

  set model(reference) {
    const offered = [...this.select.options].some((option) => option.value === reference)
    this.select.value = offered ? reference : 'other'
    if (!offered) this.typed.value = reference
    this.showTyped()
  }

  get title() {
    return this.select.value === 'other' ? this.model : this.select.selectedOptions[0].textContent
  }

  showTyped() {
    this.typed.hidden = this.select.value !== 'other'
  }

  // The turns, with what is written of the answer so far.
  get sofar() {
    return this.id && this.writing.content ? [...this.turns, { ...this.writing, finish: 'left' }] : this.turns
  }

  // Resolves when the answer is there or has failed.
  ask(text) {
    if (text !== null) this.turns.push({ role: 'user', content: text })
    this.draw()
    this.again.hidden = true
    this.id = crypto.randomUUID()
    this.writing = { role: 'assistant', content: '', pieces: [], model: this.model }
    this.answer = element('div', 'bubble pending')
    this.messages.append(this.answer)
    this.say('Waiting for the model')
    this.over = new Promise((resolve) => {
      this.finish = resolve
    })
    if (!this.model)
      this.fail({ message: 'No model is chosen on this side. Type a Hub id or a path, or choose one from the list.' })
    else
      socket.emit(
        'chat',
        {
          id: this.id,
          model_path: this.model,
          messages: messagesOf(this.turns, this.page.system),
          ...this.page.settings,
        },
        (answer) => {
          if (answer?.error) this.fail(answer.error)
        },
      )
    this.page.changed()
    return this.over
  }

  regenerate() {
    if (this.id || !this.turns.length) return
    if (this.turns.at(-1).role === 'assistant') this.turns.pop()
    this.ask(null)
  }

  waiting(event) {
    this.say(
      event.ahead === 1
        ? 'Waits for another answer: one is written at a time'
        : `Waits for ${event.ahead} other answers: one is written at a time`,
    )
  }

  loading() {
    this.say('Loading the model')
  }

  token(event) {
    this.writing.content += event.text ?? ''
    this.writing.pieces.push(event.text ?? '')
    this.writing.tokens = event.tokens ?? this.writing.pieces.length
    this.writing.seconds = event.seconds
    this.answer.textContent = this.writing.content
    const speed = event.seconds > 0 ? `, ${number(event.tokens / event.seconds, 2)} tokens a second` : ''
    this.say(`Writing: ${counted(this.writing.tokens)}${speed}`)
  }

  done(event) {
    const { tokens, seconds, first, finish, prompt_tokens, seen } = event
    this.turns.push({
      ...this.writing,
      content: event.text || this.writing.content,
      tokens,
      seconds,
      first,
      finish,
      prompt_tokens,
      seen,
    })
    this.ended()
  }

  fail(event) {
    if (!this.id) return
    this.turns.push({
      role: 'assistant',
      content: this.writing.content,
      error: event.message ?? 'The model could not answer. Try again.',
    })
    this.ended()
  }

  ended() {
    this.id = null
    this.answer = null
    this.draw()
    this.finish()
    this.page.changed()
  }

  cancel() {
    if (this.id) socket.emit('chat_cancel', { id: this.id })
  }

  clear() {
    this.cancel()
    this.id = null
    this.finish?.()
    this.turns = []
    this.draw()
  }

  load(side) {
    this.model = side.model
    this.turns = side.turns
    this.draw()
  }

  say(text) {
    this.facts.textContent = text
  }

  draw() {
    if (this.id) return
    this.messages.replaceChildren(...this.turns.flatMap((turn) => this.nodes(turn)))
    const last = this.turns.at(-1)
    this.say(last?.role === 'assistant' ? factsOf(last) : '')
    this.again.hidden = !this.turns.length || Boolean(this.id)
  }

  nodes(turn) {
    if (turn.role === 'user') return [element('div', 'bubble you', turn.content)]
    if (turn.error) {
      const note = element('div', 'note problem')
      note.setAttribute('role', 'alert')
      note.append(element('span'), element('div', '', turn.error))
      return turn.content ? [element('div', 'bubble', turn.content), note] : [note]
    }
    const bubble = element('div', 'bubble', turn.content || '(It wrote nothing.)')
    if (this.page.tokens && turn.pieces?.length)
      bubble.replaceChildren(...turn.pieces.map((piece) => element('span', 'token', piece)))
    const by =
      turn.model && turn.model !== this.model
        ? [element('p', 'small muted', `Answered by ${this.page.titleOf(turn.model)}`)]
        : []
    return turn.seen ? [...by, bubble, this.seen(turn)] : [...by, bubble]
  }

  seen(turn) {
    const details = element('details', 'seen')
    const text = element('pre', 'code small')
    text.tabIndex = 0
    text.append(...turn.seen.map(([part, special]) => (special ? element('span', 'special', part) : part)))
    details.append(element('summary', '', `The prompt as the model saw it (${turn.prompt_tokens} tokens)`), text)
    return details
  }
}
