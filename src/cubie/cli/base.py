"""What the commands have in common: errors of one line, and what the process ends with."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from cubie.cli.errors import InputError, one_line
from cubie.errors import CubieError
from cubie_planner import FormatError, PlanRejected, ProblemError
from cubie_planner.gpu.cost import CostError
from cubie_planner.gpu.device import DeviceError

SETTINGS = {"help_option_names": ["-h", "--help"]}
WRONG_INPUT = (
    *(InputError, CubieError, ProblemError, PlanRejected, FormatError, DeviceError, CostError),
    OSError,
)
# What a process ends with.
WRONG = 2
INTERRUPTED = 130


class OneLineCommand(click.Command):
    """A command whose errors are one line each, and whose return value is its exit status."""

    _said: frozenset[str] = frozenset()  # in one run of the command
    words: tuple[str, ...] = ()  # behind the name of the command, as they were typed

    def make_context(self, info_name: str | None, args: list[str], *more: Any, **extra: Any) -> Any:
        """Read what was typed, and keep it."""
        self.words = tuple(args)
        return super().make_context(info_name, args, *more, **extra)

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Run, and leave with status 2 for anything wrong with what was given."""
        if sys.stdout is None:  # the next file that is opened would be what is printed to
            self.say("standard output is closed; where it is not wanted send it to a null device")
            sys.exit(WRONG)
        try:
            status = super().main(*args, standalone_mode=False, **extra)
        except click.ClickException as error:
            self.say(one_line(error.format_message()))
            status = WRONG
        except click.Abort:
            self.say("interrupted")
            status = INTERRUPTED
        sys.exit(status)

    def say(self, message: str) -> None:
        """Tell something on standard error, with the name of the command before it."""
        click.echo(f"{self.name}: {message}", err=True)

    def say_once(self, message: str) -> None:
        """Tell something that was not told before: what is noted is often warned of, too."""
        if message not in self._said:
            self._said |= {message}
            self.say(message)

    @contextmanager
    def telling(self, quiet: bool) -> Iterator[None]:
        """Tell warnings in one line each, or none; what is wrong with the input ends the command.

        Raises
        ------
        click.ClickException
            Of one line.
        """
        self._said = frozenset()
        with warnings.catch_warnings():
            if quiet:
                warnings.simplefilter("ignore")
            else:
                warnings.showwarning = lambda message, *_, **__: self.say_once(one_line(message))
            try:
                yield
            except BrokenPipeError:
                raise  # click leaves quietly: who reads the output has seen enough
            except WRONG_INPUT as error:
                raise click.ClickException(one_line(error)) from error
