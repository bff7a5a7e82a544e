"""Constant mass matrices: M y' = f(t, y), M possibly singular."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from attrs import evolve

from cubie.backend import Backend
from cubie.errors import Described, InvalidOption
from cubie.reals import real_array
from cubie.systems.generated import load_module
from cubie.systems.store import digest_of_text
from cubie.systems.system import System

MassEntries = dict[tuple[int, int], float]
# Entries whose products are text; more of them are loops, whose code does not grow.
MOST_IN_TEXT = 100


def mass_entries(n_states: int, matrix: Any = None) -> MassEntries:
    """Return {(row, column): value} of the entries of a mass matrix that are not zero.

    Parameters
    ----------
    n_states : int
    matrix : array_like (n, n) or (n,), optional
        A vector is a diagonal; None is the identity.

    Raises
    ------
    InvalidOption
        For another shape, or values that are no finite numbers.
    """
    if matrix is None:
        return {(i, i): 1.0 for i in range(n_states)}
    try:
        array = real_array(matrix).astype(float)
    except (TypeError, ValueError) as error:
        allowed = (
            Described(f"a ({n_states}, {n_states}) matrix"),
            Described(f"{n_states} numbers"),
        )
        raise InvalidOption("mass_matrix", matrix, allowed, f"It {error}.") from error
    if array.ndim == 1:
        array = np.diag(array)
    if array.shape != (n_states, n_states):
        shape = Described(f"an array of shape {np.shape(matrix)}")
        shapes = (f"shape ({n_states}, {n_states})", f"shape ({n_states},) for a diagonal")
        allowed = tuple(map(Described, shapes))
        raise InvalidOption("mass_matrix", shape, allowed)
    if not np.isfinite(array).all():
        what = Described("a matrix with inf or nan")
        raise InvalidOption("mass_matrix", what, advice="Give finite values.")
    rows, columns = np.nonzero(array)
    return {(int(r), int(c)): float(array[r, c]) for r, c in zip(rows, columns, strict=True)}


def with_mass(system: System, matrix: Any) -> System:
    """Return the system M y' = f(t, y) of a system y' = f(t, y); the identity changes nothing."""
    entries = mass_entries(system.n_states, matrix)
    if is_identity(entries, system.n_states):
        return system
    numbers = range(system.n_states)
    rows = tuple(tuple(entries.get((i, j), 0.0) for j in numbers) for i in numbers)
    return evolve(system, mass=rows, digest=digest_with_mass(system.digest, rows))


def digest_with_mass(digest: str, rows: tuple[tuple[float, ...], ...] | None) -> str:
    """Return the digest of a system with these rows of a mass matrix; None: it has none."""
    return digest if rows is None else digest_of_text(f"{digest} mass {rows}")


def is_identity(mass: Mapping[tuple[int, int], float], n_states: int) -> bool:
    """Tell whether a mass matrix changes nothing."""
    return dict(mass) == mass_entries(n_states)


def is_singular(mass: Mapping[tuple[int, int], float], n_states: int) -> bool:
    """Tell whether some equations hold no derivative: algebraic ones, or sums that are."""
    matrix = np.zeros((n_states, n_states))
    for (i, j), value in mass.items():
        matrix[i, j] = value
    # Rows scaled: entries may be capacitances of picofarads beside ones.
    largest = np.abs(matrix).max(axis=1, keepdims=True)
    scaled = matrix / np.where(largest == 0.0, 1.0, largest)
    return bool(np.linalg.matrix_rank(scaled) < n_states)


def build_mass_product(
    backend: Backend, n_states: int, mass: Mapping[tuple[int, int], float]
) -> Callable:
    """Return ``add(factor, vec, vec_at, out, at)``: adds factor * (M vec)_i to ``out[at + i]``."""
    if is_identity(mass, n_states):

        def add(factor, vec, vec_at, out, at):
            for i in range(n_states):
                out[at + i] = out[at + i] + factor * vec[vec_at + i]

        return backend.device(add)
    if len(mass) > MOST_IN_TEXT:
        return backend.device(_product_by_rows(backend, mass))
    module = load_module(_write_product(n_states, mass))
    return backend.straight_line(module.add)


def _product_by_rows(backend: Backend, mass: Mapping[tuple[int, int], float]) -> Callable:
    """Return the product as loops over tables: the sums of the text, in the same order."""
    rows: dict[int, list[tuple[int, float]]] = {}
    for (row, column), value in sorted(mass.items()):
        rows.setdefault(row, []).append((column, value))
    entries = [entry for row in rows.values() for entry in row]
    n_rows, starts = len(rows), np.cumsum([0, *map(len, rows.values())])
    row_of, start = backend.table(np.array(list(rows))), backend.table(starts)
    column_of = backend.table(np.array([column for column, _ in entries]))
    weight = backend.table(np.array([value for _, value in entries], backend.dtype))

    def add(factor, vec, vec_at, out, at):
        for k in range(n_rows):
            first, where = start(k), at + row_of(k)
            total = weight(first) * vec[vec_at + column_of(first)]
            for p in range(first + 1, start(k + 1)):
                total = total + weight(p) * vec[vec_at + column_of(p)]
            out[where] = out[where] + factor * total

    return add


def _write_product(n_states: int, mass: Mapping[tuple[int, int], float]) -> str:
    lines = []
    for i in range(n_states):
        entries = sorted((c, value) for (row, c), value in mass.items() if row == i)
        if entries:
            total = " + ".join(f"{value!r} * vec[vec_at + {c}]" for c, value in entries)
            lines.append(f"out[at + {i}] = out[at + {i}] + factor * ({total})")
    body = "".join(f"    {line}\n" for line in lines) or "    pass\n"
    return (
        '"""Product with a mass matrix.\n\nWritten by cubie: changes are overwritten.\n"""\n\n\n'
        f"def add(factor, vec, vec_at, out, at):\n{body}"
    )
