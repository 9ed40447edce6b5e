// One connection per page. Rows arrive once, in order: watch() requests what is missing after the row it
// has, again after each reconnect.

import { io } from '../../vendor/socket.io.esm.min.js'

export const socket = io({ transports: ['websocket', 'polling'] })

// Delayed: leaving the page also ends the connection, and short interruptions recover before anyone notices.
let lostTimer = null
socket.on('disconnect', () => {
  lostTimer ??= setTimeout(() => {
    document.getElementById('lost').hidden = false
  }, 800)
})
socket.on('connect', () => {
  clearTimeout(lostTimer)
  lostTimer = null
  document.getElementById('lost').hidden = true
})

// Calls onRows(rows) with every row after `after`, live ones included, each once and in order of their numbers.
//
// The race: rows are pushed to everyone who is connected, while earlier rows are read from a file and arrive
// as the response to 'watch'. A pushed row may arrive first and would set `last` beyond the rows
// of the response, which would be dropped as old. So pushed rows wait in `early` until the response arrives.
// The response may contain rows that are also pushed, before or after: `last` drops the duplicates.
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
    // Again after each reconnect: rows pushed during an interruption were missed.
    caughtUp = false
    socket.emit('watch', { session_id: sessionId, after: last }, (answer) => {
      take(Array.isArray(answer) ? answer : (answer?.rows ?? []))
      caughtUp = true
      // Sorted: onRows expects rows in order, and take() stores the number of the last row.
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
  // Only once connected: Socket.IO would buffer the request, and 'connect' would send it again.
  if (socket.connected) ask()
}
