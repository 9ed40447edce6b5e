"""GRPO with shared prefixes computed once."""
