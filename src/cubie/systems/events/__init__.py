"""Functions of a run whose roots are found, and what happens to its state there."""
