"""What is recorded, one module a section: each has ``record(keep)``."""
