"""Rewards: the list, the bench, those that a person saved."""
