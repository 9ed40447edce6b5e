// JavaScript as the browser runs it: ES modules without a build step; the tests of lib/ under Node.js.

import { createRequire } from 'node:module'

// The linters are installed beside the project's other tools, not into a node_modules of the root.
const installed = createRequire(new URL('./.tools/lint/package.json', import.meta.url))
const js = installed('@eslint/js')
const globals = installed('globals')

export default [
  { ignores: ['static/vendor/'] },
  js.configs.recommended,
  {
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      'array-callback-return': 'error',
      complexity: ['error', 15],
      // `== null` asks for null and undefined at once, which is what the server's gaps become.
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'max-lines': ['error', { max: 400, skipBlankLines: true, skipComments: true }],
      'max-lines-per-function': ['error', { max: 60, skipBlankLines: true, skipComments: true }],
      'no-console': 'error',
      'no-else-return': 'error',
      'no-eval': 'error',
      'no-implicit-coercion': 'error',
      'no-implied-eval': 'error',
      'no-loop-func': 'error',
      'no-new-wrappers': 'error',
      'no-param-reassign': 'error',
      'no-promise-executor-return': ['error', { allowVoid: true }],
      'no-self-compare': 'error',
      'no-shadow': 'error',
      'no-throw-literal': 'error',
      'no-unneeded-ternary': 'error',
      'no-unused-expressions': 'error',
      'no-use-before-define': ['error', { functions: false, variables: false }],
      'no-useless-return': 'error',
      'no-var': 'error',
      'object-shorthand': 'error',
      'prefer-const': 'error',
      'prefer-promise-reject-errors': 'error',
      'prefer-template': 'error',
      radix: 'error',
      'require-await': 'error',
    },
  },
  { files: ['static/js/**/*.js'], languageOptions: { globals: globals.browser } },
  { files: ['*.config.js'], languageOptions: { globals: globals.node } },
  { files: ['tests/js/**/*.js'], languageOptions: { globals: { ...globals.node, ...globals.browser } } },
]
