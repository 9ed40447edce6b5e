"""The field itself: domain types, data, rewards and training. Importable without Flask."""
