"""Probes: the check before training."""
