"""Sloth, its fit by a Huber loss and its results (Maia Polo et al. 2024), and laws of single benchmarks."""
