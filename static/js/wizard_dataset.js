// The dataset step's catalog of popular datasets: its filters work without a reload, so that no input is lost.

import { wireChips } from './lib/chips.js'

wireChips()

// Text for a dataset of its own is no part of the setup: without a name it is neither saved nor sent with it.
for (const field of document.querySelectorAll('#paste [name]:not(button)')) field.removeAttribute('name')
