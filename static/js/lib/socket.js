// One connection a page. Rows come once, in order: watch() asks for what is missing after the row it
// has, again after each reconnect.

import { io } from '/static/vendor/socket.io.esm.min.js'

export const socket = io({ transports: ['websocket', 'polling'] })

let lostTimer = null
socket.on('disconnect', () => {
  lostTimer ??= setTimeout(() => { document.getElementById('lost').hidden = false }, 800)
})
socket.on('connect', () => {
  clearTimeout(lostTimer)
  lostTimer = null
  document.getElementById('lost').hidden = true
})

// Calls onRows(rows) with every row after `after`, live ones included, each once.
export function watch(sessionId, after, onRows) {
  let last = after
  let caughtUp = false
  let early = []
  const take = (rows) => {
    const fresh = rows.filter((row) => row.row > last)
    if (!fresh.length) return
    last = fresh.at(-1).row
    onRows(fresh)
  }
  const ask = () => {
    caughtUp = false
    socket.emit('watch', { session_id: sessionId, after: last }, (answer) => {
      take(Array.isArray(answer) ? answer : (answer?.rows ?? []))
      caughtUp = true
      take(early.sort((a, b) => a.row - b.row))
      early = []
    })
  }
  socket.on('training_update', (row) => {
    if (row.session_id !== sessionId) return
    if (caughtUp) take([row])
    else early.push(row)
  })
  socket.on('connect', ask)
  if (socket.connected) ask()
}
