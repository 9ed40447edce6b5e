"""Communication of a worker: status and rows out, control in."""
