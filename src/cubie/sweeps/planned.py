"""What a sweep will take, before it runs: chunks, memory, disk, time, and what binds."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from attrs import field, frozen

from cubie.backend import free_bytes
from cubie.errors import InvalidOption
from cubie.launch.capacity import size
from cubie.sweeps.chunks import Chunks
from cubie.sweeps.errors import SweepTooLarge
from cubie.sweeps.model import Model

CHUNK_BYTES = 64 * 10**6  # of output: what stores, and file systems, take well
# A chunk is not worth less: of so many runs every processor has many groups, a GPU many blocks.
LEAST_RUNS, LEAST_RUNS_ON_GPU = 4096, 131_072
# Progress is told, and a kill survived, in parts of a sweep no larger than this, where runs are
# long. What a chunk costs beside its runs is some 20 ms: it takes at least so many seconds.
PARTS, LEAST_SECONDS, MOST_SECONDS = 64, 1.0, 60.0
GROUP = 64  # runs that any target computes together divide it
# A chunk is computed while the last one is laid out for the store, and encoded by it.
COPIES = 3
BETTER = (
    "a sweep of fewer runs (over=), or of fewer points (t_eval=), summaries= in place of points"
)


@frozen
class SweepPlan:
    """What a sweep takes.

    Attributes
    ----------
    n_runs, n_chunks : int
    chunk : tuple of int
        How many values of each axis a chunk has.
    dims : tuple of str
    bytes_per_run : int
        That are kept.
    kept_bytes : int
        Of the whole sweep, uncompressed.
    left_bytes : int
        Of chunks that are not done.
    chunk_bytes : int
        Memory that a chunk takes while it is computed and stored.
    in_flight : int
        Chunks at a time.
    memory_limit : int or None
        What chunks in flight may take; None where the system does not tell.
    disk_free : int or None
    where : str
        Where results are kept.
    seconds : float or None
        Of all runs, as a pilot took for some; None before there was one.
    binds : str
        What decides how large chunks are.
    method, target : str
    steps : str
        What decides how long the steps of the method are: tolerances, or their size.
    local_bytes : int
        Of a run's buffers.
    n_points : int
        Of each run that are kept.
    """

    n_runs: int
    n_chunks: int
    chunk: tuple[int, ...]
    dims: tuple[str, ...]
    bytes_per_run: int
    kept_bytes: int
    left_bytes: int
    chunk_bytes: int
    in_flight: int
    memory_limit: int | None
    disk_free: int | None
    where: str
    seconds: float | None
    binds: str
    method: str
    target: str
    steps: str = field(default="")
    local_bytes: int = field(default=0)
    n_points: int = field(default=1)

    @property
    def host_bytes(self) -> int:
        """Memory at the peak: of chunks in flight, and of results that are kept there."""
        kept = 0 if self.disk_free is not None or self.where != "memory" else self.kept_bytes
        return self.chunk_bytes * self.in_flight + kept

    @property
    def lack(self) -> str:
        """Why it does not fit; empty where it does."""
        if self.where == "memory" and _beyond(self.host_bytes, self.memory_limit):
            return (
                f"{self.n_runs:,} runs of {size(self.bytes_per_run)} each take "
                f"{size(self.host_bytes)} of memory, and {size(self.memory_limit or 0)} may be used"
            )
        if _beyond(self.left_bytes, self.disk_free):
            left = self.left_bytes // max(1, self.bytes_per_run)
            return (
                f"{left:,} runs of {size(self.bytes_per_run)} each take "
                f"{size(self.left_bytes)} on disk, and {size(self.disk_free or 0)} are free"
            )
        if _beyond(self.chunk_bytes * self.in_flight, self.memory_limit):
            return (
                f"{self._flying} at a time take {size(self.chunk_bytes * self.in_flight)} "
                f"of memory, and {size(self.memory_limit or 0)} may be used"
            )
        return ""

    @property
    def runs_that_fit(self) -> int:
        """How many runs there is room for, beside the chunks in flight where that is memory."""
        limit = self.disk_free
        if self.where == "memory" and self.memory_limit is not None:
            limit = self.memory_limit - self.chunk_bytes * self.in_flight
        return self.n_runs if limit is None else max(0, limit // max(1, self.bytes_per_run))

    @property
    def never_fits(self) -> bool:
        """Whether results alone are too large, however they are cut into chunks."""
        if self.where == "memory":
            return _beyond(self.kept_bytes, self.memory_limit)
        return _beyond(self.left_bytes, self.disk_free)

    def require(self) -> None:
        """Refuse a sweep that does not fit.

        Raises
        ------
        SweepTooLarge
        """
        if not self.lack:
            return
        ways = ["a store on disk (store='runs.zarr')"] if self.where == "memory" else []
        ways += [BETTER, "dtype='float32'"]
        if self.n_chunks and _beyond(self.chunk_bytes * self.in_flight, self.memory_limit):
            ways[:0] = ["smaller chunks (chunk=)"]
        message = (
            f"{self.lack}: {min(self.n_runs, self.runs_that_fit):,} runs would fit. Ask for "
            f"{', '.join(ways[:-1])}, or {ways[-1]}."
        )
        raise SweepTooLarge(message, self.n_runs, self.n_points, self.kept_bytes, self.memory_limit)

    def __str__(self) -> str:
        box = " x ".join(f"{n:,} {dim}" for dim, n in zip(self.dims, self.chunk, strict=True))
        rows = [
            ("runs", f"{self.n_runs:,}, each by {self.method} on {self.target}"),
            ("steps", self.steps),
            (
                "chunks",
                f"{self.n_chunks:,} of at most {box}; {self.binds}"
                if self.n_chunks != 1
                else "1, of all runs",
            ),
            ("kept", f"{size(self.bytes_per_run)} a run, {size(self.kept_bytes)} in {self.where}"),
            ("memory", self._told_memory()),
        ]
        if self.disk_free is not None:
            rows.append(("disk", f"{size(self.disk_free)} free, before compression"))
        took = "not known before a pilot: s.pilot()" if self.seconds is None else (
            f"about {_time(self.seconds)}, as a pilot tells"
        )  # fmt: skip
        rows.append(("time", took))
        if self.lack:
            rows.append(("does not fit", f"{self.lack}; {self.runs_that_fit:,} runs would"))
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {told}" for name, told in rows)

    def _told_memory(self) -> str:
        limit = "" if self.memory_limit is None else f" of {size(self.memory_limit)} that may be"
        return (
            f"{size(self.host_bytes)}{limit}: {self._flying} at a time, "
            f"{size(self.chunk_bytes)} each"
        )

    @property
    def _flying(self) -> str:
        return f"{self.in_flight} chunk{'' if self.in_flight == 1 else 's'}"


def _beyond(n_bytes: int, limit: int | None) -> bool:
    return limit is not None and n_bytes > limit


def steps_of(model: Model) -> str:
    """Return what decides how long steps are, in words: tolerances, or their size."""
    if not model.prepared.adaptive:
        return f"of {min(model.first_step, model.max_step):g} each"
    return f"by rtol={_one_or_range(model.rtol)}, atol={_one_or_range(model.atol)}"


def _one_or_range(values: np.ndarray) -> str:
    low, high = np.min(values), np.max(values)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.2g} s"
    if seconds < 7200:
        return f"{seconds / 60:.2g} minutes"
    hours = seconds / 3600
    return f"{hours:.2g} hours" if hours < 48 else f"{hours / 24:.2g} days"


def memory_limit(given: Any) -> int | None:
    """Return how many bytes may be used: a number, "2G", or a share of what is free, "80%".

    Raises
    ------
    InvalidOption
    """
    if isinstance(given, str) and given.strip().endswith("%"):
        try:
            share = float(given.strip()[:-1]) / 100
        except ValueError:
            share = 0.0
        if not 0 < share <= 1:
            raise InvalidOption("memory", given, advice="A share is from '1%' to '100%'.")
        free = free_bytes()
        return None if free is None else int(share * free)
    if given is None:
        return None
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kMGT]?)i?B?\s*", str(given))
    if match is None or isinstance(given, bool) or float(match[1]) <= 0:
        advice = "Give bytes (8_000_000_000), a size ('8G'), or a share of what is free ('80%')."
        raise InvalidOption("memory", given, advice=advice)
    return int(float(match[1]) * 1024 ** " kMGT".index(match[2] or " "))


def bytes_in_flight(model: Model, kept: int) -> int:
    """Return how much memory a run takes while its chunk is computed and stored.

    `kept` are the bytes that are kept of it.
    """
    inputs = 8 * (len(model.start) + len(model.parameters))
    return 2 * inputs + COPIES * kept


def runs_of_a_chunk(
    model: Model, n_runs: int, kept: int, limit: int | None, seconds: float | None
) -> tuple[int, str]:
    """Return how many runs a chunk should have, and what decides that.

    Parameters
    ----------
    kept : int
        Bytes of a run that are kept.
    limit : int or None
        Of memory.
    seconds : float or None
        Of all runs, as a pilot took for some.
    """
    on_gpu = model.prepared.kernel.backend.has_own_memory
    runs = max(LEAST_RUNS_ON_GPU if on_gpu else LEAST_RUNS, n_runs // PARTS)
    why = f"about {PARTS} parts"
    if seconds is None:
        why += " before a pilot, by which a run cuts them anew"
    if seconds is not None and n_runs > runs:
        each = max(seconds / n_runs, 1e-12)
        least, most = int(LEAST_SECONDS / each), int(MOST_SECONDS / each)
        if runs < least:
            runs, why = least, f"{LEAST_SECONDS:.0f} s each, by a pilot"
        elif runs > most and not on_gpu:
            runs, why = most, f"{MOST_SECONDS:.0f} s each, by a pilot"
    ways = [(runs, why), (CHUNK_BYTES // max(1, kept), f"{size(CHUNK_BYTES)} of results each")]
    if limit is not None:
        most = limit // (2 * max(1, bytes_in_flight(model, kept)))
        ways.append((most, f"half of the memory, {size(limit)}, is for chunks in flight"))
    runs, why = min(ways, key=lambda way: way[0])
    return max(1, int(runs)), why


def disk_free(path: Path | None) -> int | None:
    """Return how many bytes are free where a store is to be; None where that is not known."""
    if path is None:
        return None
    folder = path.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def cut(shape: tuple[int, ...], chunk: Any, wanted: int) -> Chunks:
    """Return the chunks of a sweep; `chunk` is how many runs a user wants in each.

    Raises
    ------
    InvalidOption
    """
    if chunk is None:
        return Chunks.of(shape, wanted, GROUP)
    if isinstance(chunk, bool) or not hasattr(chunk, "__index__") or chunk < 1:
        raise InvalidOption("chunk", chunk, advice="How many runs: an int of at least 1.")
    return Chunks.of(shape, int(chunk))
