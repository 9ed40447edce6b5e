"""Writing completions: the engines, and which one is chosen."""
