"""Shared by all jobs: their catalog rows, workers and queue."""
