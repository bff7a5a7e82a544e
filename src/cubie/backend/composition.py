"""Device functions called one after the other: what there is of each stage, block or quantity.

Kernels cannot loop over functions: several become one that calls them. Compiled, nothing of it is
left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable


def in_turn(
    backend,
    functions: Iterable[Callable],
    n_arguments: int,
    outermost: Callable | None = None,
) -> Callable:
    """Return a device function that calls others in order, with the same arguments.

    They are joined two by two: one after the other, hundreds would be nested too deeply to compile.

    Parameters
    ----------
    backend : Backend
    functions : iterable of callable
        Device functions that return nothing. Of none at all it is a function that does nothing.
    n_arguments : int
        How many arguments they take, one to seven.
    outermost : callable, optional
        What makes a device function of the last join of several, as `Backend.one_copy`; by default
        `Backend.device`.
    """
    join, nothing = _BY_ARGUMENTS[n_arguments]
    level = list(functions)
    while len(level) > 2:
        pairs = zip(level[::2], level[1::2], strict=False)
        joined = [backend.device(join(first, second)) for first, second in pairs]
        level = joined + level[2 * len(joined) :]
    if len(level) == 2:
        return (outermost or backend.device)(join(*level))
    return level[0] if level else backend.device(nothing)


def _of_one(before: Callable, after: Callable) -> Callable:
    def both(a):
        before(a)
        after(a)

    return both


def _of_two(before: Callable, after: Callable) -> Callable:
    def both(a, b):
        before(a, b)
        after(a, b)

    return both


def _of_three(before: Callable, after: Callable) -> Callable:
    def both(a, b, c):
        before(a, b, c)
        after(a, b, c)

    return both


def _of_four(before: Callable, after: Callable) -> Callable:
    def both(a, b, c, d):
        before(a, b, c, d)
        after(a, b, c, d)

    return both


def _of_five(before: Callable, after: Callable) -> Callable:
    def both(a, b, c, d, e):
        before(a, b, c, d, e)
        after(a, b, c, d, e)

    return both


def _of_six(before: Callable, after: Callable) -> Callable:
    def both(a, b, c, d, e, f):
        before(a, b, c, d, e, f)
        after(a, b, c, d, e, f)

    return both


def _of_seven(before: Callable, after: Callable) -> Callable:
    def both(a, b, c, d, e, f, g):
        before(a, b, c, d, e, f, g)
        after(a, b, c, d, e, f, g)

    return both


def _none_of_one(a):
    pass


def _none_of_two(a, b):
    pass


def _none_of_three(a, b, c):
    pass


def _none_of_four(a, b, c, d):
    pass


def _none_of_five(a, b, c, d, e):
    pass


def _none_of_six(a, b, c, d, e, f):
    pass


def _none_of_seven(a, b, c, d, e, f, g):
    pass


_BY_ARGUMENTS = {
    1: (_of_one, _none_of_one),
    2: (_of_two, _none_of_two),
    3: (_of_three, _none_of_three),
    4: (_of_four, _none_of_four),
    5: (_of_five, _none_of_five),
    6: (_of_six, _none_of_six),
    7: (_of_seven, _none_of_seven),
}
