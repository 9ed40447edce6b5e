"""GGUF files: writing, quantizing, reading back."""
