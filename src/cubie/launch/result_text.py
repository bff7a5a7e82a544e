"""A result in a few lines: what happened, what there is, how much work it was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cubie.errors import shown
from cubie.status import RunStatus

MOST_NAMES = 6  # of states, observables, statuses
MOST_NOTES = 3
COUNTS = ("nfev", "njev", "nlu", "n_newton", "n_linear")


def checked_key(key: Any) -> str:
    """Refuse what is no name of a field, such as the number of a run."""
    if not isinstance(key, str):
        told = f"A result has names, as result['y'], and no {key!r}: of a run see result.y[run]."
        raise TypeError(told)
    return key


def result_text(result: Any) -> str:
    """Return what `repr` of a `Result` shows: a line for each thing, as many as fit on a screen."""
    lines = {
        "message": result.message,
        "success": _success(result),
        "status": _statuses(result),
        "t": _times(result),
        "y": _states(result),
    }
    if result.observables:
        lines["observables"] = _named(list(result.observables))
    if result.summaries:
        lines["summaries"] = _named(
            [f"{k}: {_named(list(v))}" for k, v in result.summaries.items()]
        )
    lines["sol"] = shown(result.sol)
    lines["t_events"], lines["y_events"] = _events(result)
    lines["steps"] = f"{_range(result.n_steps)} accepted, {_range(result.n_rejected)} rejected"
    lines["work"] = ", ".join(
        f"{name} {_range(getattr(result, name))}"
        for name in COUNTS
        if name in COUNTS[:3] or np.any(getattr(result, name))
    )
    lines["solve_seconds"] = f"{result.solve_seconds:.3g}"
    for number, note in enumerate(result.notes[:MOST_NOTES]):
        lines[f"note {number + 1}" if len(result.notes) > 1 else "note"] = note
    if len(result.notes) > MOST_NOTES:
        lines["notes"] = f"{len(result.notes) - MOST_NOTES} more in `notes`"
    width = max(map(len, lines))
    return "\n".join(f"{name:>{width}}: {text}" for name, text in lines.items())


def _success(result: Any) -> str:
    success = result.success
    if np.ndim(success) == 0:
        return str(bool(success))
    return f"{int(np.count_nonzero(success)):,} of {len(success):,} runs"


def _statuses(result: Any) -> str:
    codes, counts = np.unique(np.atleast_1d(result.status), return_counts=True)
    names = [f"{code} ({RunStatus(int(code)).name})" for code in codes[::-1]]
    if np.ndim(result.status) == 0:
        return names[0]
    return _named([f"{n:,} x {name}" for n, name in zip(counts[::-1], names, strict=True)])


def _times(result: Any) -> str:
    times = result.t
    if not isinstance(times, np.ndarray):
        return repr(times)
    if not times.size:
        return "no points"
    if times.size == 1:
        return f"{times.flat[0]:.6g}"
    if times.ndim == 2:
        return f"{times.shape}, within {np.nanmin(times):.6g} and {np.nanmax(times):.6g}"
    return f"{times.shape}, from {times.flat[0]:.6g} to {times.flat[-1]:.6g}"


def _states(result: Any) -> str:
    states = result.y
    if states is None:
        return "None: no states are kept"
    text = f"{states.shape} {states.dtype.name}" if isinstance(states, np.ndarray) else repr(states)
    return f"{text}, of {_named(result.state_names)}" if result.state_names else text


def _events(result: Any) -> tuple[str, str]:
    if result.n_events is None:
        return "None", "None"
    n = len(result.n_events)
    if not n:
        return "no events", "no events"
    times = _named([_range(counts) for counts in result.n_events])
    shapes = _named([str(shape) for shape in result._shapes_of_states])
    return f"{n} event{'' if n == 1 else 's'}, {times} times", shapes


def _named(names: Sequence[str]) -> str:
    listed = ", ".join(names[:MOST_NAMES])
    return f"{listed}, ... ({len(names)})" if len(names) > MOST_NAMES else listed


def _range(values: Any) -> str:
    if np.ndim(values) == 0:
        return f"{int(values):,}"
    least, most = int(np.min(values)), int(np.max(values))
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"
