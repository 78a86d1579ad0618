"""Numerical primitives: special functions, beta densities, nodes, linear algebra, differences."""
