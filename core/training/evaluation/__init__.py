"""Scoring answers: held-out rows, and model comparisons."""
