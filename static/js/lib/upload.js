// A file, with progress and by drag and drop. Without a script the same form is sent as it is.

const token = () => document.querySelector('meta[name="csrf-token"]').content

// Resolves with the upload's info; rejects with the server's words.
export function upload(file, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest()
    const body = new FormData()
    body.set('file', file)
    request.open('POST', '/api/datasets/upload')
    request.responseType = 'json'
    request.setRequestHeader('X-CSRF-Token', token())
    request.setRequestHeader('Accept', 'application/json')
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total)
    request.onload = () => (request.status < 300 ? resolve(request.response) : reject(new Error(request.response?.error?.message ?? `The server answered ${request.status}.`)))
    request.onerror = () => reject(new Error('The connection broke off. Nothing was kept of this file; try again.'))
    request.send(body)
  })
}

// Wires the drop area of a page: a chosen or dropped file is sent at once, then `done` is called.
export function wireDrop(done) {
  const area = () => document.getElementById('drop')
  const send = async (file) => {
    if (!file) return
    const bar = document.getElementById('upload-progress')
    const problem = document.getElementById('upload-problem')
    problem.textContent = ''
    bar.hidden = false
    try {
      done(await upload(file, (share) => { bar.value = share }))
    } catch (error) {
      document.getElementById('upload-problem').textContent = error.message
      document.getElementById('file').value = ''
    } finally {
      bar.hidden = true
      bar.value = 0
    }
  }
  document.addEventListener('change', (event) => { if (event.target.id === 'file') send(event.target.files[0]) })
  document.addEventListener('dragover', (event) => {
    if (!area()?.contains(event.target)) return
    event.preventDefault()
    area().classList.add('over')
  })
  document.addEventListener('dragleave', (event) => { if (area()?.contains(event.target)) area().classList.remove('over') })
  document.addEventListener('drop', (event) => {
    if (!area()?.contains(event.target)) return
    event.preventDefault()
    area().classList.remove('over')
    send(event.dataTransfer.files[0])
  })
}
