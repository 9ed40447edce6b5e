"""Probes: whether a configuration will learn, asked before a run."""
