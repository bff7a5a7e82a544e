"""Names in a dataset: each is of one thing, and all can be kept in a store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cubie.errors import InvalidProblem
from cubie.sweeps.axes import Space
from cubie.sweeps.creating import GROUP
from cubie.sweeps.outputs import COMPONENT, TIME, Variable


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
    for name, dimension in _given(space, drawn):
        if name in taken:
            raise _taken(name, dimension)
        _require_keepable(name, "over")


def _given(space: Space, drawn: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Yield what users called, and whether it is a dimension alone."""
    for axis in space.axes:
        yield from ((name, False) for name in axis.names)
        if axis.dim not in axis.names:
            yield axis.dim, True
    yield from ((name, False) for name in drawn)


def _taken(name: str, dimension: bool) -> InvalidProblem:
    if dimension:
        return InvalidProblem(
            "over",
            f"has a dimension {name!r}, and results have something of that name. Call it "
            "otherwise: zipped(..., dim='sample').",
        )
    return InvalidProblem(
        "over",
        f"sweeps {name!r}, and results have something of that name. Rename the argument, or sweep "
        "it by its number, as in 'args[0]' or 'y0[0]'.",
    )


def _require_keepable(name: str, where: str) -> None:
    """Refuse names that Zarr has a meaning of its own for."""
    if "/" in name or not name.strip(".") or name.startswith("__") or name == "zarr.json":
        raise InvalidProblem(
            where,
            f"names {name!r}, and no store has a variable of such a name: it may hold no '/', not "
            "begin with '__', and be neither dots alone nor 'zarr.json'. Rename it.",
        )
