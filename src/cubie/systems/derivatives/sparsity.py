"""The user's `jac_sparsity`, or `lband` and `uband`: where the Jacobian may differ from zero."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from attrs import evolve, frozen

from cubie.errors import Described, InvalidOption
from cubie.reals import as_int
from cubie.systems.derivatives.given_jacobian import dense
from cubie.systems.system import System

Entries = tuple[tuple[int, int], ...]  # (row, column), column after column

_FORMS = ("an (n, n) array, not zero where the Jacobian may be", "a SciPy sparse matrix of that")
_ALLOWED = tuple(map(Described, _FORMS))
# By how much of itself a state is changed to see which derivatives it is in, and what of a
# derivative is rounding: terms that cancel may be added up in another order.
SHIFT, ROUNDING = 2.0**-10, 1e-12
MOST_SHOWN = 5  # entries in a message


@frozen
class Sparsity:
    """Which entries of a Jacobian may differ from zero, before the number of states is known.

    Attributes
    ----------
    option : str
        What it was given as, for messages.
    lower, upper : int
        Diagonals beside the main one, of bands.
    pattern : Entries or None
        None for bands.
    n_states : int or None
        That a pattern is for.
    """

    option: str
    lower: int = 0
    upper: int = 0
    pattern: Entries | None = None
    n_states: int | None = None

    def entries(self, n_states: int) -> Entries:
        """Return them for `n_states` states.

        Raises
        ------
        InvalidOption
            Where the pattern has another size.
        """
        if self.pattern is None:
            numbers = range(n_states)
            return tuple(
                (row, column)
                for column in numbers
                for row in numbers[max(0, column - self.upper) : column + self.lower + 1]
            )
        if self.n_states != n_states:
            given = Described(f"of shape ({self.n_states}, {self.n_states})")
            raise InvalidOption(self.option, given, (Described(f"shape ({n_states}, {n_states})"),))
        return self.pattern


def read_sparsity(given: Any, lband: Any = None, uband: Any = None) -> Sparsity | None:
    """Return what was given as `jac_sparsity`, or as `lband` and `uband`; None for nothing.

    Raises
    ------
    InvalidOption
        For what is neither, and for both at once.
    """
    if lband is not None or uband is not None:
        option = "uband" if lband is None else "lband"
        if given is not None:
            advice = f"Give either `jac_sparsity` or `{option}`, not both."
            raise InvalidOption("jac_sparsity", given, advice=advice)
        return Sparsity(option, _diagonals("lband", lband), _diagonals("uband", uband))
    if given is None:
        return None
    try:
        matrix = np.asarray(dense(given)) != 0
    except (TypeError, ValueError) as error:
        raise InvalidOption("jac_sparsity", given, _ALLOWED) from error
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        what = Described(f"an array of shape {matrix.shape}")
        raise InvalidOption("jac_sparsity", what, _ALLOWED)
    columns, rows = np.nonzero(matrix.T)
    pattern = tuple(zip(rows.tolist(), columns.tolist(), strict=True))
    return Sparsity("jac_sparsity", pattern=pattern, n_states=len(matrix))


def _diagonals(option: str, given: Any) -> int:
    if given is None:
        return 0
    number = as_int(given)
    if type(number) is not int or number < 0:
        allowed = (Described("a number of diagonals, 0 or more"),)
        raise InvalidOption(option, given, allowed)
    return number


def with_sparsity(system: System, sparsity: Sparsity | None) -> System:
    """Return the system with the pattern of its Jacobian, where differences are to use it.

    A traced system, and one with a Jacobian of the user's, has a pattern of its own.

    Raises
    ------
    InvalidOption
        Where a derivative depends on a state that the pattern says it does not.
    """
    if sparsity is None:
        return system
    entries = sparsity.entries(system.n_states)
    if system.kind == "traced" or system.jacobian_rows:
        return system
    missing = _missing(system, frozenset(entries))
    if missing:
        given = Described("a pattern without " + listed(missing))
        advice = (
            "There the derivative of the row's state changes with the column's. Add these entries, "
            "or leave the option out."
        )
        raise InvalidOption(sparsity.option, given, advice=advice)
    return evolve(system, sparsity=entries)


def _missing(system: System, entries: frozenset[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return entries that are not in a pattern, though a derivative was seen to change there."""
    missing: set[tuple[int, int]] = set()
    for t, y, p in system.samples:
        here = _derivative(system, t, y, p)
        if here is None:
            continue
        for column in range(system.n_states):
            moved = np.array(y, dtype=float)
            moved[column] += SHIFT * (1.0 + abs(moved[column]))
            there = _derivative(system, t, moved, p)
            if there is None:
                continue
            with np.errstate(invalid="ignore"):
                rounding = ROUNDING * (np.abs(here) + np.abs(there))
                changed = np.flatnonzero(np.abs(there - here) > rounding)
            missing |= {(int(row), column) for row in changed} - entries
    return sorted(missing)


def _derivative(system: System, t: float, y: np.ndarray, p: np.ndarray) -> np.ndarray | None:
    out = np.zeros(system.n_states)
    try:
        with np.errstate(all="ignore"):
            system.rhs(t, y.copy(), p.copy(), out, 0)
    except Exception:  # of the user's own, outside of its domain
        return None
    return out


def listed(entries: Sequence[tuple[int, int]]) -> str:
    """Return the first of some entries in words."""
    shown = ", ".join(f"({row}, {column})" for row, column in entries[:MOST_SHOWN])
    return f"{shown}, ..." if len(entries) > MOST_SHOWN else shown


def note_on_sparsity(
    sparsity: Sparsity | None, system: System, n_given: int, pattern: Callable[[], Entries]
) -> str:
    """Say why a pattern is not used, and where it contradicts the one that is.

    Parameters
    ----------
    sparsity : Sparsity or None
    system : System
    n_given : int
        Number of states as the user counts them: half as many where each is a pair.
    pattern : callable
        Returns the pattern that is used.
    """
    packed = sparsity is not None and sparsity.pattern is None and bool(system.jacobian_rows)
    if sparsity is None or packed or system.sparsity is not None:
        return ""
    why = "the given `jac` has zeros of its own" if system.jacobian_rows else (
        "the zeros of the Jacobian were derived from the traced right-hand side"
    )  # fmt: skip
    width = system.n_states // n_given
    used = {(row // width, column // width) for row, column in pattern()}
    missing = sorted(used - set(sparsity.entries(n_given)))
    wrong = ""
    if missing:
        wrong = (
            f" It leaves out {listed(missing)}, where the Jacobian may differ from zero: check the "
            "pattern, or the equations."
        )
    return f"`{sparsity.option}` is not used: {why}.{wrong}"


def column_groups(entries: Entries, n_states: int) -> tuple[tuple[int, ...], ...]:
    """Return groups of columns of which no two have an entry in the same row.

    One evaluation of the right-hand side gives the differences of a whole group (Curtis, Powell &
    Reid, J. Inst. Math. Appl. 13 (1974) 117-119). Columns come in their order, each to the first
    group that has room.
    """
    rows: list[set[int]] = [set() for _ in range(n_states)]
    for row, column in entries:
        rows[column].add(row)
    groups: list[list[int]] = []
    taken: list[set[int]] = []
    for column in range(n_states):
        if not rows[column]:
            continue
        at = next((i for i, other in enumerate(taken) if not other & rows[column]), len(groups))
        if at == len(groups):
            groups.append([])
            taken.append(set())
        groups[at].append(column)
        taken[at] |= rows[column]
    return tuple(map(tuple, groups))


def grouped(
    pattern: Entries, n_states: int
) -> tuple[tuple[tuple[int, ...], ...], np.ndarray, np.ndarray]:
    """Return groups of columns, the row of each entry, and where each column's entries start."""
    rows = np.array([row for row, _ in pattern], dtype=np.int64)
    counts = np.bincount([column for _, column in pattern], minlength=n_states)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return column_groups(pattern, n_states), rows, starts
