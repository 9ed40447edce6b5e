"""Models: base models to choose from, trained ones to chat with."""
