"""One chunk, from the values of its axes to what is kept of it: here, or in a worker."""

from __future__ import annotations

import hashlib
import pickle
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from attrs import evolve, field, frozen

from cubie.backend import gpu_in_use
from cubie.labelled.words import STATUS
from cubie.recent import Recent
from cubie.sweeps.axes import Axis, DrawnRows, Rows, Space
from cubie.sweeps.chunks import Chunks
from cubie.sweeps.draws import Draws
from cubie.sweeps.events_lost import LostEvents, lost_events
from cubie.sweeps.model import Model
from cubie.sweeps.outputs import values_of, variables_of
from cubie.sweeps.sharing import share_processors, this_process
from cubie.sweeps.variable import Variable

MODELS_KEPT = 4  # in a worker, with their kernels


@frozen
class Round:
    """Which runs are computed once more, and what is changed for them.

    Attributes
    ----------
    status : tuple of int
        Those that ended so.
    changes : tuple of (str, object)
        Fields of the `Model`.
    """

    status: tuple[int, ...]
    changes: tuple[tuple[str, Any], ...]

    def of(self, status: np.ndarray) -> np.ndarray:
        """Return which runs of a chunk, by their places in it."""
        return np.flatnonzero(np.isin(status.reshape(-1), self.status))

    def changed(self, model: Model) -> Model:
        """Return the model for them; its kernel is the same one."""
        made = evolve(model, **dict(self.changes))
        prepared = evolve(model.prepared, **{k: v for k, v in self.changes if k != "first_step"})
        made._prepared.append(prepared)
        return made


@frozen(eq=False)
class Part:
    """The runs of a chunk, without those of others.

    Attributes
    ----------
    space : Space
        Of its values alone, where they are held; what is drawn is drawn by its place in all.
    first : tuple of int
        Where the box begins.
    runs : range
        Their numbers among all.
    drawn : Draws or None
        What each draws for itself.
    """

    space: Space
    first: tuple[int, ...]
    runs: range
    drawn: Draws | None = None

    @classmethod
    def of(cls, space: Space, chunks: Chunks, number: int, drawn: Draws | None) -> Part:
        """Return that of a chunk."""
        box = chunks.at(number)
        axes = tuple(_cut(axis, part) for axis, part in zip(space.axes, box, strict=True))
        first = tuple(
            part.start if isinstance(axis, DrawnRows) else 0
            for axis, part in zip(space.axes, box, strict=True)
        )
        return cls(Space(axes), first, chunks.runs_of(number), drawn)

    def values(self, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
        """Return the values of all its runs, which broadcast to `shape`."""
        box = [slice(at, at + n) for at, n in zip(self.first, shape, strict=True)]
        found = self.space.in_box(box)
        if self.drawn is not None:
            of_runs = self.drawn.at(np.arange(self.runs.start, self.runs.stop))
            found |= {name: values.reshape(shape) for name, values in of_runs.items()}
        return found


def _cut(axis: Axis, part: slice) -> Axis:
    if isinstance(axis, DrawnRows):
        return axis
    return Rows(axis.dim, axis.names, tuple(values[part] for values in axis.columns))


@frozen(eq=False)
class Outcome:
    """What became of a chunk.

    Attributes
    ----------
    number : int
    status : mapping of int to int
        How many of its runs ended so.
    kernel_seconds, seconds : float
        Of the kernel alone, and of all.
    values : mapping of str to ndarray, or None
        What is kept, where a worker has not stored it.
    lost : LostEvents or None
        Events that there was no room for.
    """

    number: int
    status: Mapping[int, int]
    kernel_seconds: float
    seconds: float
    values: Mapping[str, np.ndarray] | None = None
    lost: LostEvents | None = None

    @property
    def n_runs(self) -> int:
        """Runs of the chunk."""
        return sum(self.status.values())

    def without_values(self) -> Outcome:
        """Return the same, once its values are kept."""
        return evolve(self, values=None)


def counted(status: np.ndarray) -> dict[int, int]:
    """Return how many runs ended how."""
    counts = np.bincount(status.reshape(-1).view(np.uint8), minlength=256)  # without sorting them
    codes = np.arange(256, dtype=np.uint8).view(np.int8)
    return {int(codes[i]): int(counts[i]) for i in np.argsort(codes) if counts[i]}


Values = Callable[[], dict[str, np.ndarray]]  # called once, by whoever keeps them


def computed(
    model: Model, variables: tuple[Variable, ...], part: Part, shape: tuple[int, ...]
) -> tuple[Values, float]:
    """Compute a chunk, and return what gives all that is kept of it, and its kernel's seconds."""
    values = part.values(shape)
    result = model.solve(values, shape)

    def kept() -> dict[str, np.ndarray]:
        return values_of(variables, result, shape) | _drawn(part, values, shape)

    return kept, result.kernel_seconds


def _drawn(
    part: Part, values: Mapping[str, np.ndarray], shape: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """Return what was drawn, and is kept with the chunk."""
    names = [n for axis in part.space.axes if isinstance(axis, DrawnRows) for n in axis.names]
    names += [] if part.drawn is None else part.drawn.names
    return {name: values[name] for name in names}


def once_more(
    model: Model,
    variables: tuple[Variable, ...],
    part: Part,
    shape: tuple[int, ...],
    kept: Mapping[str, np.ndarray],
    which: Round,
) -> float:
    """Compute some runs of a chunk again, into what was kept of it; return the kernel's seconds."""
    places = which.of(kept[STATUS])
    if not len(places):
        return 0.0
    values = {
        name: np.broadcast_to(array, shape).reshape(-1)[places]
        for name, array in part.values(shape).items()
    }
    result = which.changed(model).solve(values, (len(places),))
    for name, array in values_of(variables, result, (len(places),)).items():
        flat = kept[name].reshape(-1, *kept[name].shape[len(shape) :])
        flat[places] = array
    return result.kernel_seconds


@frozen(eq=False)
class Job:
    """What workers are told once: how to compute chunks, and where to keep them.

    Attributes
    ----------
    model : bytes
        Pickled, compressed.
    digest : str
    keeper : object or None
        A store that workers write to; None: they hand results back.
    threads : int or None
        How many a chunk may use in a process of its own, where that is known; see `sharing`.
    home : (str, int)
        Computer and process that the sweep is run by.
    """

    model: bytes = field(repr=False)
    digest: str
    keeper: Any = None
    rounds: tuple[Round, ...] = ()
    threads: int | None = None
    home: tuple[str, int] = field(factory=this_process)

    @classmethod
    def of(
        cls,
        model: Model,
        keeper: Any,
        rounds: tuple[Round, ...],
        pickler: Any,
        threads: int | None = None,
    ) -> Job:
        """Return the job of a sweep; `pickler` is a module with ``dumps``."""
        content = zlib.compress(pickler.dumps(model), 1)
        digest = hashlib.sha256(content).hexdigest()
        return cls(content, digest, keeper, rounds, threads)


_models: Recent[tuple[Model, tuple[Variable, ...]]] = Recent(MODELS_KEPT)


def model_of(job: Job) -> tuple[Model, tuple[Variable, ...]]:
    """Return the model of a job, with the kernel that an earlier chunk was computed by."""
    key = job.digest, gpu_in_use()  # a kernel is loaded into one GPU
    known = _models.get(key)
    if known is None:
        model = pickle.loads(zlib.decompress(job.model))
        known = _models.put(key, (model, variables_of(model)))
    return known


def compute_chunk(
    job: Job,
    number: int,
    part: bytes,
    shape: tuple[int, ...],
    times: int,
    kept: Mapping[str, np.ndarray] | None = None,
) -> Outcome:
    """Compute a chunk in a worker, and keep it or hand it back.

    Parameters
    ----------
    part : bytes
        A `Part`, pickled.
    times : int
        How often it was written before.
    kept : mapping of str to ndarray, or None
        What was, where no store tells.
    """
    started = time.perf_counter()
    share_processors(job.home, job.threads)
    if job.keeper is not None and (
        known := done_by_others(job.keeper, number, 1 + len(job.rounds))
    ):
        return known
    model, variables = model_of(job)
    keeper = Handed(kept) if job.keeper is None else job.keeper
    runs = pickle.loads(part)
    give, seconds = chunk_of(model, variables, runs, shape, job.rounds, keeper, number, times)
    values = give()
    status = counted(values[STATUS])
    lost = lost_events(values, model.event_room, len(runs.runs), runs.runs.start)
    if job.keeper is not None:
        job.keeper.write(number, values, 1 + len(job.rounds))
    handed = values if job.keeper is None else None
    return Outcome(number, status, seconds, time.perf_counter() - started, handed, lost)


@frozen(eq=False)
class Handed:
    """Keeps, in a worker without a store, what it was handed of a chunk."""

    kept: Mapping[str, np.ndarray] | None

    def read(self, number: int, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Return what was kept of the chunk, to be changed."""
        kept = self.kept or {}
        return {name: np.array(kept[name]) for name in names}

    def write(self, number: int, values: Mapping[str, np.ndarray], times: int) -> None:
        """Do nothing: all is handed back in the end."""


def done_by_others(keeper: Any, number: int, times: int) -> Outcome | None:
    """Return what became of a chunk that was written since the call began; None where it was not.

    Two processes may run the same sweep.
    """
    if keeper.times(number) < times:
        return None
    return Outcome(number, counted(keeper.read(number, [STATUS])[STATUS]), 0.0, 0.0)


def chunk_of(
    model: Model,
    variables: tuple[Variable, ...],
    part: Part,
    shape: tuple[int, ...],
    rounds: tuple[Round, ...],
    keeper: Any,
    number: int,
    times: int,
) -> tuple[Values, float]:
    """Return what gives all that is to be kept of a chunk; `times` says what is there already."""
    seconds = 0.0
    if times:
        values = keeper.read(number, [variable.name for variable in variables])
    else:
        kept, seconds = computed(model, variables, part, shape)
        if not rounds:
            return kept, seconds
        # What was computed is a view of what the kernel wrote.
        values = {name: np.array(array) for name, array in kept().items()}
    for i in range(max(times - 1, 0), len(rounds)):
        if 0 < times <= i:
            # Which runs a round is of is told by the status that is kept: of one that was kept
            # by half, the same ones are. Of two at once others might be.
            keeper.write(number, values, 1 + i)
        seconds += once_more(model, variables, part, shape, values, rounds[i])
    return lambda: values, seconds
