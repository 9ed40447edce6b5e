// JSON calls to the server. An error is thrown as an Error whose message the server wrote for people.

const token = () => document.querySelector('meta[name="csrf-token"]')?.content ?? ''

export async function api(path, { method = 'GET', json, body, signal } = {}) {
  const headers = { Accept: 'application/json' }
  if (method !== 'GET') headers['X-CSRF-Token'] = token()
  if (json !== undefined) headers['Content-Type'] = 'application/json'
  const response = await fetch(path, { method, headers, body: json === undefined ? body : JSON.stringify(json), signal })
  const isJson = response.headers.get('content-type')?.includes('json')
  const data = response.status === 204 ? null : isJson ? await response.json() : await response.text()
  if (!response.ok) {
    const error = new Error(data?.error?.message ?? `The server answered ${response.status}. Try again in a moment.`)
    Object.assign(error, { code: data?.error?.code, field: data?.error?.field, status: response.status })
    throw error
  }
  return data
}

export const pageData = (id = 'page-data') => JSON.parse(document.getElementById(id)?.textContent || 'null')
