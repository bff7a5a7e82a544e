"""Runs that are computed once more: which, and what is changed for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cubie import checks
from cubie.errors import InvalidOption, InvalidProblem
from cubie.status import RunStatus
from cubie.sweeps.job import Round
from cubie.sweeps.model import Model

FAILED = "failed"
ALWAYS = ("max_steps", "rtol", "atol", "max_step")
ALLOWED = (*ALWAYS, "first_step", "min_step")


def read_round(
    status: Any, changes: Mapping[str, Any], model: Model, before: Sequence[Round] = ()
) -> Round:
    """Return which runs are meant, and what is to be changed for them.

    Parameters
    ----------
    status : "failed", or a `RunStatus`, its name or code, or a sequence of them
    changes : mapping
        Options that the kernel is told, and not made for: `max_steps`, `rtol`, `atol`, `max_step`;
        `first_step` and `min_step` where the sweep had them.
    before : sequence of Round
        What was computed once more already.

    Raises
    ------
    InvalidOption
    InvalidProblem
        Where runs would end as they did.
    """
    allowed = list(ALWAYS)
    allowed += ["first_step"] if model.run_settings.first_step_given else []
    allowed += ["min_step"] if model.run_settings.min_step_given else []
    for name, given in changes.items():
        if name not in allowed:
            advice = (
                f"Of runs that are computed again {', '.join(allowed)} may be changed; for another "
                "method begin a sweep of its own."
            )
            raise InvalidOption(name, given, advice=advice)
    made = tuple((name, _checked(name, given, model)) for name, given in changes.items())
    which = Round(tuple(sorted(_codes(status))), made)
    if not changes or (not before and all(_is(getattr(model, k), v) for k, v in made)):
        told = "".join(
            f" ({name}={changes[name]!r} is what they had)" for name in list(changes)[:1]
        )
        raise InvalidProblem(
            "retry",
            f"changes nothing{told}: the same runs would end in the same way. Give "
            f"{', '.join(allowed)}, such as retry(max_steps={10 * model.max_steps}). Chunks that "
            "could not be computed, or were lost with a worker, are what run() goes on with.",
        )
    return which


def _is(had: Any, given: Any) -> bool:
    return bool(np.array_equal(np.asarray(had), np.asarray(given)))


def _checked(name: str, given: Any, model: Model) -> Any:
    if name in ("rtol", "atol"):
        return _tolerance(name, given, model)
    if name == "max_steps":
        return checks.count(name, given)
    return checks.positive(name, given, name == "max_step")


def _tolerance(name: str, given: Any, model: Model) -> np.ndarray:
    n, parts = len(model.start), 2 if model.in_pairs else 1
    usual = {"rtol": 1e-3, "atol": 1e-6} | {name: given}
    both = checks.tolerances(usual["rtol"], usual["atol"], n // parts, np.dtype(model.dtype))
    found, had = both[name == "atol"], getattr(model, name)
    if found.shape[-1] > 1:
        found = found.repeat(parts, axis=-1)
    if found.ndim > 1 or (had.shape == (1,) and np.ptp(found) > 0):
        advice = "The sweep has one for all states: give one number."
        raise InvalidOption(name, given, advice=advice)
    return np.broadcast_to(found[:1] if had.shape == (1,) else found, had.shape).copy()


def _codes(status: Any) -> list[int]:
    if isinstance(status, str) and status == FAILED:
        return [int(one) for one in RunStatus if one < 0]
    given = [status] if isinstance(status, (str, int)) else list(status)
    found = []
    for one in given:
        try:
            found.append(int(RunStatus[one.upper()] if isinstance(one, str) else RunStatus(one)))
        except (KeyError, ValueError) as error:
            names = (FAILED, *(s.name for s in RunStatus))
            raise InvalidOption("status", one, names) from error
    return found
