// Renders the turns of a conversation, and an answer's details.

import { button, element } from './dom.js'
import { number } from './format.js'

const ENDED = {
  length: 'cut off at the maximum length',
  cancelled: 'stopped by you',
  left: 'incomplete, because the page was closed',
}

export const tokensOf = ({ tokens }) => `${tokens} ${tokens === 1 ? 'token' : 'tokens'}`

export const speedOf = ({ tokens, seconds }) =>
  seconds > 0 ? `, ${number(tokens / seconds, 2)} tokens per second` : ''

export function factsOf(turn) {
  const ended = ENDED[turn.finish] ?? ''
  if (turn.tokens === undefined) return ended && `${ended[0].toUpperCase()}${ended.slice(1)}`
  const asked = turn.prompt_tokens ? `, prompt ${tokensOf({ tokens: turn.prompt_tokens })}` : ''
  return `${tokensOf(turn)} in ${number(turn.seconds ?? 0, 2)} s${speedOf(turn)}${asked}${ended && `; ${ended}`}`
}

// `side` has the display options; `place` is the turn's index.
export function turnNodes(side, turn, place) {
  if (turn.role === 'user') return [question(side, turn, place)]
  if (turn.error) return failure(side, turn)
  const by =
    turn.model && turn.model !== side.model
      ? [element('p', { class: 'small muted' }, `Answered by ${side.page.titleOf(turn.model)}`)]
      : []
  const bubble = turn.content ? answer(side, turn) : element('div', { class: 'bubble muted' }, 'The answer is empty.')
  return [...by, bubble, ...(turn.content ? [tools(turn)] : []), ...(turn.seen ? [promptOf(turn)] : [])]
}

function answer(side, turn) {
  if (!side.page.tokens || !turn.pieces?.length) {
    const bubble = element('div', { class: 'bubble' })
    side.show(bubble, turn.content)
    return bubble
  }
  return element('div', { class: 'bubble' }, ...turn.pieces.map((piece) => element('span', { class: 'token' }, piece)))
}

function failure(side, turn) {
  const named = { class: 'note problem', role: 'alert' }
  const note = element('div', named, element('span'), element('div', {}, turn.error))
  return turn.content ? [answer(side, turn), note] : [note]
}

function tools(turn) {
  const copy = button('button small quiet', 'Copy')
  copy.dataset.copy = turn.content
  copy.setAttribute('aria-label', 'Copy answer')
  return element('div', { class: 'buttons turn-tools' }, copy)
}

function question(side, turn, place) {
  const box = element('div', { class: 'asked' })
  const edit = button('button small quiet js-edit', 'Edit', () => {
    if (!side.page.working) box.replaceChildren(...editor(side, turn, place))
    box.querySelector('textarea')?.focus()
  })
  edit.setAttribute('aria-label', 'Edit this message')
  box.append(element('div', { class: 'bubble you' }, turn.content), edit)
  return box
}

// Not a separate form: it is inside the page's.
function editor(side, turn, place) {
  const text = element('textarea', { rows: '3', 'aria-label': 'Edit your message' })
  text.value = turn.content
  const send = () => {
    if (text.value.trim()) side.page.resend(side.questionsFrom(place), text.value.trim())
  }
  text.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') side.draw()
    else if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
      event.preventDefault()
      send()
    }
  })
  const row = element(
    'div',
    { class: 'buttons' },
    button('button small primary', 'Send', send),
    button('button small', 'Cancel', () => side.draw()),
  )
  const hint = 'Replaces this message and everything after it, for every model.'
  return [text, element('p', { class: 'hint small muted' }, hint), row]
}

function promptOf(turn) {
  const parts = turn.seen.map(([part, special]) => (special ? element('span', { class: 'special' }, part) : part))
  return element(
    'details',
    { class: 'seen' },
    element('summary', {}, `Full prompt (${tokensOf({ tokens: turn.prompt_tokens })})`),
    element('pre', { class: 'code small', tabindex: '0' }, ...parts),
  )
}
