"""Times at which the formulas of a model change over, which no step must cross unseen.

A dose from one time to another, ``piecewise(d, time < 10, ...)``, may be shorter than a step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cubie.models.description import Description
from cubie.models.formulas import TIME, Apply, Formula, comparisons_in, names_in, parts_of, value_of


def breaks_of(model: Description, value: Callable[[str], Any]) -> np.ndarray | None:
    """Return the times with which derivatives and quantities compare the time itself.

    Parameters
    ----------
    value : callable
        ``value(name)``: what a constant is, a number or (n_runs,).

    Returns
    -------
    ndarray (n_breaks,) or (n_runs, n_breaks), or None
        Without what is not finite; None where there is none.
    """
    constants, found = set(model.constants), {}
    for formula in (*model.rates.values(), *model.defined.values()):
        for compared in comparisons_in(formula):
            for one, other in (compared.arguments, compared.arguments[::-1]):
                if _is_time(one) and _is_constant(other, constants):
                    found[other] = np.asarray(value_of(other, value, 0.0), dtype=float)
    if not found:
        return None
    breaks = np.stack(np.broadcast_arrays(*found.values()), axis=-1)
    finite = np.isfinite(breaks)
    if breaks.ndim == 1:
        return breaks[finite] if finite.any() else None
    if not finite.any():
        return None
    # Where runs have fewer, one is there twice.
    instead = np.where(finite.any(axis=1), np.where(finite, breaks, -np.inf).max(axis=1), 0.0)
    return np.where(finite, breaks, instead[:, None])


def _is_time(formula: Formula) -> bool:
    return isinstance(formula, Apply) and formula.function == TIME


def _is_constant(formula: Formula, constants: set[str]) -> bool:
    varies = any(part.function == TIME for part in parts_of(formula))
    return not varies and all(name in constants for name in names_in(formula))
