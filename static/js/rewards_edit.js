// Puts a code editor where the text area with the Python is. The editor's own text area is then what the form sends.

import {
  createEditor,
  defaultKeymap,
  editorCommands,
  highlightBracketPairs,
  matchBrackets,
} from '../vendor/prism-code-editor.esm.js'

function mount(area) {
  const editor = createEditor(
    null,
    { language: 'python', value: area.value, tabSize: 4, wordWrap: true },
    editorCommands(defaultKeymap, []), // closes no brackets or quotes on its own
    matchBrackets(false),
    highlightBracketPairs(),
  )
  for (const name of ['id', 'name', 'aria-describedby', 'data-testid']) {
    editor.textarea.setAttribute(name, area.getAttribute(name))
  }
  // The library's extension for this has a style attribute, which the content security policy refuses.
  editor.textarea.addEventListener('input', () => editor.lines[editor.activeLine].scrollIntoView({ block: 'nearest' }))
  editor.container.dataset.testid = 'editor'
  area.replaceWith(editor.container)
}

const source = document.getElementById('source')
if (source) mount(source)
