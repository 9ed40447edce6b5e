"""The playground, and the page that serves a model."""
