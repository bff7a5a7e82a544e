"""The same plan under other limits: block sizes, `max_shared`, and without its pins."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from attrs import evolve, frozen
from rich.table import Table

from cubie.cli.objectives import Planner
from cubie.cli.requests import BLOCK_SIZES
from cubie.cli.verify import NO_PLAN, planned
from cubie.cli.views import table
from cubie_planner import Limits, Plan, Problem
from cubie_planner.declarations.places import TILE
from cubie_planner.explain import without_pin
from cubie_planner.gpu.device import Device
from cubie_planner.report.device_use import device_use, modelled_cost
from cubie_planner.report.explanation import MOST_PINS

KIB = 1024
LIMITS = tuple(kib * KIB for kib in (48, 99, 163, 227))
WORD = 4  # bytes; beside others, shared memory of a run is a whole number of words
SAME = 1 + 1e-9  # costs that differ by less are equal

COLUMNS = ("block size", "limit", "shared/run", "shared/block", "private/run", "cost", "blocks/SM")
PINNED = ("pin", "shared/run", "private/run", "cost")
PINNED_WITH_TILES = ("pin", "shared/run", "tiles/block", "private/run", "cost")


def limits_table(plan: Plan, planner: Planner) -> Table:
    """Plan again for other block sizes, then for other limits; `cost` is the model's cycles."""
    rows = [_asked(plan.problem, limits, planner) for limits in _other_limits(plan.limits)]
    return table("what if: bytes; cost in modelled cycles per run and step", COLUMNS, rows, COLUMNS)


def _other_limits(limits: Limits) -> Iterator[Limits]:
    """Yield other block sizes under the present limit, then other limits at the present size."""
    for size in BLOCK_SIZES:
        yield evolve(limits, block_size=size)
    most = max(LIMITS)
    if limits.compute_capability is not None:
        most = Device.for_capability(limits.compute_capability).shared_per_block_optin
    for size in LIMITS:
        if size <= most:
            yield evolve(limits, max_shared_bytes=size)


def _asked(problem: Problem, limits: Limits, planner: Planner) -> Sequence[object]:
    limit = limits.max_shared_bytes
    head = (limits.block_size, "none" if limit is None else f"{limit / KIB:.4g} KiB")
    found = planned(evolve(problem, limits=limits, previous=None), planner)
    if found is None:
        return (*head, NO_PLAN, *[""] * (len(COLUMNS) - 3))
    use = device_use(found)
    return (
        *head,
        found.shared_bytes_per_run,
        found.shared_bytes_per_block,
        _private(found),
        "" if use is None else f"{use.cost.total:.4g}",
        "" if use is None else use.occupancy.blocks_per_sm,
    )


def _private(plan: Plan) -> int:
    return plan.local_bytes + plan.persistent_bytes


def pins_table(plan: Plan, planner: Planner) -> Table | str | None:
    """Plan again without each pin, and show what the pin adds; None where there is none."""
    pinned = [b.name for b in plan.problem.buffers if b.pin is not None and b.size_bytes]
    if len(pinned) > MOST_PINS:
        return f"{len(pinned)} pins; more than {MOST_PINS} are not priced one by one"
    rows = [_pin_row(plan, name, planner) for name in pinned]
    title = "what each pin adds, in bytes and cycles"
    columns = PINNED_WITH_TILES if TILE in plan.problem.places else PINNED
    return table(title, columns, rows, columns[1:]) if rows else None


def _pin_row(plan: Plan, name: str, planner: Planner) -> Sequence[object]:
    free = planned(without_pin(plan, name), planner)
    tiled = TILE in plan.problem.places
    if free is None:  # the search gave up, though the plan itself is one without the pin
        return name, NO_PLAN, *[""] * (2 + tiled)
    shared = plan.shared_bytes_per_run - free.shared_bytes_per_run
    private = _private(plan) - _private(free)
    with_pin, without = _cycles(plan), _cycles(free)
    cost = "" if with_pin is None or without is None else f"{with_pin - without:+.4g}"
    tiles = [f"{plan.tile_bytes - free.tile_bytes:+d}"] if tiled else []
    return name, f"{shared:+d}", *tiles, f"{private:+d}", cost


def _cycles(plan: Plan) -> float | None:
    return None if plan.limits.compute_capability is None else modelled_cost(plan).total


# --- the smallest limit ---------------------------------------------------------------


@frozen
class SmallestLimit:
    """A limit under which planning costs no more than it did, and what a lower one costs.

    Attributes
    ----------
    limit : int
        Bytes per block; planning under it keeps the cost.
    cost : float or None
        Modelled cycles of the plan asked about; None without a device.
    below : int
        The next lower limit that makes a difference.
    below_cost : float or None
        Modelled cycles under that limit; None where there is no plan, or no device.
    """

    limit: int
    cost: float | None
    below: int
    below_cost: float | None

    def __str__(self) -> str:
        cost = "" if self.cost is None else f", {self.cost:.4g} cycles"
        told = f"smallest max_shared that keeps the cost of this plan{cost}: {self.limit} B"
        if self.limit == 0:
            return told
        lower = "no plan" if self.below_cost is None else f"{self.below_cost:.4g} cycles"
        return f"{told} (with {self.below} B: {lower})"


def smallest_limit(plan: Plan, planner: Planner) -> SmallestLimit | None:
    """Return the smallest `max_shared` that keeps the plan's cost, found by planning.

    A limit of which a plan of no higher cost leaves a part unused is lowered to what that
    plan needs; where planning for just that gives a dearer plan, what lies between the two
    is halved. In either way planning one step below the answer costs more, or fails. None
    where planning again under the present limit costs more than this plan does.
    """
    search = _Search(plan, planner)
    good = search.most
    if not search.keeps(good):
        return None
    while True:
        needed = search.needed(good)
        if needed < good and not search.keeps(needed):
            good = search.halved(needed, good)
            break
        if needed == good and (good == 0 or not search.keeps(good - 1)):
            break
        good = min(needed, good - 1)
    lower = search.at(good - 1) if good else None
    below_cost = None if lower is None else _cycles(lower)
    step = search.step
    return SmallestLimit(good * step, _cycles(plan), max(0, good - 1) * step, below_cost)


class _Search:
    """Plans under other limits, each made once; limits are counted in `step` bytes.

    A step is a word for every run of a block: planning sees no finer difference. A block of
    one run, and tiles, are planned to the byte; there a step is what divides all sizes, or a word.
    """

    def __init__(self, plan: Plan, planner: Planner):
        limits = plan.limits
        self.plan, self.planner = plan, planner
        self.made: dict[int, Plan | None] = {}
        self.step = WORD * limits.block_size
        if limits.block_size == 1 or TILE in plan.problem.places:
            fixed = [a.offset or 0 for b in plan.problem.buffers for a in b.aliases]
            fixed += [n for b in plan.problem.buffers for n in (b.size_bytes, b.offset or 0)]
            self.step = math.gcd(WORD, *fixed)
        everything = sum(b.size_bytes + b.alignment + WORD for b in plan.problem.buffers)
        most = limits.max_shared_bytes
        self.most = (everything * limits.block_size if most is None else most) // self.step

    def at(self, limit: int) -> Plan | None:
        if limit not in self.made:
            limits = evolve(self.plan.limits, max_shared_bytes=limit * self.step)
            problem = evolve(self.plan.problem, limits=limits, previous=None)
            self.made[limit] = planned(problem, self.planner)
        return self.made[limit]

    def needed(self, limit: int) -> int:
        """Return what the plan under this limit needs of it."""
        found = self.at(limit)
        assert found is not None, "only asked of limits that have a plan"
        return -(-found.shared_bytes_per_block // self.step)

    def keeps(self, limit: int) -> bool:
        """Return whether planning under this limit costs no more than the plan."""
        found = self.at(limit)
        if found is None:
            return False
        cost, least = _cycles(found), _cycles(self.plan)
        return cost is None or least is None or cost <= least * SAME

    def halved(self, bad: int, good: int) -> int:
        """Return a limit that keeps the cost, one step above one that does not."""
        while good - bad > 1:
            middle = (good + bad) // 2
            good, bad = (middle, bad) if self.keeps(middle) else (good, middle)
        return good
