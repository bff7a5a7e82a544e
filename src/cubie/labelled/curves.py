"""Lines over one axis, and fans: the median of many runs with bands that so many of them are in."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from cubie.errors import InvalidOption
from cubie.labelled.statuses import names_of
from cubie.labelled.view import View, quantiles, shown
from cubie.labelled.words import POINT, TIME

MOST_LINES = 10
OPACITIES = 0.2, 0.4  # of the outermost band, and of those inside


def draw_curves(view: View, shares: Sequence[float], ax: Any, how: dict[str, Any]) -> Any:
    """Draw numbers over one axis, and return the axes.

    Raises
    ------
    InvalidOption
    """
    how, scales = dict(how), {}
    for name in ("xscale", "yscale"):
        if name in how:
            scales[name] = how.pop(name)
    along, others = curves_of(view)
    view = view.of_few_numbers(view.together or along)
    view = view.without_failed("quantiles" if view.together else "")
    n = 0
    for label, part in _parts(view, others):
        _draw_one(part, view, along, shares, ax, {"label": label or None, **how})
        n += 1
    if n > 1 or view.together:
        ax.legend()
    ax.set(
        xlabel=view.label(view.x), ylabel=view.own_label, title=_title(view, shares, n), **scales
    )
    if view.is_status:
        _name_codes(view, ax)
    return ax


def curves_of(view: View) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the dimensions that a line goes along, and those of which each place has one.

    Raises
    ------
    InvalidOption
        Where there are too many.
    """
    along = _along(view)
    others = tuple(d for d in view.other_dims if d not in along)
    others += tuple(d for d in view.array[view.x].dims if d not in along)
    _require_few(view, others)
    return along, others


def _along(view: View) -> tuple[str, ...]:
    """Return the dimension that a line goes along; of points all those that they lie along."""
    dims = tuple(map(str, view.array[view.x].dims))
    if set(dims) & set(view.together):
        both = ", ".join(sorted(set(dims) & set(view.together)))
        raise InvalidOption(
            "over", view.together, advice=f"{view.x!r} varies along {both}: give another `x`."
        )
    in_time = tuple(d for d in dims if d in (TIME, POINT))
    return in_time or dims


def _require_few(view: View, others: Sequence[str]) -> None:
    sizes = {d: view.array.sizes[d] for d in others}
    if math.prod(sizes.values()) <= MOST_LINES:
        return
    told = ", ".join(f"{d} ({n:,} values)" for d, n in sizes.items())
    longest = max(sizes, key=lambda d: sizes[d])
    ways = [f"choose at most {MOST_LINES} by sel={{{longest!r}: ...}}"]
    if longest in view.array[view.x].dims:
        ways.append("solve with t_eval= for a median and bands")
    else:
        ways += [f"draw them together by over={longest!r}", f"make a heat map by y={longest!r}"]
    raise InvalidOption(
        "what", view.what,
        advice=f"Beside {view.x} it varies along {told}: {', '.join(ways[:-1])}, or {ways[-1]}.",
    )  # fmt: skip


def _parts(view: View, others: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Yield what each curve is called, and its numbers."""
    array = view.array
    for places in itertools.product(*(range(array.sizes[d]) for d in others)):
        at = dict(zip(others, places, strict=True))
        names = [_name_of(array, dim, place) for dim, place in at.items()]
        yield ", ".join(names), array.isel(at)


def _name_of(array: Any, dim: str, place: int) -> str:
    if dim not in array.coords:
        return f"{dim} = {place}"
    value = array[dim].values[place]
    return str(value) if array[dim].dtype.kind not in "fciu" else f"{dim} = {shown(value)}"


def _draw_one(
    part: Any, view: View, along: tuple[str, ...], shares: Sequence[float], ax: Any, how: dict
) -> None:
    xs = part[view.x].transpose(*along).values.reshape(-1)
    levels = [0.5]
    if view.together:
        for share in shares:
            levels += [0.5 - share / 2, 0.5 + share / 2]
        curves = quantiles(part, view.together, levels)
    else:
        curves, shares = [part], ()
    rows = [curve.transpose(*along).values.reshape(-1) for curve in curves]
    in_time = along[0] in (TIME, POINT)
    is_line = in_time or (len(along) == 1 and (view.x in view.array.dims or _is_ordered(xs)))
    if is_line and not in_time:
        order = np.argsort(xs, kind="stable")
        xs, rows = xs[order], [row[order] for row in rows]
    if not is_line:
        how = {"marker": ".", "linestyle": "none", **how}
    elif len(xs) == 1 or view.is_status:
        how = {"marker": "o", **how}
    elif (alone := _without_neighbours(rows[0])) and "marker" not in how:
        how = {"marker": ".", "markevery": alone, **how}
    if view.together and not how["label"]:
        how["label"] = "median"
    is_only = how["label"] == "median"
    (line,) = ax.plot(xs, rows[0], **how)
    bands = zip(shares, rows[1::2], rows[2::2], strict=True)
    for i, (share, low, high) in enumerate(bands):
        ax.fill_between(
            xs, low, high, color=line.get_color(), alpha=OPACITIES[min(i, 1)], linewidth=0,
            label=_share(share) if is_only else None,
        )  # fmt: skip


def _without_neighbours(values: np.ndarray) -> list[int]:
    """Return the places of numbers between others that are left out: a line does not show them."""
    there = np.concatenate([[False], np.isfinite(values), [False]])
    return np.flatnonzero(there[1:-1] & ~there[:-2] & ~there[2:]).tolist()


def _is_ordered(xs: np.ndarray) -> bool:
    steps = np.diff(xs)
    return bool(np.all(steps > 0) or np.all(steps < 0))


def _share(share: float) -> str:
    return f"{100 * share:g} % of runs"


def _title(view: View, shares: Sequence[float], n: int) -> str:
    if not view.together or n == 1:
        return view.title
    bands = " and ".join(_share(share) for share in shares)
    return ", ".join(filter(None, [view.title, f"medians, with {bands}"]))


def _name_codes(view: View, ax: Any) -> None:
    names = names_of(view.about)
    codes = [int(code) for code in np.unique(view.array.values)]
    ax.set_yticks(codes, [names.get(code, str(code)) for code in codes])
