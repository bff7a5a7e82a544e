"""What a solver finds again: kernels, systems, and what was prepared with its settings.

Threads may share a solver. None waits for another where it finds what it needs: see `Recent`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import attrs
import numpy as np
from attrs import Factory, field, frozen

from cubie.factory import BuildCache
from cubie.launch.kernel import BatchSolverKernel
from cubie.launch.planned import BatchSolverConfig
from cubie.launch.prepared import PreparedSolve
from cubie.launch.recurring import RecurringSolve
from cubie.recent import Recent
from cubie.settings import SolverSettings
from cubie.systems import Batch, NeedsConstants, Watched, fingerprint, split_batch
from cubie.systems.drivers.interpolant import Driver
from cubie.tableaus import Method
from cubie_planner import Plan
from cubie_planner.explain import explain
from cubie_planner.gpu.cards import Target
from cubie_planner.recording import Recording
from cubie_planner.report.explanation import Explanation

T = TypeVar("T")

MAX_RECURRING_SHAPES = 16  # of inputs that a solver keeps room for
MAX_RECURRING_BYTES = 16 * 2**20  # that it may keep alive, the user's arrays among them
MAX_CONTENT_BYTES = 256  # of an array of integers; of larger ones a digest is remembered
MAX_REMEMBERED = 64  # systems, solves prepared for them, and kernels that a solver finds again


@frozen
class KernelMemory:
    """Kernels of earlier solves, by everything they depend on, and what they were built from."""

    kernels: Recent[BatchSolverKernel] = field(factory=lambda: Recent(MAX_REMEMBERED))
    built: BuildCache = field(factory=BuildCache)


class LatestKernel:
    """What a solver shows of its latest solve or `prepare`."""

    _last: BatchSolverKernel | None
    _memory: KernelMemory

    @property
    def kernel(self) -> BatchSolverKernel:
        """The kernel of the latest solve or `prepare`.

        Raises
        ------
        RuntimeError
            Before the first one: sizes are not known then.
        """
        kernel = self._last
        if kernel is None:
            raise RuntimeError("Nothing was solved yet; call solve(...) or prepare(...) first.")
        return kernel

    @property
    def plan(self) -> Plan:
        """Where every buffer lives in the latest solve or `prepare`."""
        return self.kernel.plan

    def explain(self, recording: Recording | None = None) -> Explanation:
        """Say what the peak of the plan is made of and what each pin costs.

        Its text is what `print` shows. Plans again once for every pinned buffer.

        Parameters
        ----------
        recording : Recording, optional
            Of the kernel, from `cubie.lifetimes.record`, after a solve: what meets at the peak is
            then told with the files and lines of the code that write it and read it last.
        """
        return explain(self.plan, recorded=recording)

    @property
    def choices(self) -> tuple[str, ...]:
        """What the latest solve or `prepare` chose by itself, and why: the form of LU factors."""
        return self.kernel.choices

    def resources(self, device: Any = None) -> Any:
        """Compile the kernel, and return what it needs of a GPU, which need not be there.

        See `BatchSolverKernel.resources`.
        """
        return self.kernel.resources(device)

    def close(self) -> None:
        """Give back the memory of a device that is kept from solve to solve.

        That of all solvers, as far as none solves now; they take it again when they need it.
        """
        if self._last is not None:
            self._last.release()

    @property
    def builds(self) -> Mapping[str, int]:
        """How often each component's device functions, and kernels, were built so far."""
        return dict(self._memory.built.made)


@frozen(eq=False)
class Setup:
    """Settings that hold until they are changed, and what was prepared with them.

    A solve works with one from its beginning to its end; a change makes another one.

    Attributes
    ----------
    settings : SolverSettings
    options : dict
        Of components.
    given : Watched
        What of these may change its content while it stays the same object.
    of_all_runs : bool
        No setting is an array that may have one for each run.
    prepared, recurring : Recent
        By content and structure of what was solved.
    """

    settings: SolverSettings
    options: Mapping[str, Any] = field(factory=dict)
    given: Watched = field(
        init=False,
        default=Factory(lambda self: _watched(self.settings, self.options), takes_self=True),
    )
    of_all_runs: bool = field(
        init=False, default=Factory(lambda self: self.settings.is_of_all_runs(), takes_self=True)
    )
    prepared: Recent[PreparedSolve] = field(factory=lambda: Recent(MAX_REMEMBERED), init=False)
    recurring: Recent[RecurringSolve] = field(factory=lambda: _recurring(), init=False)


def _recurring() -> Recent[RecurringSolve]:
    return Recent(MAX_RECURRING_SHAPES, MAX_RECURRING_BYTES, RecurringSolve.held_bytes)


SETTINGS = frozenset(setting.name for setting in attrs.fields(SolverSettings))

_NOTHING = Watched()
NEVER_CHANGE: tuple[Any, ...] = (
    type(None),
    bool,
    int,
    float,
    str,
    np.float64,
    np.float32,
    np.dtype,
    Method,
    Plan,
    Target,
)


def _changeable(settings: SolverSettings, options: Mapping[str, Any]) -> list[Any]:
    """Return what of the settings may change its content while it stays the same object."""
    own = (getattr(settings, name) for name in sorted(SETTINGS))
    values = [*own, *(options[name] for name in sorted(options))]
    return [value for value in values if not isinstance(value, NEVER_CHANGE)]


def _watched(settings: SolverSettings, options: Mapping[str, Any]) -> Watched:
    changeable = _changeable(settings, options)
    return Watched(*changeable) if changeable else _NOTHING


def content_of(options: Mapping[str, Any], config: BatchSolverConfig) -> Any:
    """Return the content of options and places of buffers; None where it cannot be seen."""
    if not options and isinstance(config.locations, str):
        return config
    return fingerprint(sorted(options.items()), config)


def structure_of_batch(batch: Batch) -> Any:
    """Describe what tracing depends on of the args of a batch; None where it cannot be seen."""
    structure = structure_of(batch.args)
    if structure is None or not batch.constants:
        return structure
    digest = hashlib.sha256()
    for path, value in batch.constants.items():
        array = np.asarray(value)
        digest.update(f"{path!r} {type(value)} {array.shape} {array.dtype}".encode())
        digest.update(array.tobytes())
    return structure, digest.hexdigest()


@frozen(eq=False)
class SplitProblems:
    """Which entries of args had to be constants, by what was solved.

    Only a trace finds that out: the next solve of the same begins with what the last one found.
    """

    _found: Recent[frozenset[tuple]] = field(factory=lambda: Recent(MAX_REMEMBERED), init=False)

    def prepare(
        self,
        y0: Any,
        args: Any,
        content: Any,
        prepare: Callable[[Batch], T],
        n_runs: int | None = None,
    ) -> tuple[Batch, T]:
        """Split a problem as often as tracing asks for it.

        Parameters
        ----------
        content : hashable
            Of the function; None: nothing is remembered.
        prepare : callable
            ``prepare(batch)``: what is wanted, or `NeedsConstants`.
        n_runs : int, optional
            Of which other arguments are.
        """
        structure = structure_of(args) if len(self._found) and content is not None else None
        known = None if structure is None else self._found.get((content, structure))
        constants = frozenset() if known is None else known
        while True:
            batch = split_batch(y0, args, constants, n_runs)
            try:
                return batch, prepare(batch)
            except NeedsConstants as need:
                constants = constants | need.paths
                structure = None if content is None else structure_of(args)
                if structure is not None:
                    self._found.put((content, structure), constants)


def structure_of(value: Any) -> Any:
    """Describe args by what tracing depends on: types, shapes, and all that is no float; hashable.

    None where their content cannot be seen.
    """
    kind = type(value)
    if isinstance(value, Driver):
        return "driver", value.pieces.structure, bool(len(value.breaks))
    if kind in (tuple, list):
        entries = tuple(map(structure_of, value))
        return None if None in entries else (kind.__name__, entries)
    if kind is np.ndarray:
        content = b"" if value.dtype.kind == "f" else value.tobytes()
        if len(content) > MAX_CONTENT_BYTES:
            content = hashlib.sha256(content).digest()
        return None if value.dtype.hasobject else (value.shape, value.dtype.str, content)
    if kind in (float, np.float64, np.float32):
        return "float"
    return (kind.__name__, value) if kind in (int, bool, str) else fingerprint(value)
