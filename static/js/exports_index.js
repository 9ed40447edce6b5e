// Sizes and checkpoints are those of the selected run; a quantization in the table selects the matching options.

const form = document.getElementById('export-form')

form?.querySelector('select[name="session_id"]')?.addEventListener('change', (event) => {
  const page = new URL(location.href)
  page.searchParams.set('session_id', event.target.value)
  location.assign(page)
})

form?.addEventListener('change', ({ target }) => {
  if (target.name !== 'quantization' || !target.checked) return
  form.querySelector('input[name="choice"][value="gguf"]').checked = true
  if ('matrix' in target.dataset) form.elements.importance_matrix.checked = true
})
