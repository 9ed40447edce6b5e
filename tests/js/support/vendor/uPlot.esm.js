// Stores its arguments; draws nothing.

export default class uPlot {
  constructor(options, data, place) {
    Object.assign(this, { options, data, place, cursor: {} })
  }

  setData(data) {
    this.data = data
  }

  setSize(size) {
    this.size = size
  }

  setCursor(cursor) {
    this.cursor = cursor
  }

  setSelect(select) {
    this.select = select
  }

  posToVal(position) {
    return position
  }

  valToPos(value) {
    return value
  }

  destroy() {
    this.destroyed = true
  }
}
