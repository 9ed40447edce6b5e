// The charts of a run's page: described by the server, drawn from the rows that arrive.

import { pageData } from './api.js'
import { Chart } from './chart.js'
import { csv } from './chart_parts.js'
import { element, save } from './dom.js'
import { frame, turning } from './run_frame.js'
import { toast } from './toast.js'

const COLOURS = ['--c1', '--c2', '--c3', '--c4']
const EXTRA = ['session_id']
const wholeAxis = (_, low, high) => [0, Math.max(1, high ?? 1)]

// The band between two curves: of two other metrics, or this one plus and minus another.
function band({ key, around, between }) {
  if (around) return (row) => (row[around] == null ? null : [row[key] - row[around], row[key] + row[around]])
  if (between) return (row) => (row[between[0]] == null ? null : between.map((name) => row[name]))
  return undefined
}

const series = (line) => ({
  label: line.label,
  colour: line.colour,
  values: (row) => (line.held_out ? row.evaluation : row)?.[line.key],
  band: band(line),
  plain: !line.smoothed,
  points: line.held_out,
})

// The page's own icon URL, so that they come from the browser's cache.
const SPRITE = new URL('../../vendor/icons.svg', import.meta.url).pathname
const icon = (name) => `<svg class="icon" aria-hidden="true"><use href="${SPRITE}#${name}"></use></svg>`

function card(definition) {
  const id = `chart-${definition.key}`
  const figure = element('figure', { class: `card chart${definition.wide ? ' wide' : ''}`, id, 'data-testid': id })
  figure.innerHTML =
    '<header><h4></h4><span class="now"></span>' +
    `<button type="button" class="icon-button enlarge">${icon('maximize')}</button>` +
    `<button type="button" class="icon-button png">${icon('image')}</button></header>` +
    '<div class="legend"></div><div class="canvas" tabindex="0" role="img"></div>' +
    '<figcaption class="health"></figcaption>'
  figure.querySelector('h4').textContent = definition.title
  figure.querySelector('.health').textContent = definition.caption
  figure
    .querySelector('.canvas')
    .setAttribute(
      'aria-label',
      `${definition.title}. Arrow keys move through the steps, + and - zoom, 0 resets the zoom. ` +
        'The table below has the same numbers.',
    )
  const named = { '.png': ['Save', 'as a picture (PNG)'], '.enlarge': ['Show', 'full screen'] }
  for (const [selector, [verb, how]] of Object.entries(named)) {
    const button = figure.querySelector(selector)
    button.setAttribute('aria-label', `${verb} the chart '${definition.title}' ${how}`)
    button.title = `${verb} ${how}`
  }
  if (definition.series.length > 1) {
    figure
      .querySelector('.legend')
      .append(
        ...definition.series.map(({ colour, label }) => element('span', { class: colour.replace('--', '') }, label)),
      )
  }
  return figure
}

// The figure itself moves into the dialog and back, so that it stays one chart with its zoom.
function enlarge(figure) {
  const close = element('button', { class: 'icon-button close', 'aria-label': 'Close' })
  close.innerHTML = icon('x')
  close.onclick = () => dialog.close()
  const spot = document.createComment('')
  figure.before(spot)
  const named = { class: 'full-chart', 'aria-label': figure.querySelector('h4').textContent }
  const dialog = element('dialog', named, figure, close)
  dialog.onclose = () => {
    spot.replaceWith(figure)
    dialog.remove()
    figure.querySelector('.enlarge').focus()
  }
  document.body.append(dialog)
  dialog.showModal()
  figure.querySelector('.canvas').focus()
}

// Draws into #chart-place. `rows` are the run's (run_frame.js); draw() again after they have changed.
export class RunCharts {
  constructor(session, rows) {
    const data = pageData('run-data')
    Object.assign(this, { session, rows, sections: data.charts, titles: data.parts, charts: [], drawn: '' })
    this.parts = data.charts.flatMap(({ charts }) => charts).find((chart) => chart.parts)?.key
    this.look = { weight: 0.6, log: false, zoom: null }
    this.wire()
  }

  wire() {
    const $ = (id) => document.getElementById(id)
    $('smoothing').oninput = ({ target }) => {
      this.look.weight = Number(target.value)
      $('smoothing-value').textContent = this.look.weight.toFixed(2)
      this.drawSoon()
    }
    $('log-scale').onchange = ({ target }) => {
      this.look.log = target.checked
      this.drawSoon()
    }
    $('reset-zoom').onclick = () => {
      this.zoom(null)
      this.charts[0]?.canvas.focus({ preventScroll: true })
    }
    $('csv').onclick = () => this.csv()
  }

  zoom(range) {
    if (String(range) === String(this.look.zoom)) return
    this.look.zoom = range
    document.getElementById('reset-zoom').hidden = !range
    document.getElementById('zoom-hint').hidden = range !== null
    this.drawSoon()
  }

  component(name, index) {
    return {
      label: this.titles[name] ?? name,
      colour: COLOURS[index % COLOURS.length],
      values: (row) => row[this.parts]?.[name],
    }
  }

  // Charts without values are left out. For optional metrics, zero does not count as a value.
  found(rows) {
    const there = (chart) =>
      chart.only_with
        ? this.rows.all().some((row) => row[chart.only_with])
        : chart.series.some((one) => rows.some((row) => one.values(row) != null))
    return this.sections
      .map((section) => ({
        ...section,
        charts: section.charts
          .map((chart) => ({
            ...chart,
            range: chart.whole ? wholeAxis : undefined,
            turn: chart.turn && { at: (all) => turning(all, chart.turn), word: chart.turn.word },
            series: chart.parts
              ? this.rows.parts(this.parts).map((name, index) => this.component(name, index))
              : chart.lines.map(series),
          }))
          .filter(there),
      }))
      .filter((section) => section.charts.length)
  }

  build(sections) {
    const place = document.getElementById('chart-place')
    const opened = new Map([...place.querySelectorAll('details')].map((fold) => [fold.id, fold.open]))
    this.drop()
    place.replaceChildren(...sections.map((section) => this.section(section, opened)))
  }

  // Until it is dropped, a chart that left the page shares the crosshair with those that are on it.
  drop() {
    for (const chart of this.charts) chart.drop()
    this.charts = []
  }

  section({ title, open, charts }, opened) {
    const fold = element('details', { class: 'fold chart-section', id: `section-${title.toLowerCase()}` })
    fold.open = opened.get(fold.id) ?? open
    fold.innerHTML = `<summary>${icon('chevron-right')}<h3></h3><span class="values"></span></summary>`
    fold.querySelector('h3').textContent = title
    fold.querySelector('.values').textContent = charts.map((chart) => chart.title).join(', ')
    const grid = element('div', { class: 'charts inside' })
    fold.append(grid)
    for (const definition of charts) {
      const figure = card(definition)
      grid.append(figure)
      const chart = new Chart(figure, definition, {
        point: (index) => this.seen().forEach((one) => one.point(index)),
        zoom: (range) => this.zoom(range),
      })
      figure.querySelector('.png').onclick = async () =>
        save(await chart.png(), `${this.session}-${definition.key}.png`)
      figure.querySelector('.enlarge').onclick = () => enlarge(figure)
      this.charts.push(chart)
    }
    fold.addEventListener('toggle', () => this.drawSoon())
    return fold
  }

  draw() {
    const place = document.getElementById('chart-place')
    if (!place) return
    document.getElementById('charts').hidden = !this.rows.size
    document.getElementById('charts-empty').hidden = this.rows.size > 0
    const now = frame(this.rows.all())
    const sections = this.found(now.rows)
    const shape = [...this.rows.parts(this.parts), ...sections.flatMap(({ charts }) => charts.map(({ key }) => key))]
    if (shape.join('\n') !== this.drawn) {
      this.drawn = shape.join('\n')
      this.build(sections)
    }
    for (const chart of this.seen(true)) chart.draw(now, this.look)
  }

  // Collapsed charts have no width; they are drawn when opened.
  seen(undrawn = false) {
    return this.charts.filter((chart) => (undrawn || chart.plot) && !chart.place.closest('details:not([open])'))
  }

  drawSoon() {
    if (this.planned) return
    this.planned = true
    requestAnimationFrame(() => {
      this.planned = false
      this.draw()
    })
  }

  restyle() {
    for (const chart of this.charts) if (chart.plot) chart.restyle()
  }

  csv() {
    const flat = this.rows.all().map(({ [this.parts]: parts, ...row }) => {
      for (const name of EXTRA) delete row[name]
      return {
        ...row,
        ...Object.fromEntries(Object.entries(parts ?? {}).map(([name, value]) => [`reward.${name}`, value])),
      }
    })
    save(new Blob([csv(flat)], { type: 'text/csv' }), `${this.session}.csv`)
    toast('CSV saved.', 3)
  }
}
