// Searches Hugging Face while a model's name is typed, and adds finished downloads to the models on this machine.

import { api } from './lib/api.js'
import { Combobox } from './lib/combobox.js'
import { bytes, compact } from './lib/format.js'

const input = document.getElementById('model-name')

// 'Qwen/Qwen3-0.6B' has about two bytes for each of its parameters.
const facts = (model) =>
  [
    model.parameters ? `${compact(model.parameters * 1e9)} parameters, about ${bytes(model.parameters * 2e9)}` : '',
    `${compact(model.downloads)} downloads`,
    model.licence,
    model.gated ? 'requires accepting a license' : '',
  ]
    .filter(Boolean)
    .join(' · ')

async function search(text, signal) {
  // Already known and shown above: no request.
  const { unreachable } = document.getElementById('hub-state').dataset
  if (unreachable) throw new Error(unreachable)
  const { models } = await api(`/api/models/search?q=${encodeURIComponent(text.slice(0, 100))}`, { signal })
  return models.map((model) => ({ value: model.name, text: facts(model) }))
}

const words = (count) => {
  if (!count) return 'No trainable model found. You can still enter the full name, such as Qwen/Qwen3-0.6B.'
  return count === 1 ? '1 model found' : `${count} models found. Use the arrow keys to choose.`
}

if (input)
  new Combobox(input, {
    label: 'Models on Hugging Face',
    search,
    words,
    // The form's own script saves it like any input.
    taken: () => input.dispatchEvent(new Event('change', { bubbles: true })),
  })

// One that left the list is complete. The models to choose from are not swapped: a choice could be lost.
const listed = () => [...document.querySelectorAll('[data-download]')].map((part) => part.dataset.download)
let before = listed()
document.addEventListener('live:swapped', () => {
  const now = listed()
  if (before.some((id) => !now.includes(id))) location.reload()
  before = now
})
