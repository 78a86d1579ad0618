"""Results objects, summaries, tidy tables, save and load."""
