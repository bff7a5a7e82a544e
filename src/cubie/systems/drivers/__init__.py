"""Inputs that depend on time: interpolants of samples, as runs look them up."""
