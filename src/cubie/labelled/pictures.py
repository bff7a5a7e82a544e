"""Pictures of labelled results: heat maps, lines, fans of trajectories, maps of how runs ended.

A thin layer on matplotlib: what is drawn where is decided by dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cubie.errors import InvalidOption
from cubie.labelled.choice import quantity, selected, with_axis
from cubie.labelled.curves import curves_of, draw_curves
from cubie.labelled.maps import draw_map, is_mesh
from cubie.labelled.packages import matplotlib
from cubie.labelled.view import View
from cubie.labelled.words import (
    POINT,
    STATUS,
    TIME,
)

BANDS = (0.5, 0.9)
ENDED = " how the run ended"  # no name that a user gives
FEWEST_OF_A_SCALE = 3  # values, by which it is seen what scale they are on


def plot(
    dataset: Any,
    what: str,
    *,
    x: str | None = None,
    y: str | None = None,
    over: str | Sequence[str] | None = None,
    sel: Mapping[str, Any] | None = None,
    bands: float | Sequence[float] = BANDS,
    ax: Any = None,
    **how: Any,
) -> Any:
    """Draw a quantity of a dataset.

    Two axes give a heat map, one gives lines, the time gives trajectories: with a median and bands
    of all runs where there are several. "status" gives a map of how runs ended.

    Parameters
    ----------
    dataset : xarray.Dataset
        Of `Sweep.to_xarray`, `Result.to_xarray`, or read from a store by xarray.
    what : str
        A variable ("max of x"), a component of the states ("x"), or of complex ones "abs of psi"
        ("angle", "real" and "imag" too).
    x, y : str, optional
        What goes along the axes of the picture: dimensions, coordinates along them, or other
        quantities. By default the time, or the first two axes that are swept.
    over : str or sequence of str, optional
        Axes whose runs are drawn together, as a median with bands; in a heat map the median. Of
        trajectories by default those of samples and tables, where there are none all axes of runs;
        ``over=()`` draws each run.
    sel : mapping, optional
        Where to look along other axes: a value (of numbers the nearest), several, or a slice.
    bands : float or sequence of float
        Which shares of the runs lie within the bands.
    ax : matplotlib.axes.Axes, optional
        What to draw into; by default a new figure.
    **how
        What matplotlib takes: `cmap`, `vmin`, `vmax`, `norm` of heat maps, `color`, `linewidth`,
        `marker` of lines, `xscale` and `yscale` of both: "log" by default where values lie evenly
        on such a scale, as those of `numpy.geomspace` do.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    InvalidOption
        Where there is no such thing, or where more axes are left than a picture has.
    ImportError
        Where matplotlib is not installed.
    """
    view = _view(dataset, what, x, y, over, sel)
    shares = _shares(bands)
    how = _scales(view) | how
    if view.y is None and view.x in dataset[STATUS].dims and view.x not in dataset.coords:
        how = {"marker": ".", "linestyle": "none"} | how  # draws, and rows, lie in no order
    if ax is None:
        _, ax = matplotlib("pyplot").subplots(layout="constrained")
    if view.y is None:
        return draw_curves(view, shares, ax, how)
    return draw_map(view, ax, how)


def _scales(view: View) -> dict[str, str]:
    """Return scales of logarithms for axes whose values lie evenly on them."""
    named = {"xscale": view.x, "yscale": view.y}
    return {
        option: "log"
        for option, name in named.items()
        if name is not None and _is_geometric(view.array[name])
    }


def _is_geometric(axis: Any) -> bool:
    if axis.ndim != 1 or axis.size < FEWEST_OF_A_SCALE or axis.dtype.kind not in "fiu":
        return False
    values = np.sort(axis.values)
    if not values[0] > 0:
        return False
    steps = np.diff(np.log(values))
    # Of few that lie close together it cannot be seen.
    return values[-1] > 2 * values[0] and np.ptp(steps) < 1e-6 * steps.mean()


def require_drawable(
    dataset: Any,
    what: str,
    *,
    x: str | None = None,
    y: str | None = None,
    over: str | Sequence[str] | None = None,
    sel: Mapping[str, Any] | None = None,
) -> None:
    """Refuse what `plot` would refuse, without drawing: of a dataset whose numbers do not matter.

    Raises
    ------
    InvalidOption
    """
    view = _view(dataset, what, x, y, over, sel)
    curves_of(view) if view.y is None else is_mesh(view)


def _view(dataset: Any, what: str, x: Any, y: Any, over: Any, sel: Any) -> View:
    array = quantity(dataset, what)
    for option, name in (("x", x), ("y", y)):
        if name is not None:
            array = with_axis(array, dataset, name, option)
    array = selected(_with_ended(array, dataset), sel)
    together = _dimensions(array, over)
    along = [dim for name in (x, y) if name is not None for dim in array[name].dims]
    kept = {*along, *(together or ())}
    array = array.squeeze([d for d in array.dims if array.sizes[d] == 1 and d not in kept])
    runs = tuple(d for d in array.dims if d in dataset[STATUS].dims)
    if x is None:
        x, y = _usual_axes(array, runs, y, together or ())
        array = with_axis(array, dataset, x, "x")
    ended = None
    if ENDED in array.coords:  # no coordinate of the picture: titles would name it
        ended, array = array[ENDED], array.drop_vars(ENDED)
        ended = ended.drop_vars(list(ended.coords))
    is_status = what == STATUS
    if together is None:
        of_time = y is None and {TIME, POINT} & set(map(str, array[x].dims))
        evenly = array[x].ndim == 1
        together = _pooled(array, runs, x) if of_time and evenly else ()
        if is_status:
            together = ()
    elif is_status and together:
        raise InvalidOption("over", over, advice="How runs ended has no median; leave it out.")
    _require_numbers(array, what)
    return View(
        array,
        str(what),
        x,
        y,
        together,
        is_status,
        dict(dataset[what].attrs) if is_status else {},
        ended,
    )


def _with_ended(array: Any, dataset: Any) -> Any:
    """Return numbers of runs with how these ended, which is chosen from as the numbers are."""
    status = dataset[STATUS]
    if not set(status.dims) <= set(array.dims):
        return array
    return array.assign_coords({ENDED: status.variable})


def _pooled(array: Any, runs: tuple, x: str) -> tuple[str, ...]:
    """Return whose trajectories are drawn together where nobody says so.

    Runs of a sample, or of a table, have no values of their own. Beside such, each value of an axis
    has a curve of its own: a median over doses and bodies is of nobody.
    """
    others = tuple(d for d in runs if d not in array[x].dims)
    drawn = tuple(d for d in others if d not in array.coords)
    return drawn or others


def _dimensions(array: Any, over: Any) -> tuple[str, ...] | None:
    if over is None:
        return None
    names = (over,) if isinstance(over, str) else tuple(over)
    for name in names:
        if name not in array.dims:
            raise InvalidOption("over", name, tuple(map(str, array.dims)))
    return names


def _usual_axes(array: Any, runs: tuple, y: Any, together: tuple) -> tuple[str, str | None]:
    """Return what goes along the axes where nobody says so."""
    if not array.dims:
        raise InvalidOption(
            "sel", "all axes",
            advice=f"What is left of {array.name!r} is one number: leave an axis to draw it over.",
        )  # fmt: skip
    free = [d for d in array.dims if d not in together and (y is None or d not in array[y].dims)]
    for name in (TIME, POINT):
        if name in array.dims and y is None:
            return (TIME if TIME in array.coords else name), None
    of_runs = [d for d in free if d in runs]
    if y is None and len(of_runs) == 2 and len(free) == 2:
        return str(of_runs[0]), str(of_runs[1])
    first = (of_runs or free or list(array.dims))[0]
    return str(first), y


def _require_numbers(array: Any, what: str) -> None:
    if array.dtype.kind == "c":
        raise InvalidOption(
            "what", what,
            advice=f"It is complex: draw 'abs of {what}', or 'real', 'imag' or 'angle' of it.",
        )  # fmt: skip
    if array.dtype.kind not in "fiub":
        raise InvalidOption("what", what, advice=f"It holds {array.dtype}, which are no numbers.")


def _shares(bands: Any) -> tuple[float, ...]:
    given = tuple(np.atleast_1d(np.asarray(bands, dtype=float)).tolist())
    if not all(0 < share <= 1 for share in given):
        raise InvalidOption("bands", bands, advice="Give shares of the runs: above 0, at most 1.")
    return tuple(sorted(given, reverse=True))
