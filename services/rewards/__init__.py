"""Rewards: the list, the tester, and saved rewards."""
