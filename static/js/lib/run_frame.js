// A run's rows prepared for drawing: one position on the x-axis per step, after the warm-up.

const keyOf = (row) => `${row.phase}/${row.step}/${row.when ?? ''}`

// Rows by phase and step; for repeated steps the later row counts.
export class Rows {
  constructor() {
    this.latest = new Map()
  }

  take(rows) {
    for (const row of rows) {
      const old = this.latest.get(keyOf(row))
      if (!old || old.row <= row.row) this.latest.set(keyOf(row), row)
    }
  }

  get size() {
    return this.latest.size
  }

  all() {
    return [...this.latest.values()]
  }

  // Names of the parts of the objects under a key, in order.
  parts(key) {
    const names = new Set()
    for (const row of this.latest.values()) for (const name of Object.keys(row[key] ?? {})) names.add(name)
    return [...names].sort()
  }
}

// The step of the lowest held-out value, if the latest one is clearly higher; null otherwise. Before training,
// nothing was learned that could be lost.
export function turning(rows, { key, rise }) {
  const held = rows
    .filter((row) => row.phase === 'evaluation' && row[key] != null)
    .sort((one, other) => one.step - other.step || one.row - other.row)
  if (!held.length || !(held.at(-1)[rise] > 0)) return null
  const lowest = held.reduce((best, row) => (row[key] < best[key] ? row : best))
  return lowest.step > 0 ? lowest.step : null
}

// The axis counts training steps from 1. The warm-up's last step is at 0 and the others are below, so that a step has
// the same number here as everywhere else.
export function frame(rows) {
  const warmUp = Math.max(0, ...rows.filter((row) => row.phase === 'warm_up').map((row) => row.step))
  const at = new Map()
  const evaluations = []
  for (const row of rows) {
    const x = row.phase === 'warm_up' ? row.step - warmUp : row.when === 'before' ? -warmUp : row.step
    const spot = at.get(x) ?? {}
    if (row.phase === 'evaluation') {
      spot.evaluation = row
      evaluations.push(x)
    } else Object.assign(spot, row)
    at.set(x, spot)
  }
  // Phases are not joined by a line.
  if (warmUp && at.has(1)) at.set(0.5, {})
  const xs = [...at.keys()].sort((a, b) => a - b)
  return {
    xs,
    all: rows,
    rows: xs.map((x) => at.get(x)),
    warmUp,
    evaluations,
    label: (x) => (Number.isInteger(x) && (x > 0 || !warmUp) ? String(x) : ''),
    word: (x) => (warmUp && x <= 0 ? `Warm-up step ${x + warmUp}` : `Step ${x}`),
  }
}
