"""Whether what a solve is asked to keep fits into memory: refused before it is solved if not."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from cubie.backend import free_bytes
from cubie.errors import OutputsTooLarge
from cubie.run.saving import SaveMode, Sizes

# Less than this can be had wherever Python runs; to ask the system takes its time.
ALWAYS_THERE = 64 * 2**20

Free = Callable[[], int | None]  # bytes that can be had; None where nobody tells


def no_device() -> None:
    """Tell of no device with memory of its own."""
    return None


class Kept(NamedTuple):
    """What a solve keeps.

    Attributes
    ----------
    mode : SaveMode
    n_runs : int
    sizes : tuple of (str, int)
        What is kept of each point, beside its time, and how many numbers that is.
    dtype : dtype
    record : int
        How many numbers are kept of each step, where the solution is a function of time; else 0.
    in_rows : bool
        Whether of each number that is kept of points those of one run lie in a row.
    """

    mode: SaveMode
    n_runs: int
    sizes: Sizes
    dtype: np.dtype
    record: int = 0
    in_rows: bool = False

    @property
    def by_steps(self) -> Sizes:
        """What is kept of each step, or of where it leads, of which runs have different numbers."""
        of_points = self.sizes if self.mode is SaveMode.STEPS else ()
        return (*of_points, ("dense", self.record)) if self.record else of_points

    @property
    def bytes_per_step(self) -> int:
        """Of what is kept of each step; of a point there is a time, too."""
        numbers = int(self.mode is SaveMode.STEPS)
        for _, size in self.by_steps:
            numbers += size
        return numbers * self.dtype.itemsize

    def of_runs(self, n_runs: int) -> Kept:
        """Return the same of so many runs."""
        if n_runs == self.n_runs:
            return self
        return kept_of(self.mode, n_runs, self.sizes, self.dtype, self.record, self.in_rows)

    def require(self, n_points: int, n_bytes: int, n_summaries: int = 0) -> None:
        """Refuse outputs of `n_bytes`, for `n_points` of each run, that nothing can hold.

        `n_summaries` are the numbers that summaries keep of each run.

        Raises
        ------
        OutputsTooLarge
        """
        lacking = shortage(n_bytes, no_device)
        if lacking is not None:
            raise self.refusal(n_points, n_bytes, *lacking, n_summaries)

    def refusal(
        self,
        n_points: int,
        n_bytes: int,
        free: int | None,
        where: str = "of memory",
        n_summaries: int = 0,
    ) -> OutputsTooLarge:
        """Return the exception that says so of runs with so many points each."""
        points = "the last point" if self.mode is SaveMode.FINAL else _many(n_points, "point")
        if self.record:
            points = f"the solution as a function of time, {_many(n_points, 'step')}"
        told, remedy = self._told(points), self.remedy
        if n_summaries:
            told += f", and {_many(n_summaries, 'number')} of each run for summaries and events,"
            remedy += " Fewer summaries, or fewer events kept (k=, max_events=), take less as well."
        message = f"{told} {takes(n_bytes, free, where)} {remedy}"
        return OutputsTooLarge(message, self.n_runs, n_points, n_bytes, free)

    def refusal_of_steps(
        self, counts: np.ndarray, n_bytes: int, free: int | None
    ) -> OutputsTooLarge:
        """Return the exception that says so of runs saved at every step, or as functions of time.

        `counts` are the points of each run, or its steps, as far as they are known; 0 elsewhere.
        """
        known, longest = np.flatnonzero(counts), int(np.argmax(counts))
        most, total = int(counts[longest]), int(counts.sum())
        one = "step" if self.record else "point"
        points = f"{total:,} {one}s"
        if len(known) < self.n_runs:
            points = f"about {total * self.n_runs // len(known):,} {one}s"
            points += f", judged by the first {len(known):,} solved,"
        what = "the solution as a function of time" if self.record else "every step"
        told = f"{self._told(points, what)} {takes(n_bytes, free)}"
        if len(known) > 1:
            others = np.partition(counts, -2)[-2]
            told += (
                f" The longest run is {longest} with {_many(most, one)} "
                f"({size(most * self.bytes_per_step)}); the next has {int(others):,}."
            )
        message = f"{told} {self.remedy}"
        return OutputsTooLarge(message, self.n_runs, most, n_bytes, free, longest)

    def _told(self, points: str, what: str = "") -> str:
        numbers = " and ".join(_many(size, name.removesuffix("s")) for name, size in self.sizes)
        numbers = numbers or "the times"
        runs = _many(self.n_runs, "run")
        kept = f"{what} of {runs}, {points}" if what else f"{points} of {runs}"
        return f"To keep {kept} of {numbers} in {self.dtype.name}"

    @property
    def remedy(self) -> str:
        """What to ask for instead."""
        ways = []
        if self.record:
            ways.append("points alone (without `dense_output`)")
        if self.mode is SaveMode.STEPS:
            ways += ["only the points you need (`t_eval=`)", "the last states (save='final')"]
        if self.mode.at_times:
            ways += ["fewer times in `t_eval`", "the last states (save='final' without `t_eval`)"]
        if self.n_runs > 1:
            by_steps = self.record or self.mode is SaveMode.STEPS  # what sweeps do not keep
            ways.append(
                "fewer runs at once" if by_steps else "a sweep in chunks, on disk (cubie.sweep)"
            )
        if self.dtype == np.float64:
            ways.append("numbers of half the size (dtype='float32')")
        last = ways.pop() if ways else "less"
        return f"Ask for {', '.join(ways) + ', or ' if ways else ''}{last}."


# Found again: of a small solve, making it anew would be a noticeable part.
kept_of = lru_cache(maxsize=32)(Kept)


def shortage(n_bytes: int, on_device: Free) -> tuple[int, str] | None:
    """Return how much there is of what cannot hold so many bytes, and what that is; else None.

    ``on_device()`` returns what a device has left that has memory of its own.
    """
    if n_bytes <= ALWAYS_THERE:
        return None
    for place, free in (("of memory", free_bytes()), ("on the device", on_device())):
        if free is not None and n_bytes > free:
            return free, place
    return None


def free_for(n_bytes: int) -> int | None:
    """Return the bytes that can be had, None where nobody tells, or so few are always there."""
    return free_bytes() if n_bytes > ALWAYS_THERE else None


def takes(n_bytes: int, free: int | None, where: str = "of memory") -> str:
    """Return the rest of a sentence about what takes so much."""
    if free is None:
        return f"takes {size(n_bytes)}, which the system does not give."
    return f"takes {size(n_bytes)}, and {size(free)} {where} can be had."


def size(n_bytes: int) -> str:
    """Return a number of bytes as people write it."""
    value, units = float(n_bytes), ["B", "KB", "MB", "GB", "TB", "PB"]
    while value >= 999.5 and len(units) > 1:  # of which three digits are the next unit
        value /= 1000
        units.pop(0)
    return f"{value:.3g} {units[0]}"


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
