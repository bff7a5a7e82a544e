"""`cubie-sweep`: a sweep from a file, kept in a store, stopped and gone on with from a shell."""

from cubie.cli.sweep.command import main

__all__ = ["main"]
