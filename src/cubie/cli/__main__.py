"""`python -m cubie.cli`: the command where its script is not on the path."""

from cubie.cli import main

main(prog_name="cubie-plan")
