"""Ways through a group of lanes that does not go together: part by part, or lane by lane."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen


@frozen
class Parts:
    """Device functions that go through a group part by part: one vector register of lanes each.

    Attributes
    ----------
    count : callable
        ``count()``: the number of parts, a plain integer.
    following : callable
        ``following(part)``: the next part's number. A loop over parts stays a loop.
    of : callable
        ``of(value, part)``: the part of a buffer, or of a run's base, as functions compiled for
        `Backend.part_backend` take it.
    """

    count: Callable
    following: Callable
    of: Callable


@frozen
class Rows:
    """Device functions that go through the lanes of a group one by one, and of each through points.

    `width` points of a run are worked on together: they are values as those of a group's lanes are.

    Attributes
    ----------
    width : int
    waiting : callable
        ``waiting(mask)``: the lanes of a mask, as one plain integer; 0 where it holds in none.
    first : callable
        ``first(waiting)``: the number of one of them.
    others : callable
        ``others(waiting)``: those that are left without that one.
    of : callable
        ``of(buffer, lane)``: what a lane has of a buffer; its elements are read only, and each is
        the same for all points.
    number : callable
        ``number(buffer, lane)``: what a lane has of a buffer's first element, as a plain number.
    only : callable
        ``only(lane, like)``: a mask as another one, that holds in this lane.
    load : callable
        ``load(array, first, apart, left)``: ``array[first + k * apart]`` for point k, of which
        there are `left`; infinity for those beyond.
    count : callable
        ``count(mask)``: of how many points a mask holds, a plain integer.
    store : callable
        ``store(array, first, left, n, values)``: writes those of the first n points to
        ``array[first + k]``. Of the `left` elements that there are, others may hold anything then.
    """

    width: int
    waiting: Callable
    first: Callable
    others: Callable
    of: Callable
    number: Callable
    only: Callable
    load: Callable
    count: Callable
    store: Callable
