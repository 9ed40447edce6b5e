"""Whether an export behaves like the trained model."""
