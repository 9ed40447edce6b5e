"""A worker's communication: status and rows out, control in."""
