"""Benchmarks: frozen specs in a registry, run by ``python -m benchmarks``."""
