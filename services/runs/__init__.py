"""Training runs: their verbs, what is shown of one, and how it stands."""
