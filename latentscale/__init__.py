"""Latent-skill scaling laws for the benchmark scores of large language models."""
