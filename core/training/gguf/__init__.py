"""GGUF files: written, quantized, read back."""
