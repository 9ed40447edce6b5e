"""Chat with models."""
