// Numbers and times for users.

export function number(value, digits = 3) {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–'
  const size = Math.abs(value)
  if (size !== 0 && (size < 0.001 || size >= 1e6)) return value.toExponential(1)
  return new Intl.NumberFormat('en', {
    maximumSignificantDigits: Math.max(digits, size >= 100 ? Math.ceil(Math.log10(size + 1)) : digits),
  }).format(value)
}

export const percent = (share) => (Number.isFinite(share) ? `${Math.round(share * 100)}%` : '–')

export function bytes(size) {
  if (!Number.isFinite(size)) return '–'
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  const power = size < 1 ? 0 : Math.min(4, Math.floor(Math.log10(size) / 3))
  return `${(size / 1000 ** power).toFixed(power > 2 ? 1 : 0)} ${units[power]}`
}

// '1.7B', '12K': counts if magnitude matters more than digits.
export const compact = (count) =>
  Number.isFinite(count)
    ? new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 }).format(count)
    : '–'
