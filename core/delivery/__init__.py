"""Sending a finished export to where it is used: an Ollama server, the Hub. Each in a process of its own."""
