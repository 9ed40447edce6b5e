// The blind comparison of the playground: models are shuffled and unnamed until a vote.

import { button, element } from './dom.js'
import { Votes, shuffled } from './votes.js'

export class Blind {
  // `page` has the sides; `get` finds an element by the end of its id.
  constructor(page, get) {
    this.page = page
    this.get = get
    this.votes = new Votes()
    this.hidden = false
    get('blind').addEventListener('change', () => this.reveal())
    get('votes-forget').addEventListener('click', () => {
      this.votes.forget()
      this.tally()
    })
    this.tally()
  }

  get on() {
    return this.get('blind').checked && this.page.sides.length > 1
  }

  // Before a question is sent: a new round, unless one is open. Earlier answers would reveal the models.
  open() {
    if (!this.on || this.hidden) return
    if (this.page.sides.some((side) => side.turns.length)) this.page.begin()
    const models = shuffled(this.page.sides.map((side) => side.model))
    this.page.sides.forEach((side, place) => {
      side.model = models[place]
    })
    this.hidden = true
  }

  // Shows the names, with the vote if there was one.
  reveal() {
    this.hidden = false
    this.page.changed()
  }

  vote(winner) {
    const models = this.page.sides.map(({ model, title }) => ({ model, title }))
    this.votes.record(models, winner)
    this.tally()
    this.reveal()
    this.get('prompt').focus()
  }

  // The vote is asked for once every model has answered.
  draw() {
    const { sides, working } = this.page
    this.get('sides').classList.toggle('blind', this.hidden)
    const answered = sides.every(({ turns }) => turns.at(-1)?.role === 'assistant' && !turns.at(-1).error)
    const asked = this.hidden && !working && answered
    this.get('vote').hidden = !asked
    const letters = sides.map((_, place) => 'ABCD'[place])
    this.get('vote-buttons').replaceChildren(
      ...(asked ? letters : []).map((letter, place) =>
        button('button', `Model ${letter} is ${sides.length > 2 ? 'best' : 'better'}`, () => this.vote(place)),
      ),
      button('button', 'Tie', () => this.vote(null)),
    )
  }

  tally() {
    const rows = this.votes.rows()
    this.get('tally').hidden = !rows.length
    this.get('tally-rows').replaceChildren(
      ...rows.map(({ title, wins, losses, ties, share }) => {
        const figures = [wins, losses, ties, `${Math.round(100 * share)}%`]
        const cells = figures.map((value) => element('td', { class: 'num' }, String(value)))
        return element('tr', {}, element('td', { class: 'break' }, title), ...cells)
      }),
    )
  }
}
