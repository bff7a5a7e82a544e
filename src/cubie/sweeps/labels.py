"""Labels of runs: the index of a table of pandas, and columns of which nothing is computed."""

import warnings
from typing import Any

import numpy as np

from cubie.errors import level_of_caller

Labels = tuple[tuple[str, np.ndarray], ...]
KEPT = "text, integers, floats or truth values"


def labels_of(rows: Any, dim: str) -> Labels:
    """Return what the index of a table calls its rows, each level by its name.

    A level without a name is called as the dimension is. Row numbers, and integers without a name
    that some rows have in common, say nothing of a run and are left out.

    Warns
    -----
    UserWarning
        Of levels that are left out though they say something, as dates, or a second one without
        a name.
    """
    index = getattr(rows, "index", None)
    if index is None or not hasattr(index, "get_level_values") or not hasattr(index, "names"):
        return ()
    found: dict[str, np.ndarray] = {}
    for i, given in enumerate(index.names):
        level = index.get_level_values(i)
        alone = given is None and len(index.names) == 1
        if alone and level.dtype.kind in "iu" and _are_row_numbers(level):
            continue
        name, values = dim if given is None else str(given), kept_labels(level)
        why = "has no name" if name in found else f"holds no {KEPT}" if values is None else ""
        if why or values is None:
            called = "the index" if given is None else f"the index {name!r}"
            advice = "Name each level." if name in found else "Convert it, as by astype(str)."
            warnings.warn(
                f"Of the table {called} {why}, and is not kept. {advice}",
                stacklevel=level_of_caller(),
            )
            continue
        found[name] = values
    return tuple(found.items())


def _are_row_numbers(level: Any) -> bool:
    values = np.asarray(level)
    return np.array_equal(values, np.arange(len(values))) or len(np.unique(values)) < len(values)


def kept_labels(given: Any) -> np.ndarray | None:
    """Return labels as an array that stores keep, which nobody changes; None where none does."""
    values = np.asarray(given)
    if values.dtype.kind in "OUT":
        if not all(isinstance(one, str) for one in values.tolist()):
            return None
        values = values.astype(str)
    elif values.dtype.kind not in "iufb":
        return None
    values = np.array(values)
    values.flags.writeable = False
    return values
