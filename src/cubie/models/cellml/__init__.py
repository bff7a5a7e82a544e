"""Models in CellML 1.0, 1.1 and 2.0."""
