"""The disk: what is on it, what can be cleaned up, and what was deleted and can be restored."""
