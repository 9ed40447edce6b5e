// Votes of blind comparisons, by model; stored in this browser.

const KEY = 'tunesmith.votes'
const NONE = { wins: 0, losses: 0, ties: 0 }

export class Votes {
  all() {
    try {
      const kept = JSON.parse(localStorage.getItem(KEY))
      return kept && typeof kept === 'object' && !Array.isArray(kept) ? kept : {}
    } catch {
      return {}
    }
  }

  // `sides` are {model, title}; `winner` is the index of one of them, or null for a tie.
  record(sides, winner) {
    const all = this.all()
    sides.forEach(({ model, title }, place) => {
      const what = winner === null ? 'ties' : place === winner ? 'wins' : 'losses'
      const before = { ...NONE, ...all[model] }
      all[model] = { ...before, title, [what]: before[what] + 1 }
    })
    try {
      localStorage.setItem(KEY, JSON.stringify(all))
    } catch {
      /* storage full or blocked: this vote is shown but not stored */
    }
  }

  // Best first, by the share of comparisons won; a tie is half a win.
  rows() {
    const share = ({ wins, losses, ties }) => (wins + ties / 2) / (wins + losses + ties)
    return Object.values(this.all())
      .filter((one) => one?.wins + one?.losses + one?.ties > 0)
      .map((one) => ({ ...one, share: share(one) }))
      .sort((a, b) => b.share - a.share)
  }

  forget() {
    try {
      localStorage.removeItem(KEY)
    } catch {
      /* kept nothing */
    }
  }
}

export function shuffled(list) {
  const drawn = [...list]
  for (let last = drawn.length - 1; last > 0; last -= 1) {
    const other = Math.floor(Math.random() * (last + 1))
    ;[drawn[last], drawn[other]] = [drawn[other], drawn[last]]
  }
  return drawn
}
