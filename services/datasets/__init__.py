"""Datasets: uploads, downloads, looking inside, preparing."""
