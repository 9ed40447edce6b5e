// One model of a conversation: its list, its turns, and the streaming answer.

import { factsOf, speedOf, tokensOf, turnNodes } from './chat_turns.js'
import { messagesOf } from './conversation.js'
import { element } from './dom.js'
import { paced } from './paced.js'
import { socket } from './socket.js'

export class Side {
  // `page` has the settings and display options, and is notified of every change.
  constructor(section, page) {
    this.section = section
    this.page = page
    this.messages = section.querySelector('.messages')
    this.facts = section.querySelector('.facts')
    this.again = section.querySelector('.js-again')
    this.select = section.querySelector('.js-model')
    this.typed = section.querySelector('.js-other')
    this.called = section.querySelector('.js-called')
    this.turns = []
    this.id = null
    this.select.addEventListener('change', () => {
      this.showChosen()
      this.draw()
      page.chosen(this.model)
    })
    this.typed.addEventListener('change', () => {
      this.showChosen()
      this.draw()
      page.chosen(this.model)
    })
    this.again.addEventListener('click', () => this.regenerate())
    this.showChosen()
  }

  get model() {
    return this.select.value === 'other' ? this.typed.value.trim() : this.select.value
  }

  set model(reference) {
    const offered = [...this.select.options].some((option) => option.value === reference)
    this.select.value = offered ? reference : 'other'
    if (!offered) this.typed.value = reference
    this.showChosen()
  }

  get title() {
    return this.select.value === 'other' ? this.model : this.select.selectedOptions[0].textContent.trim()
  }

  // The list truncates long names; the heading has space for the full name.
  showChosen() {
    this.typed.hidden = this.select.value !== 'other'
    this.called.textContent = this.title
  }

  // The turns, with the answer so far.
  get sofar() {
    return this.id && this.writing.content ? [...this.turns, { ...this.writing, finish: 'left' }] : this.turns
  }

  // Resolves when the answer is complete or has failed.
  ask(text) {
    if (text !== null) this.turns.push({ role: 'user', content: text })
    this.draw()
    this.again.hidden = true
    this.id = crypto.randomUUID()
    this.writing = { role: 'assistant', content: '', pieces: [], model: this.model }
    this.answer = element('div', { class: 'bubble pending' })
    this.messages.append(this.answer)
    // A screen reader reads the complete answer, not every update.
    this.messages.setAttribute('aria-busy', 'true')
    const bubble = this.answer
    this.paint = paced((written) => this.show(bubble, written))
    this.say('Waiting for the model…')
    this.over = new Promise((resolve) => {
      this.finish = resolve
    })
    if (!this.model)
      this.fail({
        message: 'No model is selected. Choose one from the list, or enter a Hugging Face model name or a path.',
      })
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
        ? 'Waiting for 1 other answer. Answers are generated one at a time.'
        : `Waiting for ${event.ahead} other answers. Answers are generated one at a time.`,
    )
  }

  loading() {
    this.say('Loading the model…')
  }

  token(event) {
    this.writing.content += event.text ?? ''
    this.writing.pieces.push(event.text ?? '')
    this.writing.tokens = event.tokens ?? this.writing.pieces.length
    this.writing.seconds = event.seconds
    this.paint(this.writing.content)
    this.say(`Writing: ${tokensOf(this.writing)}${speedOf(this.writing)}`)
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
      error: event.message ?? 'The model failed to answer. Try again.',
    })
    this.ended()
  }

  ended() {
    this.id = null
    this.answer = null
    this.draw()
    this.messages.setAttribute('aria-busy', 'false')
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

  // The text of a bubble: as Markdown, or plain.
  show(bubble, text) {
    const { plain } = this.page
    bubble.setAttribute('data-form', plain ? 'plain' : 'markdown')
    if (plain) bubble.textContent = text
    else bubble.replaceChildren(this.page.markdown(text))
  }

  draw() {
    if (this.id) return
    const nodes = this.turns.flatMap((turn, place) => turnNodes(this, turn, place))
    this.messages.replaceChildren(...nodes)
    const last = this.turns.at(-1)
    this.say(last?.role === 'assistant' ? factsOf(last) : '')
    this.again.hidden = !this.turns.length || Boolean(this.id)
  }

  // Number of questions from a turn on, including itself, which is the same on sides that joined later.
  questionsFrom(place) {
    return this.turns.slice(place).filter((turn) => turn.role === 'user').length
  }

  // Removes the last questions from one on; all of them if there are fewer.
  rewind(questions) {
    const asked = this.turns.flatMap((turn, place) => (turn.role === 'user' ? [place] : []))
    this.turns = this.turns.slice(0, asked.at(-questions) ?? 0)
    this.draw()
  }
}
