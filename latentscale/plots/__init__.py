"""Pictures of fits: every function takes ax=None and returns the axes."""
