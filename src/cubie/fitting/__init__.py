"""Fits of models to data: residuals with their Jacobians, and minimisers of many starts at once."""
