"""Training runs: actions, views, verdicts and forecasts."""
