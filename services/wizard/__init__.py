"""The wizard's draft and saved configurations."""
