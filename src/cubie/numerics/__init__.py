"""Numerical methods that several components share: norms, finiteness, powers."""
