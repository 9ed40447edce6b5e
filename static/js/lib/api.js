// JSON calls to the server. Errors are thrown with the server's message for users.

const token = () => document.querySelector('meta[name="csrf-token"]')?.content ?? ''

export async function api(path, { method = 'GET', json, body, signal } = {}) {
  const headers = { Accept: 'application/json' }
  if (method !== 'GET') headers['X-CSRF-Token'] = token()
  if (json !== undefined) headers['Content-Type'] = 'application/json'
  const response = await fetch(path, {
    method,
    headers,
    body: json === undefined ? body : JSON.stringify(json),
    signal,
  })
  const isJson = response.headers.get('content-type')?.includes('json')
  const data = response.status === 204 ? null : isJson ? await response.json() : await response.text()
  if (!response.ok) throw failure(response.status, data?.error ?? {})
  return data
}

// `code` and `field` are those of the API's error; other responses, such as a proxy's page, have only `status`.
function failure(status, { message, code, field }) {
  const error = new Error(message ?? `The server answered ${status}. Try again in a moment.`)
  return Object.assign(error, { code, field, status })
}

export const pageData = (id = 'page-data') => JSON.parse(document.getElementById(id)?.textContent || 'null')
