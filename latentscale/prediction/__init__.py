"""Family posteriors and prediction."""
