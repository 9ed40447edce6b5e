import { wireDrop } from './lib/upload.js'

wireDrop((info) => { location.href = `/datasets/${info.id}` })
