// Line charts on uPlot that share one x-axis, one crosshair and one zoom, with phases shaded, a faint raw line
// under a smoothed one, gaps preserved, and keyboard control.

import uPlot from '../../vendor/uPlot.esm.js'
import { number, percent } from './format.js'
import { padded, picture, style } from './chart_parts.js'

const fade = (colour, share) =>
  colour.replace(/^rgba?\(([^)]+?)\)$/, (_, inside) => `rgba(${inside.split(',').slice(0, 3).join(',')}, ${share})`)

// An exponential mean that restarts with each phase, because phases are not comparable.
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

// definition: { title, unit, axis, share, series, marks, range?, turn? }, where `turn` marks a step with a word:
//   { at(rows): step or null, word }, and one of the series is
//   { label, values(row), colour: '--c1', points?, plain?, band?(row): [low, high] }
// frame: { xs, all, rows, warmUp, evaluations, label(x), word(x) }
// look: { weight, log, zoom }: smoothing weight, logarithmic y-axis, [low, high] of x or null
// hears: { point(index), zoom([low, high] or null) }: user input by keyboard and dragging
export class Chart {
  constructor(place, definition, hears) {
    this.definition = definition
    this.hears = hears
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

  written(value) {
    return this.definition.share ? percent(value) : number(value)
  }

  columns(frame, { weight, log }) {
    const columns = [frame.xs]
    const phases = frame.rows.map((row) => row.phase)
    // A logarithmic axis cannot show values of zero or less: they become gaps.
    const shown = (value) => (value == null || (log && value <= 0) ? null : value)
    for (const line of this.definition.series) {
      const values = frame.rows.map((row) => shown(line.values(row)))
      if (line.band)
        columns.push(
          frame.rows.map((row) => shown(line.band(row)?.[0])),
          frame.rows.map((row) => shown(line.band(row)?.[1])),
        )
      if (!line.points && !line.plain) columns.push(values)
      columns.push(line.points || line.plain ? values : smooth(values, weight, phases))
    }
    return columns
  }

  draw(frame, look) {
    const anew = this.look?.log !== look.log
    this.frame = frame
    this.look = { ...look }
    const data = this.columns(frame, look)
    if (anew) this.drop()
    if (this.plot) this.plot.setData(data)
    else this.plot = new uPlot(this.options(), data, this.canvas)
    this.say(this.index)
  }

  drop() {
    this.plot?.destroy()
    this.plot = null
  }

  lines() {
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
    return { series, bands }
  }

  scales() {
    const { range } = this.definition
    const x = (_, low, high) => this.look.zoom ?? (low === high ? [low - 1, high + 1] : [low, high])
    if (this.look.log) return { x: { time: false, range: x }, y: { distr: 3 } }
    return { x: { time: false, range: x }, y: { range: range ?? ((_, low, high) => padded(low, high)) } }
  }

  axes() {
    const axis = {
      stroke: style('--muted'),
      grid: { stroke: style('--line'), width: 1 },
      ticks: { show: false },
      font: '11px system-ui, sans-serif',
      labelFont: '11px system-ui, sans-serif',
      labelSize: 18,
      labelGap: 0,
    }
    return [
      { ...axis, size: 24, label: 'Step', values: (_, ticks) => ticks.map((tick) => this.frame.label(tick)) },
      {
        ...axis,
        size: 50,
        label: this.definition.axis,
        // A logarithmic axis omits some tick labels.
        values: (_, ticks) => ticks.map((tick) => (tick == null ? '' : this.written(tick))),
      },
    ]
  }

  options() {
    return {
      ...this.size(),
      ...this.lines(),
      // Space above the values for the label 'Warm-up', so that neither a line nor the grid crosses it.
      padding: [20, null, null, null],
      legend: { show: false },
      scales: this.scales(),
      axes: this.axes(),
      cursor: {
        sync: { key: 'run', setSeries: false },
        // The page handles zooming, so that collapsed charts zoom, too.
        drag: { x: true, y: false, setScale: false },
        bind: { dblclick: () => () => this.hears.zoom(null) },
        points: { size: 6 },
      },
      hooks: {
        drawClear: [(plot) => this.shade(plot)],
        draw: [(plot) => this.name(plot), (plot) => this.turn(plot)],
        setCursor: [(plot) => this.say(plot.cursor.idx ?? null)],
        setSelect: [(plot) => this.select(plot)],
      },
    }
  }

  select(plot) {
    const { left, width } = plot.select
    if (width < 4) return
    const ends = [plot.posToVal(left, 'x'), plot.posToVal(left + width, 'x')]
    plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false)
    this.hears.zoom(ends)
  }

  // Position of the warm-up on the canvas; null if there is none, or it is not visible.
  warmUp(plot) {
    const { bbox } = plot
    if (!(this.frame.warmUp > 0)) return null
    const right = Math.min(bbox.left + bbox.width, plot.valToPos(0.5, 'x', true))
    return right > bbox.left ? { left: bbox.left, width: right - bbox.left } : null
  }

  shade(plot) {
    const { ctx, bbox } = plot
    const warm = this.warmUp(plot)
    ctx.save()
    if (warm) {
      ctx.fillStyle = style('--sunken')
      ctx.fillRect(warm.left, bbox.top, warm.width, bbox.height)
    }
    ctx.strokeStyle = style('--line-strong')
    ctx.setLineDash([2 * devicePixelRatio, 4 * devicePixelRatio])
    const line = (x1, y1, x2, y2) => {
      ctx.beginPath()
      ctx.moveTo(x1, y1)
      ctx.lineTo(x2, y2)
      ctx.stroke()
    }
    for (const x of this.frame.evaluations) {
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

  name(plot) {
    const { ctx, bbox } = plot
    const warm = this.warmUp(plot)
    const unit = devicePixelRatio
    if (!warm || warm.width < 60 * unit) return
    ctx.save()
    Object.assign(ctx, { font: `${11 * unit}px system-ui, sans-serif`, textAlign: 'left', textBaseline: 'bottom' })
    ctx.fillStyle = style('--muted')
    ctx.fillText('Warm-up', warm.left, bbox.top - 4 * unit)
    ctx.restore()
  }

  // A step at which something begins, with a word beside the line: on its left where the right has no room.
  turn(plot) {
    const step = this.definition.turn?.at(this.frame.all) ?? null
    if (step === null) return
    const { ctx, bbox } = plot
    const unit = devicePixelRatio
    const at = plot.valToPos(step, 'x', true)
    if (at < bbox.left || at > bbox.left + bbox.width) return
    ctx.save()
    Object.assign(ctx, { strokeStyle: style('--queued'), fillStyle: style('--text'), lineWidth: 1.5 * unit })
    ctx.beginPath()
    ctx.moveTo(at, bbox.top - 14 * unit)
    ctx.lineTo(at, bbox.top + bbox.height)
    ctx.stroke()
    Object.assign(ctx, { font: `${11 * unit}px system-ui, sans-serif`, textBaseline: 'bottom' })
    const { word } = this.definition.turn
    const fits = at + 4 * unit + ctx.measureText(word).width <= bbox.left + bbox.width
    ctx.textAlign = fits ? 'left' : 'right'
    ctx.fillText(word, at + (fits ? 4 : -4) * unit, bbox.top - 4 * unit)
    ctx.restore()
  }

  // The step and the values at an index, or the latest ones.
  say(index) {
    this.index = index
    const several = this.definition.series.length > 1
    const parts = this.definition.series
      .map((line) => {
        const row =
          index === null ? this.frame.rows.findLast((entry) => line.values(entry) != null) : this.frame.rows[index]
        const value = row ? line.values(row) : null
        return value == null ? null : `${several ? `${line.label} ` : ''}${this.written(value)}`
      })
      .filter(Boolean)
    const unit = parts.length && this.definition.unit ? ` ${this.definition.unit}` : ''
    const place = index === null ? 'Latest' : this.frame.word(this.frame.xs[index])
    this.now.textContent = parts.length ? `${place}: ${parts.join(' · ')}${unit}` : ''
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return
    const last = this.frame.xs.length - 1
    const from = this.index ?? last
    if (['+', '=', '-', '0'].includes(event.key)) {
      event.preventDefault()
      this.hears.zoom(event.key === '0' ? null : this.closer(from, event.key === '-' ? 2 : 0.5))
      return
    }
    const to = { ArrowLeft: from - 1, ArrowRight: from + 1, Home: 0, End: last }[event.key]
    if (to === undefined || last < 0) return
    event.preventDefault()
    let index = Math.max(0, Math.min(last, to))
    // An empty point between the phases separates their lines.
    if (!Object.keys(this.frame.rows[index]).length) index += to < from ? -1 : 1
    this.point(index)
    // The pointer moves the crosshair of every chart automatically, but setting the cursor does not.
    this.hears.point(index)
    document.getElementById('chart-readout').textContent =
      `${this.definition.title}, ${this.now.textContent || `${this.frame.word(this.frame.xs[index])}: no value`}`
  }

  // Moves the crosshair to an index and announces its values.
  point(index) {
    this.plot.setCursor({ left: this.plot.valToPos(this.frame.xs[index], 'x'), top: 20 })
    this.say(index)
  }

  // A range of x around an index, scaled from the current width; null for all of it.
  closer(index, times) {
    const { xs } = this.frame
    const all = [xs[0], xs.at(-1)]
    const [low, high] = this.look.zoom ?? all
    const half = Math.max(1, ((high - low) * times) / 2)
    const middle = Math.max(low, Math.min(high, xs[index]))
    const range = [Math.max(all[0], middle - half), Math.min(all[1], middle + half)]
    return range[0] <= all[0] && range[1] >= all[1] ? null : range
  }

  restyle() {
    this.drop()
    this.draw(this.frame, this.look)
  }

  png() {
    return picture(this.plot.ctx.canvas, this.definition)
  }
}
