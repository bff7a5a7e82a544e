"""What to tell whoever gave an array that does not sweep where it may have been meant to."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from cubie.systems.errors import BatchShapeError, RightHandSideError

T = TypeVar("T")

HOW = (
    "Only NumPy arrays of numbers sweep: for one entry a run give np.asarray({0}, dtype=float), "
    "for one vector of all runs a list."
)
HOW_A_TABLE = (
    "Only NumPy arrays of numbers sweep: for one row a run give np.asarray({0}, dtype=float), and "
    "y0 once a run as well, np.tile(y0, ({1}, 1)); or each column as a 1-D array of its own."
)


def advised(batch: Any, trace: Callable[..., T], *given: Any, **options: Any) -> T:
    """Trace for one run of a `Batch`; where that fails, say what a run gets of arrays."""
    try:
        return trace(*given, **options, **batch.of_args)
    except RightHandSideError as error:
        raised = error.__cause__ is not None
        advice = [batch.advice] if batch.vectors and raised else []
        if raised or error.of_shape:
            advice += batch.unswept
        if batch.in_rows and _has_other_states(error, batch):
            advice.append(
                f"y0 has shape {(batch.n_runs, len(batch.y0))}, a row for each of {batch.n_runs} "
                f"runs with {len(batch.y0)} states: if its columns are the runs, give "
                "np.transpose(y0)."
            )
        if advice:
            raise type(error)(" ".join([str(error), *advice])) from error.__cause__
        raise


def _has_other_states(error: RightHandSideError, batch: Any) -> bool:
    """Tell whether a function may have been written for as many states as there are runs."""
    if error.n_values is not None:
        return error.n_values == batch.n_runs
    cause = error.__cause__
    return isinstance(cause, IndexError) or (
        isinstance(cause, ValueError) and "unpack" in str(cause)
    )


def require_sweepable(leaves, n_runs):
    """Refuse what is as long as there are runs, but does not sweep.

    Parameters
    ----------
    leaves : sequence of Leaf
    n_runs : int or None

    Raises
    ------
    BatchShapeError
    """
    for leaf in leaves:
        shape = _shape(leaf)
        if not leaf.numeric and shape and shape[0] == n_runs:
            raise BatchShapeError(
                f"{_what(leaf, shape)}, and there are {n_runs} runs: it is not clear whether each "
                f"gets one entry. {HOW.format(leaf.label)}"
            )


def unswept(leaves, n_runs, y0_shape):
    """Return a sentence for each array that serves all runs as it is."""
    sentences = []
    for leaf in leaves:
        shape = _shape(leaf)
        if _holds_arrays(leaf):
            sentences.append(
                f"{leaf.label} is a {type(leaf.value).__name__}: arrays in it serve every run. "
                "What sweeps stands in args itself, or in a tuple, list or dict of it."
            )
        if not shape or (leaf.numeric and shape[0] == n_runs):
            continue
        if not leaf.numeric:
            how = HOW if len(shape) == 1 or n_runs is not None else HOW_A_TABLE
            sentences.append(
                f"{_what(leaf, shape)}: all of it serves every run. "
                f"{how.format(leaf.label, shape[0])}"
            )
        elif n_runs is not None:
            sentences.append(
                f"{leaf.label} has shape {shape}: all of it serves every run. It would sweep if "
                f"its first axis had the length of the number of runs, {n_runs}."
            )
        else:
            sentences.append(
                f"{leaf.label} has shape {shape}: all of it serves every run, because with y0 of "
                f"shape {y0_shape} only 1-D arrays sweep. For one row a run give y0 once a run as "
                f"well, np.tile(y0, ({shape[0]}, 1)), or each column, or a grid after .ravel(), as "
                "a 1-D array of its own."
            )
    return tuple(sentences)


def taken_for_vectors(leaves, n_runs, n_states):
    """Return a sentence for each series of a single run that is as long as the state.

    Multiplied with the state it gives no error, but was perhaps meant to sweep.
    """
    if n_runs is not None or n_states == 1:
        return ()
    return tuple(
        f"{_what(leaf, _shape(leaf))}: it serves one run as a vector. {HOW.format(leaf.label)}"
        for leaf in leaves
        if not leaf.numeric and not _is_mask(leaf.value) and _shape(leaf) == (n_states,)
    )


def _shape(leaf):
    """Return the shape of an array, a series or a table, () of anything else."""
    if leaf.numeric:
        return tuple(leaf.shape)
    # Asked of the class: an object may compute any attribute it is asked for.
    if not hasattr(type(leaf.value), "__array__"):
        return ()
    shape = getattr(leaf.value, "shape", ())
    return shape if isinstance(shape, tuple) else ()


def _holds_arrays(leaf):
    """Tell whether an object that is no plain container has arrays as attributes or entries."""
    if leaf.numeric or hasattr(type(leaf.value), "__array__") or isinstance(leaf.value, type):
        return False
    held = leaf.value if isinstance(leaf.value, (tuple, list)) else _attributes(leaf.value).values()
    return any(isinstance(entry, np.ndarray) and entry.ndim for entry in held)


def _attributes(value):
    try:
        return vars(value)
    except TypeError:
        return {}


def _is_mask(value):
    return isinstance(value, np.ndarray) and value.dtype.kind == "b"


def _what(leaf, shape):
    kind = type(leaf.value)
    if kind is np.ndarray:
        what = f"an array of {_ENTRIES.get(leaf.value.dtype.kind, 'other than numbers')}"
    else:
        what = f"a {kind.__module__.partition('.')[0]}.{kind.__name__}"
    return f"{leaf.label} is {what} of shape {tuple(shape)}"


_ENTRIES = {"b": "truth values", "O": "objects", "U": "text", "S": "text", "M": "dates"}
