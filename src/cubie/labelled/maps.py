"""Heat maps over two axes, points of two quantities coloured by a third, maps of how runs ended."""

from __future__ import annotations

from typing import Any

import numpy as np

from cubie.errors import InvalidOption
from cubie.labelled.packages import matplotlib
from cubie.labelled.statuses import colour_of, names_of
from cubie.labelled.view import MOST_OF_AN_AXIS, View


def draw_map(view: View, ax: Any, how: dict[str, Any]) -> Any:
    """Draw numbers over two axes as colours, and return the matplotlib axes.

    Raises
    ------
    InvalidOption
    """
    return (_mesh if is_mesh(view) else _points)(view, ax, how)


def is_mesh(view: View) -> bool:
    """Tell whether a picture has a place for each value of two axes, or points along one.

    Raises
    ------
    InvalidOption
        Where it is neither.
    """
    assert view.y is not None
    x, y = view.array[view.x], view.array[view.y]
    if view.other_dims:
        _refuse_others(view)
    for option, name, axis in (("x", view.x, x), ("y", view.y, y)):
        if axis.dtype.kind not in "fiub":
            raise InvalidOption(option, name, advice=f"It holds {axis.dtype}: no real numbers.")
        if set(axis.dims) & set(view.together):
            raise InvalidOption(
                "over", view.together, advice=f"{name!r} varies along it: give another `{option}`."
            )
    if x.ndim == y.ndim == 1 and x.dims != y.dims:
        for option, name, axis in (("x", view.x, x), ("y", view.y, y)):
            if axis.size < 2:
                raise InvalidOption(option, name, advice="It has one value: leave it out.")
        return True
    if set(x.dims) == set(y.dims):
        return False
    raise InvalidOption(
        "y", view.y,
        advice=f"It varies along {', '.join(map(str, y.dims))}, and {view.x!r} along "
        f"{', '.join(map(str, x.dims))}: a heat map needs one of its own for each, points the same "
        "for both.",
    )  # fmt: skip


def _refuse_others(view: View) -> None:
    others = view.other_dims
    told = ", ".join(f"{d} ({view.array.sizes[d]:,} values)" for d in others)
    raise InvalidOption(
        "what", view.what,
        advice=f"Beside {view.x} and {view.y} it varies along {told}: choose one by "
        f"sel={{{others[0]!r}: ...}}"
        + ("." if view.is_status else f", or draw their median by over={others[0]!r}."),
    )  # fmt: skip


def _mesh(view: View, ax: Any, how: dict[str, Any]) -> Any:
    assert view.y is not None
    dims = [view.array[name].dims[0] for name in (view.x, view.y)]
    view = view.thin(dict.fromkeys(dims, MOST_OF_AN_AXIS)).of_few_numbers(view.together)
    view = view.without_failed("medians" if view.together else "").with_median()
    array = view.array.sortby([view.x, view.y])
    if view.is_status:
        shown, how, codes = _coded(array, how)
    else:
        shown, codes = array, None
        how = {"cbar_kwargs": {"label": view.own_label}, **how}
    shown.plot.pcolormesh(x=view.x, y=view.y, ax=ax, **how)
    return _finished(view, ax, codes)


def _points(view: View, ax: Any, how: dict[str, Any]) -> Any:
    assert view.y is not None
    view = view.of_few_numbers(view.together)
    if view.together:
        view = view.without_failed("medians").with_median()
    view = view.of_few_numbers(view.array.dims).without_failed()
    array, how = view.array, dict(how)
    scales = {name: how.pop(name) for name in ("xscale", "yscale") if name in how}
    shown, codes = array, None
    if view.is_status:
        shown, how, codes = _coded(array, how)
        how.pop("add_colorbar")
    xs, ys = (array[n].transpose(*array.dims).values.reshape(-1) for n in (view.x, view.y))
    drawn = ax.scatter(xs, ys, c=shown.values.reshape(-1), **{"s": 12, **how})
    if codes is None:
        ax.figure.colorbar(drawn, ax=ax, label=view.own_label)
    ax.set(**scales)
    return _finished(view, ax, codes)


def _coded(array: Any, how: dict[str, Any]) -> tuple[Any, dict[str, Any], np.ndarray]:
    """Return codes as numbers from 0 on, and how they are coloured."""
    colours = matplotlib("colors")
    codes, places = np.unique(array.values, return_inverse=True)
    shown = array.copy(data=places.reshape(array.shape))
    cmap = colours.ListedColormap([colour_of(int(code)) for code in codes])
    norm = colours.BoundaryNorm(np.arange(len(codes) + 1) - 0.5, max(len(codes), 1))
    return shown, {"cmap": cmap, "norm": norm, "add_colorbar": False, **how}, codes


def _finished(view: View, ax: Any, codes: np.ndarray | None) -> Any:
    assert view.y is not None
    ax.set(xlabel=view.label(view.x), ylabel=view.label(view.y), title=view.title)
    if codes is not None:
        patch, names = matplotlib("patches").Patch, names_of(view.about)
        ax.legend(
            handles=[
                patch(facecolor=colour_of(int(code)), edgecolor="#666666", linewidth=0.5,
                      label=names.get(int(code), str(code)))
                for code in codes[::-1]
            ],
            title=view.what, loc="upper left", bbox_to_anchor=(1.02, 1.0),
        )  # fmt: skip
    return ax
