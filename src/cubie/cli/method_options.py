"""Options of the command that say by what method a model is solved."""

from __future__ import annotations

from collections.abc import Callable

import click
from click.shell_completion import CompletionItem

from cubie.cli.types import ValueType, complete_method, starting


def _complete_linear_solver(ctx, param, incomplete: str) -> list[CompletionItem]:
    from cubie.solvers import LINEAR_SOLVERS

    return starting(LINEAR_SOLVERS, incomplete)


def _complete_preconditioner(ctx, param, incomplete: str) -> list[CompletionItem]:
    from cubie.solvers.preconditioners import PRECONDITIONERS

    return starting(PRECONDITIONERS, incomplete)


OPTIONS = (
    click.option(
        "--method",
        shell_complete=complete_method,
        help="Method of a model, such as tsit5 or rodas4.",
    ),
    click.option(
        "--linear-solver",
        shell_complete=_complete_linear_solver,
        help="Of an implicit method, such as lu or gmres.",
    ),
    click.option(
        "--preconditioner",
        shell_complete=_complete_preconditioner,
        help="Of an iterative linear solver, such as ilu0.",
    ),
    click.option(
        "--option",
        "options",
        type=ValueType(),
        multiple=True,
        help="Any other one of solve_ivp, such as rtol=1e-9; repeatable.",
    ),
)


def of_method(command: Callable) -> Callable:
    """Add the options to a command, in their order."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command
