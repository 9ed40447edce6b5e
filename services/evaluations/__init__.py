"""Evaluations: models answer the same prompts and are compared."""
