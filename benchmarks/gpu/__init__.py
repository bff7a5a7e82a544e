"""``python -m benchmarks gpu``: everything that a GPU is wanted for, in a few minutes of it."""
