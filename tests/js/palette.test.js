import assert from 'node:assert/strict'
import { test } from 'node:test'

import { find } from '../../static/js/lib/palette.js'

const ENTRIES = [
  { title: 'New run', group: 'Actions', url: '/new', words: 'train' },
  { title: 'Start the demo', group: 'Actions', post: '/demo' },
  { title: 'Runs', group: 'Pages', url: '/runs' },
  { title: 'Datasets', group: 'Pages', url: '/datasets' },
  { title: 'Sums, the first run', group: 'Runs', url: '/runs/1' },
  { title: 'shop.csv', group: 'Datasets', url: '/datasets/1' },
  { title: 'GRPO', group: 'Glossary', url: '/help/glossary#word-grpo' },
]
const titles = (query) => find(ENTRIES, query).flatMap((group) => group.entries.map((entry) => entry.title))

test('without a query it starts with actions, pages and runs', () => {
  assert.deepEqual(
    find(ENTRIES, '  ').map((group) => group.title),
    ['Actions', 'Pages', 'Runs'],
  )
})

test('every word must match, in any order and any case', () => {
  assert.deepEqual(titles('DEMO start'), ['Start the demo'])
  assert.deepEqual(titles('demo stop'), [])
})

test('a title that starts with the query comes before one that contains it', () => {
  assert.equal(titles('run')[0], 'Runs')
  assert.ok(titles('run').includes('Sums, the first run'))
  assert.deepEqual(find(ENTRIES, 'run')[0].title, 'Pages')
})

test('the group and keywords find an entry too', () => {
  assert.deepEqual(titles('train'), ['New run'])
  assert.deepEqual(titles('datasets'), ['Datasets', 'shop.csv'])
})

test('a group shows a few of many', () => {
  const many = Array.from({ length: 50 }, (_, at) => ({ title: `run ${at}`, group: 'Runs', url: `/runs/${at}` }))
  assert.equal(find(many, 'run')[0].entries.length, 6)
  assert.equal(find(many, '')[0].entries.length, 6)
})
