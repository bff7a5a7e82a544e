"""Names in a dataset: each is of one thing, and all can be kept in a store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from cubie.errors import InvalidProblem
from cubie.labelled.words import COMPONENT, TIME
from cubie.sweeps.axes import Rows, Space
from cubie.sweeps.creating import GROUP
from cubie.sweeps.variable import Variable

VALUES, LABELS, DIMENSION = "values", "labels", "dimension"
TAKEN: Mapping[str, str] = MappingProxyType({
    VALUES: "sweeps {}, and results have something of that name. Rename the argument, or sweep it "
    "by its number, as in 'args[0]' or 'y0[0]'.",
    LABELS: "has labels {}, and results have something of that name. Call them otherwise: "
    "rows.rename_axis('label').",
    DIMENSION: "has a dimension {}, and results have something of that name. Call it otherwise: "
    "zipped(..., dim='sample').",
})  # fmt: skip


def require_names(space: Space, drawn: Sequence[str], variables: Sequence[Variable]) -> None:
    """Refuse names that mean two things, and those that a store cannot have.

    In memory as in a store: where results are kept is to change nothing of them.

    Raises
    ------
    InvalidProblem
    """
    own = {dim for variable in variables for dim in variable.dims} | {COMPONENT, TIME}
    taken = own | {GROUP}
    for variable in variables:
        if variable.name in taken:
            raise InvalidProblem(
                "observables",
                f"names {variable.name!r}, which a sweep keeps something else under. Call it "
                "otherwise.",
            )
        _require_keepable(variable.name, "observables")
        taken.add(variable.name)
    for name, what in _given(space, drawn):
        if name in taken:
            raise InvalidProblem("over", TAKEN[what].format(repr(name)))
        _require_keepable(name, "over")


def _given(space: Space, drawn: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield what users called, and what it is of."""
    for axis in space.axes:
        yield from ((name, VALUES) for name in axis.names)
        labels = [name for name, _ in axis.labels] if isinstance(axis, Rows) else []
        yield from ((name, LABELS) for name in labels)
        if axis.dim not in (*axis.names, *labels):
            yield axis.dim, DIMENSION
    yield from ((name, VALUES) for name in drawn)


def _require_keepable(name: str, where: str) -> None:
    """Refuse names that Zarr has a meaning of its own for."""
    if "/" in name or not name.strip(".") or name.startswith("__") or name == "zarr.json":
        raise InvalidProblem(
            where,
            f"names {name!r}, and no store has a variable of such a name: it may hold no '/', not "
            "begin with '__', and be neither dots alone nor 'zarr.json'. Rename it.",
        )
