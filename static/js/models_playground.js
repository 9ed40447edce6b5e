// Two to four models side by side, streamed. The conversation stays in this browser until it is deleted.

import { pageData } from './lib/api.js'
import { Blind } from './lib/blind.js'
import { Kept, newConversation, parseConversation, questionsOf, titleOf, toMarkdown } from './lib/conversation.js'
import { Side } from './lib/chat_side.js'
import { factsOf } from './lib/chat_turns.js'
import { save } from './lib/dom.js'
import { markdown } from './lib/markdown.js'
import { socket } from './lib/socket.js'
import { toast } from './lib/toast.js'

const MOST_SIDES = 4
const NAMES = ['temperature', 'max_tokens', 'top_p', 'top_k', 'min_p', 'repetition_penalty', 'seed']
const form = document.getElementById('chat-form')
const get = (id) => document.getElementById(`chat-${id}`)

class Playground {
  constructor() {
    const data = pageData() ?? {}
    this.prompts = data.system_prompts ?? {}
    this.titles = data.titles ?? {}
    this.kept = new Kept(data.keep ?? 'playground')
    this.conversation = newConversation()
    this.markdown = markdown
    this.sides = [...form.querySelectorAll('[data-side]')].map((section) => this.adopt(section))
    this.blind = new Blind(this, get)
    if (!data.asked && data.keep === 'playground') this.open(this.kept.all()[0])
    this.changed()
  }

  get system() {
    return form.elements.system_prompt.value
  }

  get tokens() {
    return get('tokens').checked
  }

  get plain() {
    return get('plain').checked
  }

  // As numbers; empty ones use the server's defaults. Invalid ones are sent unchanged, so the server reports them.
  get settings() {
    const given = NAMES.map((name) => [name, form.elements[name].value.trim()]).filter(([, text]) => text !== '')
    return Object.fromEntries(given.map(([name, text]) => [name, Number.isFinite(Number(text)) ? Number(text) : text]))
  }

  titleOf(model) {
    return this.titles[model] ?? model
  }

  get working() {
    return this.sides.some((side) => side.id)
  }

  adopt(section) {
    const side = new Side(section, this)
    section.querySelector('.js-remove').addEventListener('click', () => this.remove(side))
    return side
  }

  add(model) {
    if (this.sides.length >= MOST_SIDES) return
    const section = get('side').content.firstElementChild.cloneNode(true)
    get('sides').append(section)
    const side = this.adopt(section)
    this.sides.push(side)
    this.number()
    if (model) side.model = model
    this.changed()
  }

  remove(side) {
    if (this.sides.length < 2) return
    side.clear()
    side.section.remove()
    this.sides = this.sides.filter((other) => other !== side)
    this.number()
    this.changed()
  }

  // Letters, ids and names follow the order on the page.
  number() {
    this.sides.forEach(({ section }, place) => {
      const key = String(place + 1)
      const title = `Model ${'ABCD'[place]}`
      section.dataset.side = key
      section.dataset.testid = `side-${key}`
      section.querySelector('.facts').dataset.testid = `facts-${key}`
      section.setAttribute('aria-labelledby', `side-${key}-title`)
      const heading = section.querySelector('h2')
      heading.id = `side-${key}-title`
      heading.textContent = title
      section.querySelector('.js-remove').setAttribute('aria-label', `Remove ${title}`)
      section.querySelector('.messages').setAttribute('aria-label', `${title}, answers`)
      for (const [kind, what] of [
        ['model', ''],
        ['other', ': Hugging Face model or path'],
      ]) {
        const field = section.querySelector(`.js-${kind}`)
        const label = field.previousElementSibling
        field.id = label.htmlFor = `${kind}-${key}`
        field.name = `${kind}_${key}`
        label.textContent = title + what
      }
    })
  }

  chosen(model) {
    if (this.prompts[model] !== undefined) form.elements.system_prompt.value = this.prompts[model]
    this.changed()
  }

  ask(text) {
    this.blind.open()
    return Promise.all(this.sides.map((side) => side.ask(text)))
  }

  // Replaces an earlier question, counted from the last; the previous conversation stays in the list.
  resend(questions, text) {
    if (this.working) return
    this.conversation = newConversation()
    for (const side of this.sides) side.rewind(questions)
    this.ask(text)
  }

  async replay() {
    const questions = questionsOf(this.snapshot())
    if (!questions.length || this.working) return
    this.begin()
    this.stopped = false
    for (const question of questions) {
      if (this.stopped) return
      await this.ask(question)
    }
  }

  stop() {
    this.stopped = true
    for (const side of this.sides) side.cancel()
  }

  // A new conversation with the same models and settings; the old one stays stored.
  begin() {
    this.conversation = newConversation()
    for (const side of this.sides) side.clear()
    this.blind.reveal()
  }

  open(conversation) {
    if (!conversation) return
    while (this.sides.length > conversation.sides.length && this.sides.length > 1) this.sides.pop().section.remove()
    while (this.sides.length < conversation.sides.length) this.add()
    this.conversation = conversation
    this.sides.forEach((side, place) => side.load(conversation.sides[place]))
    form.elements.system_prompt.value = conversation.system_prompt
    for (const name of NAMES)
      form.elements[name].value =
        conversation.settings[name] ?? (name === 'seed' ? '' : form.elements[name].defaultValue)
    this.blind.reveal()
  }

  snapshot() {
    const sides = this.sides.map((side) => ({ model: side.model, title: side.title, turns: side.sofar }))
    return { ...this.conversation, system_prompt: this.system, settings: this.settings, sides }
  }

  changed() {
    if (!this.blind) return
    const { working } = this
    get('send').disabled = working
    get('cancel').hidden = !working
    get('add').hidden = this.sides.length >= MOST_SIDES || this.blind.hidden
    const asked = this.sides.some((side) => side.turns.length)
    for (const id of ['replay', 'json', 'markdown']) get(id).disabled = !asked || working
    // An answer on its way would end up in the conversation that is opened.
    for (const id of ['earlier', 'open']) get(id).disabled = working
    for (const side of this.sides) {
      side.section.querySelector('.js-remove').hidden = this.sides.length < 2 || this.blind.hidden
      side.again.hidden = working || !side.turns.length
    }
    this.blind.draw()
    const { temperature = '–', max_tokens: longest = '–' } = this.settings
    get('values').textContent =
      `Temperature ${temperature} · up to ${longest} tokens · ` +
      `${this.system.trim() ? 'with' : 'without'} a system prompt`
    if (asked) this.kept.put(this.snapshot())
    this.list()
  }

  list() {
    const options = this.kept
      .all()
      .map((item) => new Option(titleOf(item), item.id, false, item.id === this.conversation.id))
    const fresh = new Option(options.length ? 'Choose a conversation' : 'None yet', '')
    get('earlier').replaceChildren(fresh, ...options)
  }
}

function follow(page) {
  const find = (event) => page.sides.find((side) => side.id && side.id === event.id)
  for (const name of ['waiting', 'loading', 'token', 'done'])
    socket.on(`chat_${name}`, (event) => find(event)?.[name](event))
  socket.on('chat_error', (event) => find(event)?.fail(event))
  socket.on('disconnect', () => {
    for (const side of page.sides)
      side.fail({
        message:
          'The connection was lost before the answer was complete. Your messages are kept. ' +
          'Choose Regenerate to try again.',
      })
  })
}

function listen(page) {
  window.addEventListener('pagehide', () => {
    if (page.working) page.kept.put(page.snapshot())
  })
  form.addEventListener('submit', (event) => {
    event.preventDefault()
    const text = get('prompt').value.trim()
    if (!text || page.working) return
    get('prompt').value = ''
    page.ask(text)
  })
  get('prompt').addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
      event.preventDefault()
      form.requestSubmit(get('send'))
    }
  })
  get('settings').addEventListener('change', () => page.changed())
  const click = (id, act) => get(id).addEventListener('click', act)
  click('cancel', () => page.stop())
  click('add', () => page.add())
  click('clear', () => {
    page.stop()
    page.begin()
    get('prompt').focus()
  })
  click('replay', () => page.replay())
  const hand = (name, type, text) => save(new Blob([text], { type }), name)
  click('json', () => hand('conversation.json', 'application/json', JSON.stringify(page.snapshot(), null, 1)))
  click('markdown', () => hand('conversation.md', 'text/markdown', toMarkdown(page.snapshot(), factsOf)))
  click('forget', () => {
    const gone = page.kept.all()
    page.kept.forget()
    page.list()
    const act = () => {
      for (const one of gone.reverse()) page.kept.put(one)
      page.list()
    }
    toast('Conversations deleted from this browser.', 6, { title: 'Undo', act })
  })
  for (const id of ['tokens', 'plain'])
    get(id).addEventListener('change', () => {
      for (const side of page.sides) side.draw()
    })
  get('earlier').addEventListener('change', (event) =>
    page.open(page.kept.all().find((item) => item.id === event.target.value)),
  )
  get('open').addEventListener('change', async (event) => {
    const file = event.target.files[0]
    if (!file) return
    try {
      page.open(parseConversation(await file.text()))
    } catch (error) {
      toast(error.message, 10)
    }
    event.target.value = ''
  })
}

if (form) {
  const page = new Playground()
  follow(page)
  listen(page)
}
