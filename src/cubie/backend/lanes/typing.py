"""How operations on lanes are made known to numba's typing, for any compiled target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen
from numba.core import types

from cubie.backend.lanes.types import Lanes, wider


@frozen
class Registrar:
    """The extension points of one compiled target."""

    target: str  # numba's name of it
    abstract_template: Any
    signature: Callable
    infer_global: Callable
    lower: Callable
    lower_cast: Callable
    register_model: Callable
    math_call: Callable  # (context, builder, name, lanes, arguments) -> value
    is_finite: Callable  # (context, builder, lanes, value) -> mask


def meeting_type(a, b):
    """Return the lanes type two operands meet in, or None where lanes play no part."""
    if isinstance(a, Lanes) and isinstance(b, Lanes):
        return wider(a, b) if a.width == b.width else None
    lanes, other = (a, b) if isinstance(a, Lanes) else (b, a)
    if not isinstance(lanes, Lanes):
        return None
    if isinstance(other, types.Integer):
        return lanes
    if isinstance(other, types.Float) and lanes.is_float:
        return lanes
    return None


def template(registrar: Registrar, function, decide) -> None:
    """Type calls of `function` by ``decide(*argument_types) -> (result, *arguments) | None``."""

    @registrar.infer_global(function)
    class LaneTemplate(registrar.abstract_template):
        # Named for one target, a template is tried before numba's dozens for any target.
        metadata = {"target": registrar.target}  # noqa: RUF012

        def generic(self, args, kws):
            if kws:
                return None
            types_ = decide(*args)
            return None if types_ is None else registrar.signature(*types_)


def rule(n_arguments: int):
    """Guard a typing rule against calls with another number of arguments."""

    def decorate(decide):
        def guarded(*args):
            return decide(*args) if len(args) == n_arguments else None

        return guarded

    return decorate
