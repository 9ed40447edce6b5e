"""Deliveries: sending a finished export to Ollama or Hugging Face, each in a separate process."""
