"""The pages of rewards and probes."""
