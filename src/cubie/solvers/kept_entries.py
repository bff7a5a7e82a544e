"""Which entries of ``shift * M - J`` a factorised preconditioner keeps, and how it eliminates.

All of them are LU factors of what was kept, by the tables of `cubie.solvers.lu_tables`:

- "ilu0" keeps every entry and drops what would fill in between (incomplete LU without fill: Saad,
  Iterative Methods for Sparse Linear Systems, 2nd edition, 10.3.2), in the order of the states;
- "block_jacobi" keeps diagonal blocks of states that stand beside each other (Saad, 12.2.2), and
- "banded" what lies near the diagonal; both are then eliminated exactly.

Where no numbers could make what is kept regular, diagonal entries of zero are added to it: the
factorisation puts something in place of a pivot that is none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
from attrs import field, frozen

from cubie.errors import Described, InvalidOption
from cubie.solvers.elimination import (
    Elimination,
    Position,
    StructurallySingular,
    eliminate,
    eliminate_without_fill,
)
from cubie.solvers.krylov_settings import BLOCK_SIZE, KrylovSettings

# A band that is found has at most so many places for each entry of the matrix.
PLACES_PER_ENTRY = 2
FACTORISED = ("ilu0", "block_jacobi", "banded")


@frozen
class KeptEntries:
    """What is kept of a matrix.

    Attributes
    ----------
    elimination : Elimination
        Of what was kept: entries of the Jacobian first.
    numbers : tuple of int
        Which entries of the Jacobian's pattern they are.
    mass : tuple of positions
        Entries of the mass matrix that were kept.
    words : str
        What was kept, for people.
    """

    elimination: Elimination
    numbers: tuple[int, ...] = field(repr=False)
    mass: tuple[Position, ...] = field(repr=False)
    words: str


def keep_entries(
    settings: KrylovSettings, n: int, pattern: Sequence[Position], mass: Collection[Position]
) -> KeptEntries:
    """Choose what the preconditioner of the settings keeps of a matrix.

    Parameters
    ----------
    settings : KrylovSettings
        With a preconditioner that is one of `FACTORISED`.
    n : int
        States.
    pattern, mass : positions (row, column)
        Of the entries of the Jacobian, and of the mass matrix.

    Raises
    ------
    InvalidOption
        For blocks, or a band, larger than the system.
    """
    choose: dict[str, Callable] = {"ilu0": _all, "block_jacobi": _in_blocks, "banded": _in_band}
    keeps, words = choose[settings.preconditioner](settings, n, {*pattern, *mass})
    numbers = tuple(k for k, place in enumerate(pattern) if keeps(*place))
    first, more = [pattern[k] for k in numbers], sorted(p for p in mass if keeps(*p))
    factorise = eliminate_without_fill if settings.preconditioner == "ilu0" else eliminate
    try:
        elimination = factorise(n, first, more)
    except StructurallySingular:
        elimination = factorise(n, first, [*more, *((i, i) for i in range(n))])
    n_kept, n_all = len({*first, *more}), len({*pattern, *mass})
    words = f"{words}: {n_kept} of {n_all} entries, {elimination.n_slots} in the factors"
    return KeptEntries(elimination, numbers, tuple(more), words)


def _all(settings: KrylovSettings, n: int, places: Collection[Position]):
    return lambda row, column: True, "incomplete LU without fill"


def _in_blocks(settings: KrylovSettings, n: int, places: Collection[Position]):
    size = settings.jacobi_block_size
    if size is not None and size > n:
        raise _larger_than_the_system("jacobi_block_size", size, n, n)
    size = min(BLOCK_SIZE, n) if size is None else size
    n_blocks = -(-n // size)
    return (
        lambda row, column: row // size == column // size,
        f"{n_blocks} diagonal blocks of {size} states",
    )


def _in_band(settings: KrylovSettings, n: int, places: Collection[Position]):
    width = settings.preconditioner_bandwidth
    if width is not None and width > n - 1:
        raise _larger_than_the_system("preconditioner_bandwidth", width, n, n - 1)
    found = "found" if width is None else "given"
    width = _found_width(n, places) if width is None else width
    return (
        lambda row, column: abs(row - column) <= width,
        f"a band of {width} on either side of the diagonal ({found})",
    )


def _found_width(n: int, places: Collection[Position]) -> int:
    """Return the widest distance of an entry whose band has few places for each entry."""
    distances = np.unique([abs(row - column) for row, column in places])
    n_places = n + 2 * n * distances - distances * (distances + 1)
    fits = distances[n_places <= PLACES_PER_ENTRY * len(places)]
    return int(fits.max(initial=0))


def _larger_than_the_system(option: str, value: int, n: int, most: int) -> InvalidOption:
    states = "1 state" if n == 1 else f"{n} states"
    return InvalidOption(
        option,
        Described(f"{value}, for a system of {states}"),
        advice=f"Give at most {most}, or leave it out.",
    )
