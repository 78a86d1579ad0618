"""Integration rules for the marginal likelihood, and the drivers that maximise it."""
