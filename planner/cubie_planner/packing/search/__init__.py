"""The exact search: one source, which the interpreter runs and numba compiles."""
