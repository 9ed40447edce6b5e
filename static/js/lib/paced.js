// Renders the newest of many texts: at most once per frame, and in at most a ninth of the time, so that a long answer,
// which is parsed from the start each time, does not block the page.

const REST = 8

export function paced(draw) {
  let newest
  let waiting = false
  let next = 0
  function frame(now) {
    if (now < next) {
      requestAnimationFrame(frame)
      return
    }
    waiting = false
    draw(newest)
    next = now + REST * (performance.now() - now)
  }
  return (text) => {
    newest = text
    if (waiting) return
    waiting = true
    requestAnimationFrame(frame)
  }
}
