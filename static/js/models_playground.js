// Two conversations side by side, streamed; each side keeps its own turns.

import { pageData } from './lib/api.js'
import { number } from './lib/format.js'
import { socket } from './lib/socket.js'

const form = document.getElementById('chat-form')
const send = document.getElementById('chat-send')
const cancel = document.getElementById('chat-cancel')
const prompt = document.getElementById('chat-prompt')
let refreshBusy = () => {}
const value = (name) => form.elements[name]?.value ?? ''

class Side {
  constructor(section) {
    this.key = section.dataset.side
    this.messages = section.querySelector('.messages')
    this.facts = section.querySelector('.facts')
    this.turns = []
    this.id = null
  }

  ask(text) {
    this.turns.push({ role: 'user', content: text })
    this.bubble('you', text)
    this.id = crypto.randomUUID()
    this.text = ''
    this.answer = this.bubble('pending', '')
    this.facts.textContent = 'Waiting for the model'
    const system = value('system_prompt')
    socket.emit('chat', {
      id: this.id, model_path: value(`model_${this.key}`),
      messages: [...(system.trim() ? [{ role: 'system', content: system }] : []), ...this.turns],
      temperature: Number(value('temperature')), max_tokens: Number(value('max_tokens')), top_p: Number(value('top_p')),
    }, (answer) => { if (answer?.error) this.fail(answer); refreshBusy() })
  }

  bubble(kind, text) {
    const node = document.createElement('div')
    node.className = `bubble ${kind}`
    node.textContent = text
    this.messages.append(node)
    return node
  }

  token(event) {
    this.text += event.text ?? ''
    this.answer.textContent = this.text
    this.facts.textContent = 'Writing'
  }

  done(event) {
    const text = event.text || this.text
    this.answer.textContent = text || '(It wrote nothing.)'
    this.answer.classList.remove('pending')
    this.turns.push({ role: 'assistant', content: text })
    this.facts.textContent = `${event.tokens ?? 0} tokens in ${number(event.seconds ?? 0, 2)} s`
    this.id = null
  }

  fail(event) {
    this.answer.remove()
    this.turns.pop()
    const note = document.createElement('div')
    note.className = 'note problem'
    note.setAttribute('role', 'alert')
    note.append(document.createElement('span'), event.message ?? event.error?.message ?? 'The model could not answer. Try again.')
    this.messages.append(note)
    this.facts.textContent = ''
    this.id = null
  }

  clear() {
    this.turns = []
    this.messages.replaceChildren()
    this.facts.textContent = ''
  }
}

if (form) {
  const sides = [...form.querySelectorAll('[data-side]')].map((section) => new Side(section))
  const find = (event) => sides.find((side) => side.id && side.id === event.id)
  const busy = () => {
    const working = sides.some((side) => side.id)
    send.disabled = working
    cancel.hidden = !working
  }
  refreshBusy = busy
  socket.on('chat_loading', (event) => { const side = find(event); if (side) side.facts.textContent = 'Loading the model' })
  socket.on('chat_token', (event) => { find(event)?.token(event); busy() })
  socket.on('chat_done', (event) => { find(event)?.done(event); busy() })
  socket.on('chat_error', (event) => { find(event)?.fail(event); busy() })
  socket.on('disconnect', () => { for (const side of sides) if (side.id) side.fail({ message: 'The connection was lost while the answer was being written. Ask again.' }); busy() })
  form.addEventListener('submit', (event) => {
    event.preventDefault()
    const text = prompt.value.trim()
    if (!text || sides.some((side) => side.id)) return
    for (const side of sides) side.ask(text)
    prompt.value = ''
    busy()
  })
  prompt.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) { event.preventDefault(); form.requestSubmit(send) }
  })
  cancel.addEventListener('click', () => { for (const side of sides) if (side.id) socket.emit('chat_cancel', { id: side.id }) })
  document.getElementById('chat-clear').addEventListener('click', () => { for (const side of sides) side.clear(); prompt.focus() })
  const prompts = pageData()?.system_prompts ?? {}
  for (const side of sides) {
    form.elements[`model_${side.key}`].addEventListener('change', (event) => {
      side.clear()
      const known = prompts[event.target.value]
      if (known !== undefined) form.elements.system_prompt.value = known
    })
  }
}
