// Loaded before each test file: node --import ./tests/js/support/setup.js --test …

import { register } from 'node:module'
import { install } from './dom.js'

register('./hooks.js', import.meta.url)
install()
