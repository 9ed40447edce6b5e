"""Models on Hugging Face: search, size and download."""
