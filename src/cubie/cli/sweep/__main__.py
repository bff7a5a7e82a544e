"""`python -m cubie.cli.sweep`: the command where its script is not on the path."""

from cubie.cli.sweep import main

main(prog_name="cubie-sweep")
