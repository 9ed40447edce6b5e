// Line charts on uPlot that share one x-axis and one crosshair, with phases shaded, a faint raw line
// under a smoothed one, gaps left as gaps, and arrow keys for those without a mouse.

import uPlot from '../../vendor/uPlot.esm.js'
import { number } from './format.js'

const style = (name) => {
  const probe = document.createElement('span')
  probe.style.color = `var(${name})`
  document.body.append(probe)
  const colour = getComputedStyle(probe).color
  probe.remove()
  return colour
}
const fade = (colour, share) =>
  colour.replace(/^rgba?\(([^)]+?)\)$/, (_, inside) => `rgba(${inside.split(',').slice(0, 3).join(',')}, ${share})`)

// An exponential mean that starts anew with each phase: the end of one says nothing of the next.
export function smooth(values, weight, phases) {
  let mean = null
  let phase = null
  return values.map((value, index) => {
    if (value == null) return null
    if (phases[index] !== phase) mean = null
    phase = phases[index]
    mean = mean === null ? value : weight * mean + (1 - weight) * value
    return mean
  })
}

// definition: { title, unit, series, marks, range? }, where one of the series is
//   { label, values(row), colour: '--c1', points?, plain?, band?(row): [low, high] }
// frame: { xs, rows, warmUp, evaluations, label(x) }
export class Chart {
  constructor(place, definition, onHover) {
    this.definition = definition
    this.onHover = onHover
    this.place = place
    this.canvas = place.querySelector('.canvas')
    this.now = place.querySelector('.now')
    this.index = null
    this.canvas.addEventListener('keydown', (event) => this.key(event))
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(this.canvas)
  }

  size() {
    return { width: Math.max(200, this.canvas.clientWidth), height: this.canvas.clientHeight || 176 }
  }

  columns(frame, weight) {
    const columns = [frame.xs]
    const phases = frame.rows.map((row) => row.phase)
    for (const line of this.definition.series) {
      const values = frame.rows.map((row) => line.values(row) ?? null)
      if (line.band)
        columns.push(
          frame.rows.map((row) => line.band(row)?.[0] ?? null),
          frame.rows.map((row) => line.band(row)?.[1] ?? null),
        )
      if (!line.points && !line.plain) columns.push(values)
      columns.push(line.points || line.plain ? values : smooth(values, weight, phases))
    }
    return columns
  }

  draw(frame, weight) {
    this.frame = frame
    const data = this.columns(frame, weight)
    const has = data.slice(1).some((column) => column.some((value) => value !== null))
    this.place.hidden = !has && this.definition.optional
    if (this.plot) this.plot.setData(data)
    else this.plot = new uPlot(this.options(), data, this.canvas)
    this.say(this.index)
  }

  options() {
    const text = style('--muted')
    const grid = style('--line')
    const series = [{}]
    const bands = []
    for (const line of this.definition.series) {
      const colour = style(line.colour)
      if (line.band) {
        series.push(
          { stroke: 'transparent', points: { show: false } },
          { stroke: 'transparent', points: { show: false } },
        )
        bands.push({ series: [series.length - 1, series.length - 2], fill: fade(colour, 0.12) })
      }
      if (line.points) {
        series.push({
          stroke: colour,
          width: 1.5,
          dash: [4, 4],
          spanGaps: true,
          points: { show: true, size: 8, fill: colour },
        })
        continue
      }
      if (!line.plain) series.push({ stroke: fade(colour, 0.28), width: 1, points: { show: false } })
      series.push({
        stroke: colour,
        width: 2,
        points: { show: (plot, index) => plot.data[index].filter((value) => value != null).length < 3, size: 6 },
      })
    }
    const axis = {
      stroke: text,
      grid: { stroke: grid, width: 1 },
      ticks: { show: false },
      font: '11px system-ui, sans-serif',
    }
    return {
      ...this.size(),
      legend: { show: false },
      series,
      bands,
      scales: {
        x: { time: false },
        y: this.definition.range ? { range: this.definition.range } : { range: (_, low, high) => padded(low, high) },
      },
      axes: [
        { ...axis, size: 26, values: (_, ticks) => ticks.map((tick) => this.frame.label(tick)) },
        { ...axis, size: 52, values: (_, ticks) => ticks.map((tick) => number(tick, 3)) },
      ],
      cursor: { sync: { key: 'run', setSeries: false }, drag: { x: true, y: false }, points: { size: 6 } },
      hooks: {
        drawClear: [(plot) => this.shade(plot)],
        setCursor: [(plot) => this.say(plot.cursor.idx ?? null)],
      },
    }
  }

  shade(plot) {
    const { ctx, bbox } = plot
    const { warmUp, evaluations } = this.frame
    ctx.save()
    if (warmUp > 0) {
      const right = Math.min(bbox.left + bbox.width, plot.valToPos(warmUp, 'x', true))
      if (right > bbox.left) {
        ctx.fillStyle = style('--sunken')
        ctx.fillRect(bbox.left, bbox.top, right - bbox.left, bbox.height)
        ctx.fillStyle = style('--muted')
        Object.assign(ctx, {
          font: `${11 * devicePixelRatio}px system-ui, sans-serif`,
          textAlign: 'left',
          textBaseline: 'alphabetic',
        })
        if (right - bbox.left > 60 * devicePixelRatio)
          ctx.fillText('warm-up', bbox.left + 6 * devicePixelRatio, bbox.top + 22 * devicePixelRatio)
      }
    }
    ctx.strokeStyle = style('--line-strong')
    ctx.setLineDash([2 * devicePixelRatio, 4 * devicePixelRatio])
    const line = (x1, y1, x2, y2) => {
      ctx.beginPath()
      ctx.moveTo(x1, y1)
      ctx.lineTo(x2, y2)
      ctx.stroke()
    }
    for (const x of evaluations) {
      const at = plot.valToPos(x, 'x', true)
      if (at >= bbox.left && at <= bbox.left + bbox.width) line(at, bbox.top, at, bbox.top + bbox.height)
    }
    ctx.strokeStyle = style('--queued')
    for (const mark of this.definition.marks ?? []) {
      const at = plot.valToPos(mark, 'y', true)
      if (at > bbox.top && at < bbox.top + bbox.height) line(bbox.left, at, bbox.left + bbox.width, at)
    }
    ctx.restore()
  }

  // The values at a place, or the latest ones.
  say(index) {
    this.index = index
    const parts = this.definition.series
      .map((line) => {
        const row =
          index === null ? this.frame.rows.findLast((entry) => line.values(entry) != null) : this.frame.rows[index]
        const value = row ? line.values(row) : null
        return value == null ? null : `${this.definition.series.length > 1 ? `${line.label} ` : ''}${number(value)}`
      })
      .filter(Boolean)
    this.now.textContent = parts.join(' · ') + (parts.length && this.definition.unit ? ` ${this.definition.unit}` : '')
    if (index !== null) this.onHover(this.frame.xs[index])
  }

  key(event) {
    const last = this.frame.xs.length - 1
    const from = this.index ?? last
    const to = { ArrowLeft: from - 1, ArrowRight: from + 1, Home: 0, End: last }[event.key]
    if (to === undefined || last < 0) return
    event.preventDefault()
    let index = Math.max(0, Math.min(last, to))
    // Between the phases lies an empty place that only keeps their lines apart.
    if (!Object.keys(this.frame.rows[index]).length) index += to < from ? -1 : 1
    this.plot.setCursor({ left: this.plot.valToPos(this.frame.xs[index], 'x'), top: 20 })
    this.say(index)
    document.getElementById('chart-readout').textContent =
      `${this.definition.title}, ${this.frame.word(this.frame.xs[index])}: ${this.now.textContent || 'no value'}`
  }

  restyle(weight) {
    this.plot?.destroy()
    this.plot = null
    this.draw(this.frame, weight)
  }

  png() {
    const source = this.plot.ctx.canvas
    const canvas = document.createElement('canvas')
    const top = 34 * devicePixelRatio
    Object.assign(canvas, { width: source.width, height: source.height + top })
    const ctx = canvas.getContext('2d')
    ctx.fillStyle = style('--surface')
    ctx.fillRect(0, 0, canvas.width, canvas.height)
    ctx.fillStyle = style('--text')
    ctx.font = `600 ${14 * devicePixelRatio}px system-ui, sans-serif`
    ctx.fillText(this.definition.title, 12 * devicePixelRatio, 22 * devicePixelRatio)
    ctx.drawImage(source, 0, top)
    return new Promise((resolve) => {
      canvas.toBlob(resolve, 'image/png')
    })
  }
}

function padded(low, high) {
  if (low == null) return [0, 1]
  const room = high - low || Math.abs(high) || 1
  return [low >= 0 && low < room ? 0 : low - room * 0.08, high + room * 0.08]
}

export function save(blob, name) {
  const link = document.createElement('a')
  link.href = URL.createObjectURL(blob)
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000)
}
