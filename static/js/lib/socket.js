// One connection a page. Rows come once, in order: watch() asks for what is missing after the row it
// has, again after each reconnect.

import { io } from '../../vendor/socket.io.esm.min.js'

export const socket = io({ transports: ['websocket', 'polling'] })

// Not at once: leaving the page ends the connection, too, and a short break mends itself before anyone reads of it.
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
// The race: rows are pushed to everyone who is connected, while the rows before them are read from a file and come
// as the answer to 'watch'. A pushed row may overtake that answer. Taken at once it would set `last` beyond the rows
// of the answer, and these would be dropped as old. So what is pushed waits in `early` until the answer is there.
// The answer may hold rows that are pushed later, or have been: `last` drops the second of the two.
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
    // Again after each reconnect: what was pushed while the connection was away has reached nobody.
    caughtUp = false
    socket.emit('watch', { session_id: sessionId, after: last }, (answer) => {
      take(Array.isArray(answer) ? answer : (answer?.rows ?? []))
      caughtUp = true
      // Sorted: onRows is promised the order, and take() remembers the number of the last row that it is given.
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
  // Not before it is connected: Socket.IO would keep the question, and 'connect' would put it a second time.
  if (socket.connected) ask()
}
