import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bytes, number, percent } from '../../static/js/lib/format.js'

test('numbers keep three digits, all before the point, and a missing value is empty', () => {
  assert.equal(number(1.23456), '1.23')
  assert.equal(number(0), '0')
  assert.equal(number(-0.5), '-0.5')
  assert.equal(number(1234.5), '1,235')
  assert.equal(number(0.123456, 2), '0.12')
  for (const nothing of [null, undefined, Number.NaN, Infinity]) assert.equal(number(nothing), '–')
})

test('very small and very large numbers are written with an exponent', () => {
  assert.equal(number(0.00012), '1.2e-4')
  assert.equal(number(-0.00012), '-1.2e-4')
  assert.equal(number(1e6), '1.0e+6')
  assert.equal(number(999_999), '999,999')
})

test('shares are whole percents', () => {
  assert.equal(percent(0.1234), '12%')
  assert.equal(percent(1), '100%')
  assert.equal(percent(undefined), '–')
})

test('sizes use powers of 1000, with a decimal from gigabytes on', () => {
  assert.equal(bytes(0), '0 B')
  assert.equal(bytes(999), '999 B')
  assert.equal(bytes(1500), '2 kB')
  assert.equal(bytes(93_000_000), '93 MB')
  assert.equal(bytes(1_234_000_000), '1.2 GB')
  assert.equal(bytes(5e15), '5000.0 TB')
  assert.equal(bytes(Number.NaN), '–')
})
