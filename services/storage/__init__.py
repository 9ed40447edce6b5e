"""Storage: disk usage, cleanup and trash."""
