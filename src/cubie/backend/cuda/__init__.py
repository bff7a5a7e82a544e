"""The target ``cuda``: one thread a run, compiled by numba-cuda."""
