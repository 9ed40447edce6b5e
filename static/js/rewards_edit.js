// Puts a code editor over the text area with the Python. The text area stays in the form and is what is sent.

import { defaultKeymap, history, historyKeymap, indentLess, indentMore } from '../vendor/codemirror/commands.js'
import {
  bracketMatching,
  HighlightStyle,
  indentOnInput,
  indentUnit,
  StreamLanguage,
  syntaxHighlighting,
} from '../vendor/codemirror/language.js'
import { python } from '../vendor/codemirror/python.js'
import { EditorState } from '../vendor/codemirror/state.js'
import { tags } from '../vendor/codemirror/highlight.js'
import {
  drawSelection,
  EditorView,
  highlightActiveLine,
  highlightActiveLineGutter,
  keymap,
  lineNumbers,
} from '../vendor/codemirror/view.js'

// The colors are the page's own custom properties, which follow its light or dark theme.
const theme = EditorView.theme({
  '&': { fontSize: '.85rem', maxHeight: '32rem' },
  '&.cm-focused': { outline: 'none' },
  '.cm-scroller': { fontFamily: 'var(--mono)', lineHeight: '1.6', overflow: 'auto', minHeight: '18rem' },
  '.cm-content': { caretColor: 'var(--text)' },
  '.cm-cursor': { borderLeftColor: 'var(--text)' },
  '.cm-gutters': { backgroundColor: 'var(--sunken)', color: 'var(--muted)', borderRight: '1px solid var(--line)' },
  '.cm-activeLine, .cm-activeLineGutter': { backgroundColor: 'color-mix(in srgb, var(--hover) 55%, transparent)' },
  '&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground': {
    backgroundColor: 'color-mix(in srgb, var(--accent) 25%, transparent)',
  },
  '&.cm-focused .cm-matchingBracket': { backgroundColor: 'var(--mark)' },
})

const colors = HighlightStyle.define([
  { tag: [tags.keyword, tags.operatorKeyword], color: 'var(--code-keyword)' },
  { tag: [tags.string, tags.special(tags.string)], color: 'var(--code-string)' },
  { tag: [tags.number, tags.bool, tags.atom], color: 'var(--code-number)' },
  { tag: tags.comment, color: 'var(--muted)', fontStyle: 'italic' },
  { tag: [tags.definition(tags.variableName), tags.meta, tags.standard(tags.variableName)], color: 'var(--code-name)' },
])

const INDENT = '    '

// indentWithTab of CodeMirror leaves empty lines alone, and insertTab inserts a tab character.
function indent(view) {
  const { state } = view
  if (state.selection.ranges.some((range) => !range.empty)) return indentMore(view)
  const { head } = state.selection.main
  const before = head - state.doc.lineAt(head).from
  view.dispatch(state.replaceSelection(' '.repeat(INDENT.length - (before % INDENT.length))))
  return true
}

function mount(area) {
  const host = document.createElement('div')
  host.className = 'code-editor'
  // The content security policy allows no style elements; inside a shadow root CodeMirror adopts a style sheet instead.
  const root = host.attachShadow({ mode: 'open' })
  const label = document.querySelector(`label[for="${area.id}"]`)
  const view = new EditorView({
    root,
    parent: root,
    state: EditorState.create({
      doc: area.value,
      extensions: [
        lineNumbers(),
        history(),
        drawSelection(),
        highlightActiveLine(),
        highlightActiveLineGutter(),
        bracketMatching(),
        indentOnInput(),
        indentUnit.of(INDENT),
        EditorView.lineWrapping,
        StreamLanguage.define(python),
        syntaxHighlighting(colors),
        keymap.of([{ key: 'Tab', run: indent, shift: indentLess }, ...defaultKeymap, ...historyKeymap]),
        theme,
        EditorView.contentAttributes.of({
          'aria-label': `${label.textContent.trim()}. To leave the editor, press Escape and then Tab.`,
          'data-testid': 'editor',
          tabindex: '0', // it can be focused anyway, but axe looks for the attribute
          spellcheck: 'false',
        }),
        EditorView.updateListener.of((update) => {
          if (update.docChanged) area.value = update.state.doc.toString() // as typed, for the form
        }),
      ],
    }),
  })
  area.before(host)
  area.hidden = true
  label.addEventListener('click', () => view.focus())
}

const source = document.getElementById('source')
if (source) mount(source)
