"""Training methods, a module each."""
