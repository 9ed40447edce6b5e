// An answer as Markdown. HTML in it stays text, and the parser's output is sanitized as well: a model's text can
// use only these elements, load nothing from elsewhere, and not affect the page.

import DOMPurify from '../../vendor/purify.esm.js'
import markdownit from '../../vendor/markdown-it.esm.js'
import { button, element } from './dom.js'

const LONGEST = 200_000
const TAGS = 'a blockquote br code del em hr li ol p pre s strong table tbody td th thead tr ul'.split(' ')
const RULES = {
  ALLOWED_TAGS: TAGS,
  ALLOWED_ATTR: ['class', 'href', 'start'],
  ALLOWED_URI_REGEXP: /^(?:https?:|mailto:)/i,
  ALLOW_ARIA_ATTR: false,
  ALLOW_DATA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
}

const parser = markdownit({ html: false, linkify: true, breaks: true })
// Headings of an answer must not appear in the page's outline, which people use for navigation.
parser.renderer.rules.heading_open = () => '<p class="heading">'
parser.renderer.rules.heading_close = () => '</p>\n'
// An image would tell its server that the answer was read; its URL is shown as a link.
parser.renderer.rules.image = (tokens, place) => {
  const escape = parser.utils.escapeHtml
  const address = tokens[place].attrGet('src') ?? ''
  return `<a href="${escape(address)}">${escape(tokens[place].content || address)}</a>`
}

// A fragment for the page; plain text if it is too long to be parsed quickly.
export function markdown(text) {
  if (text.length > LONGEST) return document.createTextNode(text)
  const made = DOMPurify.sanitize(parser.render(text), RULES)
  for (const link of made.querySelectorAll('a')) {
    if (!link.href) {
      link.replaceWith(...link.childNodes)
      continue
    }
    link.title = link.href
    link.rel = 'noopener noreferrer nofollow'
    link.target = '_blank'
  }
  for (const code of made.querySelectorAll('pre')) {
    const copy = button('button small', 'Copy')
    copy.dataset.copy = code.textContent
    copy.setAttribute('aria-label', 'Copy code')
    wrap(code, 'code-block').prepend(copy)
    code.tabIndex = 0
  }
  for (const table of made.querySelectorAll('table')) {
    const box = wrap(table, 'scroll')
    box.tabIndex = 0
    box.setAttribute('role', 'region')
    box.setAttribute('aria-label', 'Table')
  }
  return made
}

function wrap(node, className) {
  const box = element('div', { class: className })
  node.replaceWith(box)
  box.append(node)
  return box
}
