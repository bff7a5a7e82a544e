"""The types of the command's options: what they accept, and what the shell may complete."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from typing import Any

import click
from click.shell_completion import CompletionItem

from cubie.cli.errors import one_line
from cubie.cli.requests import AUTO, Pin
from cubie.errors import CubieError
from cubie.sizes import parse_size
from cubie_planner import Location
from cubie_planner.declarations.places import TILE
from cubie_planner.gpu.cards import Target, known_cards
from cubie_planner.gpu.device import DeviceError, known_devices


def starting(words: Iterable[str], incomplete: str) -> list[CompletionItem]:
    """Return the words that begin as what was typed does."""
    return [CompletionItem(word) for word in words if word.startswith(incomplete)]


def complete_file(ctx, param, incomplete: str) -> list[CompletionItem]:
    """Let the shell complete the name of a file."""
    return [CompletionItem(incomplete, type="file")]


def complete_method(ctx, param, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a method."""
    from cubie.tableaus import all_methods

    return starting(all_methods(), incomplete.lower())


def _device_names() -> list[str]:
    return [device.name for device in known_devices().values()]


class SizeType(click.ParamType):
    """Bytes, with or without a unit, or a device's limit."""

    name = "size"

    def convert(self, value: Any, param, ctx) -> tuple[int, str]:
        """Return bytes, and the text, which may name a device."""
        if isinstance(value, tuple):
            return value
        try:
            text = str(value).strip()
            size = parse_size(
                f"--{param.name.replace('_', '-')}" if param and param.name else "size",
                int(text) if text.isdecimal() else text,
            )
        except (CubieError, DeviceError, ValueError) as error:
            raise click.ClickException(one_line(error)) from error
        assert size is not None
        return size, text

    def shell_complete(self, ctx, param, incomplete: str) -> list[CompletionItem]:
        """Complete a device, or a usual limit."""
        return starting([*_device_names(), "48k", "99k", "163k", "227k"], incomplete)


class DeviceType(click.ParamType):
    """A card or a compute capability."""

    name = "device"

    def convert(self, value: Any, param, ctx) -> Target:
        """Return what the tables have of it."""
        if isinstance(value, Target):
            return value
        try:
            return Target.find(str(value))
        except DeviceError as error:
            self.fail(str(error), param, ctx)

    def shell_complete(self, ctx, param, incomplete: str) -> list[CompletionItem]:
        """Complete a known device."""
        names = [*_device_names(), *(name.replace(" ", "-") for name in known_cards())]
        return starting(names, incomplete)


class PinType(click.ParamType):
    """A buffer's place."""

    name = "name=location[@offset]"

    def convert(self, value: Any, param, ctx) -> Pin:
        """Return the pin."""
        if isinstance(value, Pin):
            return value
        try:
            return Pin.parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)

    def shell_complete(self, ctx, param, incomplete: str) -> list[CompletionItem]:
        """Complete the location after the name."""
        name, equals, _ = incomplete.partition("=")
        return starting([f"{name}={place}" for place in (*Location, TILE) if equals], incomplete)


class DriverType(click.ParamType):
    """An argument of a right-hand side, and where its driver is."""

    name = "argument=name"

    def convert(self, value: Any, param, ctx) -> tuple[str, str]:
        """Return both, as text."""
        if isinstance(value, tuple):
            return value
        argument, equals, name = (part.strip() for part in str(value).partition("="))
        if not (argument and equals and all(part.isidentifier() for part in name.split("."))):
            self.fail(f"{str(value)[:40]!r} is not of the form argument=name", param, ctx)
        return argument, name


class SummaryType(click.ParamType):
    """A quantity, and a number of each run that is asked for."""

    name = "quantity:summary"

    def convert(self, value: Any, param, ctx) -> tuple[str, str]:
        """Return both, as text."""
        if isinstance(value, tuple):
            return value
        quantity, colon, summary = (part.strip() for part in str(value).partition(":"))
        if not (quantity and colon and summary):
            self.fail(f"{str(value)[:40]!r} is not of the form quantity:summary", param, ctx)
        return quantity, summary

    def shell_complete(self, ctx, param, incomplete: str) -> list[CompletionItem]:
        """Complete the summary after the quantity."""
        from cubie.run.summaries.request import SUMMARIES

        quantity, colon, _ = incomplete.partition(":")
        return starting([f"{quantity}:{name}" for name in SUMMARIES if colon], incomplete)


class ValueType(click.ParamType):
    """An option of a solver with its value, as TOML writes values; what is none is text."""

    name = "name=value"

    def __init__(self, of_axis: bool = False):
        self.of_axis = of_axis  # then names may have indices

    def convert(self, value: Any, param, ctx) -> tuple[str, Any]:
        """Return both."""
        if isinstance(value, tuple):
            return value
        name, equals, text = (part.strip() for part in str(value).partition("="))
        if not ((name.isidentifier() or (self.of_axis and name)) and equals and text):
            self.fail(f"{str(value)[:40]!r} is not of the form name=value", param, ctx)
        try:
            found = tomllib.loads(f"value = {text}")
        except (ValueError, RecursionError):
            return name, text
        return name, found["value"] if len(found) == 1 else text


class BlockSizeType(click.ParamType):
    """Runs per block, or the word that lets the cost model choose."""

    name = "N|auto"

    def convert(self, value: Any, param, ctx) -> int | str:
        """Return the number, or "auto"."""
        if value == AUTO:
            return AUTO
        text = str(value)
        if not text.isdecimal() or len(text) > 9 or int(text) < 1:
            self.fail(f"{text[:40]!r} is neither a number of runs nor 'auto'", param, ctx)
        return int(text)

    def shell_complete(self, ctx, param, incomplete: str) -> list[CompletionItem]:
        """Complete a usual size."""
        return starting([AUTO, "32", "64", "128", "256", "512"], incomplete)
