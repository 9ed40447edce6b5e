"""Disk usage, and how to free space."""
