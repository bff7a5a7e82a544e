"""`cubie-plan`: a memory plan, its reasons and its proof, without a GPU."""

from cubie.cli.command import main

__all__ = ["main"]
