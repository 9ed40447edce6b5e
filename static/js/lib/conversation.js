// A conversation with several models at once: stored in this browser, saved, opened, exported as Markdown.

const FORMAT = 'tunesmith-conversation'
const MOST = 20

export const newConversation = () => ({
  format: FORMAT,
  version: 1,
  id: crypto.randomUUID(),
  created: new Date().toISOString(),
  system_prompt: '',
  settings: {},
  sides: [],
})

// The messages for a model: questions without an answer are left out, since two in a row break many templates.
export function messagesOf(turns, system) {
  const answered = (place) =>
    place === turns.length - 1 || (turns[place + 1].role === 'assistant' && !turns[place + 1].error)
  const kept = turns.filter((turn, place) => !turn.error && (turn.role === 'assistant' || answered(place)))
  const plain = kept.map(({ role, content }) => ({ role, content }))
  return system.trim() ? [{ role: 'system', content: system }, ...plain] : plain
}

// The questions, in order, of the side with the most.
export function questionsOf(conversation) {
  const lists = conversation.sides.map((side) =>
    side.turns.filter((turn) => turn.role === 'user').map((turn) => turn.content),
  )
  return lists.sort((a, b) => b.length - a.length)[0] ?? []
}

export const titleOf = (conversation) =>
  `${questionsOf(conversation)[0]?.slice(0, 60) ?? 'Empty conversation'} ` +
  `(${conversation.created.slice(0, 16).replace('T', ' ')})`

// Parses a saved file; throws an Error with a message if it is invalid.
export function parseConversation(text) {
  const wrong = (what) =>
    new Error(`This file could not be opened: ${what} Choose a conversation exported as JSON. Nothing was changed.`)
  let data
  try {
    data = JSON.parse(text)
  } catch {
    throw wrong('it is not valid JSON.')
  }
  if (data?.format !== FORMAT || !Array.isArray(data.sides)) throw wrong('it is not a conversation.')
  const isTurn = (turn) => ['user', 'assistant'].includes(turn?.role) && typeof turn.content === 'string'
  if (data.version > 1) throw wrong('it was saved by a newer version.')
  if (
    !data.sides.length ||
    data.sides.length > 4 ||
    !data.sides.every(
      (side) => typeof side?.model === 'string' && Array.isArray(side.turns) && side.turns.every(isTurn),
    )
  )
    throw wrong('its messages cannot be read.')
  return {
    ...newConversation(),
    system_prompt: String(data.system_prompt ?? ''),
    settings: data.settings ?? {},
    sides: data.sides,
    created: String(data.created ?? new Date().toISOString()),
  }
}

export function toMarkdown(conversation, facts) {
  const lines = [
    `# ${questionsOf(conversation)[0]?.slice(0, 80) ?? 'Conversation'}`,
    '',
    `Saved ${new Date().toISOString().slice(0, 16).replace('T', ' ')} UTC.`,
    '',
  ]
  const given = Object.entries(conversation.settings).filter(([, value]) => value !== null && value !== '')
  lines.push(...given.map(([name, value]) => `- ${name}: ${value}`), '')
  if (conversation.system_prompt.trim()) lines.push('**System prompt**', '', quoted(conversation.system_prompt), '')
  for (const side of conversation.sides) {
    lines.push(`## ${side.title ?? side.model}`, '', `Model: \`${side.model}\``, '')
    for (const turn of side.turns) {
      lines.push(
        turn.role === 'user' ? '**You**' : '**Model**',
        '',
        quoted([turn.content, turn.error].filter(Boolean).join('\n\n')),
        '',
      )
      if (turn.role === 'assistant' && !turn.error) lines.push(`*${facts(turn)}*`, '')
    }
  }
  return lines.join('\n')
}

const quoted = (text) =>
  text
    .split('\n')
    .map((line) => `> ${line}`)
    .join('\n')

// Stored by page name, newest first. A full store drops the oldest.
export class Kept {
  constructor(name) {
    this.key = `tunesmith.conversations.${name}`
  }

  all() {
    try {
      return (JSON.parse(localStorage.getItem(this.key)) ?? []).filter((item) => item?.format === FORMAT)
    } catch {
      return []
    }
  }

  put(conversation) {
    let all = [conversation, ...this.all().filter((item) => item.id !== conversation.id)].slice(0, MOST)
    while (all.length) {
      try {
        localStorage.setItem(this.key, JSON.stringify(all))
        return
      } catch {
        all = all.slice(0, -1)
      }
    }
  }

  forget() {
    try {
      localStorage.removeItem(this.key)
    } catch {
      /* kept nothing */
    }
  }
}
