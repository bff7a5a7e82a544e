"""Exact static memory planning for GPU kernels."""
