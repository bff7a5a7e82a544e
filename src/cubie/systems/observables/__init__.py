"""Quantities that are computed from the states where they are asked for."""
