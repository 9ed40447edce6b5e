// Parts of charts besides uPlot: colors, ranges, images, tables.

// A style sheet color in canvas format.
export const style = (name) => {
  const probe = document.createElement('span')
  probe.style.color = `var(${name})`
  document.body.append(probe)
  const colour = getComputedStyle(probe).color
  probe.remove()
  return colour
}

// From 0 if that is near, with space above.
export function padded(low, high) {
  if (low == null) return [0, 1]
  const room = high - low || Math.abs(high) || 1
  return [low >= 0 && low < room ? 0 : low - room * 0.08, high + room * 0.08]
}

// A chart as a PNG, its title and legend above it.
export function picture(source, { title, series }) {
  const canvas = document.createElement('canvas')
  const unit = devicePixelRatio
  const legend = series.length > 1
  const top = (legend ? 54 : 34) * unit
  Object.assign(canvas, { width: source.width, height: source.height + top })
  const ctx = canvas.getContext('2d')
  ctx.fillStyle = style('--surface')
  ctx.fillRect(0, 0, canvas.width, canvas.height)
  ctx.fillStyle = style('--text')
  ctx.font = `600 ${14 * unit}px system-ui, sans-serif`
  ctx.fillText(title, 12 * unit, 22 * unit)
  if (legend) drawLegend(ctx, series, unit)
  ctx.drawImage(source, 0, top)
  return new Promise((resolve) => {
    canvas.toBlob(resolve, 'image/png')
  })
}

function drawLegend(ctx, series, unit) {
  ctx.save()
  ctx.font = `${12 * unit}px system-ui, sans-serif`
  let left = 12 * unit
  for (const { label, colour } of series) {
    ctx.fillStyle = style(colour)
    ctx.fillRect(left, 38 * unit, 14 * unit, 3 * unit)
    ctx.fillText(label, left + 19 * unit, 43 * unit)
    left += ctx.measureText(label).width + 34 * unit
  }
  ctx.restore()
}

// Objects as CSV, a column for each key that one of them has.
export function csv(rows) {
  const columns = [...new Set(rows.flatMap(Object.keys))]
  const cell = (value) =>
    value == null ? '' : /[",\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value)
  return [columns.join(','), ...rows.map((row) => columns.map((name) => cell(row[name])).join(','))].join('\n')
}
