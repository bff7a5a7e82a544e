"""Ways out of an infeasible request, each tried before it is told."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from attrs import evolve, frozen

from cubie.cli.errors import InputError
from cubie.cli.objectives import planner
from cubie.cli.requests import AUTO, Pin, Request, buffer_named
from cubie_planner import Location, PlanInfeasible, PlanUnknown, Problem
from cubie_planner.declarations.buffers import Buffer
from cubie_planner.declarations.places import TILE

ENOUGH = 2
MOST_TRIED = 12


@frozen
class Remedy:
    """A change of the command line, in its own words.

    Attributes
    ----------
    text : str
        Options to add; or ``without`` and the option to leave out; or the option to give
        ``instead of`` another.
    request : Request
        What is asked then.
    """

    text: str
    request: Request


def remedies(problem: Problem, request: Request, model: bool, error: PlanInfeasible) -> list[str]:
    """Return the nearest changes, at most two, under which there is a plan.

    Nearest are another block size and another limit, then a pin at any offset, one pin
    less, free locations, and one pin more.
    """
    found: list[str] = []
    for remedy in itertools.islice(_candidates(problem, request, error), MOST_TRIED):
        if len(found) < ENOUGH and _works(problem, remedy.request, model):
            found.append(remedy.text)
    return found


def _works(problem: Problem, request: Request, model: bool) -> bool:
    try:
        planner(request.objective)(request.applied_to(problem, model))
    except (PlanInfeasible, PlanUnknown, InputError):
        return False
    return True


def _candidates(problem: Problem, request: Request, error: PlanInfeasible) -> Iterator[Remedy]:
    if error.largest_block:
        size = error.largest_block
        yield Remedy(f"--block-size {size}", evolve(request, block_size=size))
    if error.needed is not None:
        limit = error.needed
        yield Remedy(f"--max-shared {limit}", evolve(request, max_shared=limit))
    core = [problem.by_name[name] for name in error.core if name in problem.by_name]
    given = {buffer_named(problem, pin.name): pin for pin in request.pins}
    clashing = [given[buffer.name] for buffer in core if buffer.name in given]
    for change in (_without_offset, _without):
        for pin in clashing:
            yield from change(request, pin)
    if (request.locations or problem.policy) != AUTO:
        yield Remedy("--locations auto", evolve(request, locations=AUTO))
    for buffer in core:
        if buffer.name not in given:
            yield from _elsewhere(request, problem, buffer)


def _without_offset(request: Request, pin: Pin) -> Iterator[Remedy]:
    """Yield the request with a pin of the command line at any offset."""
    if pin.offset is not None:
        loose = evolve(pin, offset=None)
        pins = tuple(loose if p is pin else p for p in request.pins)
        yield Remedy(f"--pin {loose} instead of --pin {pin}", evolve(request, pins=pins))


def _without(request: Request, pin: Pin) -> Iterator[Remedy]:
    """Yield the request without a pin of the command line."""
    pins = tuple(p for p in request.pins if p is not pin)
    yield Remedy(f"without --pin {pin}", evolve(request, pins=pins))


def _elsewhere(request: Request, problem: Problem, buffer: Buffer) -> Iterator[Remedy]:
    """Yield pins to the places where a buffer may be besides the one that the input asks for."""
    for place in (*Location, TILE, *problem.pools.values()):
        loose = buffer.offset is not None and place == buffer.pin
        if place in buffer.locations and (place != buffer.pin or loose):
            pin = Pin(buffer.name, str(place), None)
            yield Remedy(f"--pin {pin}", evolve(request, pins=(*request.pins, pin)))
