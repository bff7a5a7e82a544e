"""Derivatives of the user's equations: traced, given or by differences."""
