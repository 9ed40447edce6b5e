"""The seven steps of the wizard."""
