"""Models that are talked to."""
