"""Tables as users give them: which columns are swept, and which only label the runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from cubie.errors import InvalidOption, InvalidProblem
from cubie.sweeps.labels import KEPT, Labels, kept_labels
from cubie.sweeps.values import checked_names, column


def columns_of(
    rows: Any, names: Sequence[str] | None, labels: Any, dim: str
) -> tuple[dict[str, np.ndarray], Labels]:
    """Return what a table sweeps, and what its runs are called by.

    Parameters
    ----------
    rows, names, labels, dim
        See `cubie.table`.

    Raises
    ------
    InvalidOption, InvalidProblem
    """
    if isinstance(names, str):
        raise InvalidOption("names", names, advice="Give a list, one name for each column.")
    named = _named_columns(rows)
    of_array = named is None
    named = _of_array(rows, names) if named is None else named
    own = [labels] if isinstance(labels, str) else list(labels or ())
    for option, given in (("names", () if of_array else names or ()), ("labels", own)):
        unknown = [name for name in given if name not in named]
        if unknown:
            raise InvalidOption(option, unknown[0], tuple(named))
    if names is None or of_array:
        swept = [name for name in named if name not in own]
    else:
        swept = list(names)
        # As who leaves it out, and calls the dimension by it, expects.
        own += [dim] if dim in named and dim not in (*swept, *own) else []
    both = [name for name in swept if name in own]
    if both:
        raise InvalidOption("labels", both[0], advice="It is swept, too: leave it out of `names`.")
    if not swept:
        raise InvalidProblem("over", "is a table of labels alone: no column is swept.")
    require_different("name", [*swept, *own])
    found = tuple((name, _label(name, named[name])) for name in own)
    return _swept({name: named[name] for name in swept}), found


def advice_of_labels(name: str) -> str:
    """Return what to do about a column that is neither an argument nor a state."""
    return f"A column that only labels the runs is named by table(rows, labels=[{name!r}])."


def require_different(what: str, names: Iterable[str]) -> None:
    """Refuse a name, or a dimension, that comes twice.

    Raises
    ------
    InvalidProblem
    """
    seen: set[str] = set()
    for name in names:
        if name in seen:
            advice = "Each is swept once."
            if what == "dimension":
                advice = "Call one otherwise: zipped(..., dim='sample')."
            raise InvalidProblem("over", f"has the {what} {name!r} twice. {advice}")
        seen.add(name)


def _named_columns(rows: Any) -> dict[Any, Any] | None:
    """Return columns by name; None of what has no names."""
    if isinstance(rows, Mapping):
        return dict(rows)
    fields = getattr(getattr(rows, "dtype", None), "names", None)
    if fields:
        return {name: rows[name] for name in fields}
    if hasattr(rows, "columns") and hasattr(rows, "__getitem__"):  # of pandas, and others like it
        require_different("name", list(map(str, rows.columns)))
        return {str(name): np.asarray(rows[name]) for name in rows.columns}
    return None


def _of_array(rows: Any, names: Sequence[str] | None) -> dict[str, np.ndarray]:
    array = np.asarray(rows)
    if array.ndim != 2:
        raise InvalidProblem(
            "over",
            f"is a table of shape {array.shape}, but must have rows and columns, (n_rows, "
            "n_names).",
        )
    if names is None or len(names) != array.shape[1]:
        given = "none" if names is None else len(names)
        raise InvalidProblem(
            "over",
            f"is a table of {array.shape[1]} columns, and names= has {given}: name each.",
        )
    require_different("name", list(names))
    return {name: array[:, i] for i, name in enumerate(names)}


def _swept(named: dict[str, Any]) -> dict[str, np.ndarray]:
    checked_names(named)
    try:
        return {name: column(name, values) for name, values in named.items()}
    except InvalidProblem as error:
        text = [n for n, v in named.items() if np.asarray(v).dtype.kind in "OUT"]
        if not text:
            raise
        told = str(error).removeprefix("`over` ")
        raise InvalidProblem("over", f"{told} {advice_of_labels(text[0])}") from error


def _label(name: str, given: Any) -> np.ndarray:
    values = kept_labels(given)
    if values is None or values.ndim != 1:
        raise InvalidProblem(
            "over",
            f"has labels {name!r} that are not {KEPT}, one for each row. Convert them, as by "
            "astype(str).",
        )
    return values
