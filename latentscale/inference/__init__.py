"""Covariances of estimates, tests and intervals."""
