"""Datasets: uploads, imports, previews and preparation."""
