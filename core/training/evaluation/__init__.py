"""Scoring answers: held-out rows, and models side by side."""
