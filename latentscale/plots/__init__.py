"""Pictures of tables and arrays. Each function draws on given axes, or on those of a new figure, and returns them."""
