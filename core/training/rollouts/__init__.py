"""Rollouts: the generation engines and how one is selected."""
