"""`Solver`: from a user's problem to a planned, compiled, solved batch."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from attrs import field, frozen

from cubie import checks
from cubie.backend import is_small_batch
from cubie.errors import InvalidOption
from cubie.factory import BuildCache, require_known
from cubie.integrator import SingleIntegratorRun, check_options, options_of
from cubie.kernel import BatchSolverKernel
from cubie.prepared import PreparedSolve, RecurringSolve, is_worth_keeping
from cubie.results import Result
from cubie.saving import SaveMode
from cubie.settings import SolverSettings
from cubie.staging import shapes_of
from cubie.systems import (
    Batch,
    RightHandSideError,
    System,
    read_equations,
    split_batch,
    trace,
    with_jacobian,
    with_mass,
)
from cubie.tableaus import ERKTableau
from cubie_planner import Plan
from cubie_planner.explain import Explanation, explain

MAX_RECURRING_SHAPES = 16  # of inputs that a solver keeps room for


class UntracedWarning(UserWarning):
    """A right-hand side works, but not as straight-line code."""


_SETTINGS = {setting.name for setting in attrs.fields(SolverSettings)}


@frozen
class KernelMemory:
    """Kernels of earlier solves, by everything they depend on, and what they were built from."""

    kernels: dict[Any, BatchSolverKernel] = field(factory=dict)
    built: BuildCache = field(factory=BuildCache)


class Solver:
    """Solve one system again and again; what did not change is not built again.

    Parameters
    ----------
    fun : callable, or equations as text or in SymPy
        ``fun(t, y, *args)``, an ordinary SciPy right-hand side. What it refers to
        (globals, closures) is taken as it is when first solved. Or what
        `cubie.systems.equations` reads; `y0` and `args` may then go by names.
    **options
        Keyword arguments of `solve_ivp` from `method` on.

    Raises
    ------
    UnknownOption
        For a keyword that neither the solver nor any of its components has.
    """

    def __init__(self, fun: Callable, **options: Any):
        self.equations = read_equations(fun)
        self.fun = fun if self.equations is None else self.equations.function
        self._settings = SolverSettings()
        self._options: dict[str, Any] = {}
        self._systems: dict[Any, System] = {}
        self._memory = KernelMemory()
        self._prepared: dict[Any, PreparedSolve] = {}
        self._recurring: dict[Any, RecurringSolve] = {}
        self._last: BatchSolverKernel | None = None
        self.update(**options)

    def update(self, **changes: Any) -> None:
        """Change settings or options of components for all later solves.

        Raises
        ------
        UnknownOption
            For a keyword that nothing understands; nothing is changed then.
        """
        self._settings, self._options = self._changed(changes)
        self._prepared.clear()
        self._recurring.clear()

    def _changed(self, changes: Mapping[str, Any]) -> tuple[SolverSettings, dict[str, Any]]:
        """Return settings and component options with `changes` made, checked."""
        if not changes:
            return self._settings, self._options
        own = {name: value for name, value in changes.items() if name in _SETTINGS}
        settings = attrs.evolve(self._settings, **own)
        options = self._options | {k: v for k, v in changes.items() if k not in _SETTINGS}
        run_settings = settings.run_settings(SaveMode.FINAL, False)
        require_known(options, options_of(run_settings, options) | _SETTINGS)
        check_options(run_settings, options)
        return settings, options

    @property
    def options(self) -> tuple[str, ...]:
        """Names of all keyword arguments, buffer locations included."""
        settings = self._settings.run_settings(SaveMode.FINAL, False)
        known = options_of(settings, self._options)
        return tuple(sorted(known | _SETTINGS))

    @property
    def kernel(self) -> BatchSolverKernel:
        """The kernel of the latest solve or `prepare`.

        Raises
        ------
        RuntimeError
            Before the first one: sizes are not known then.
        """
        if self._last is None:
            raise RuntimeError("Nothing was solved yet; call solve(...) or prepare(...) first.")
        return self._last

    @property
    def plan(self) -> Plan:
        """Where every buffer lives in the latest solve or `prepare`."""
        return self.kernel.plan

    def explain(self) -> Explanation:
        """Say what the peak of the plan is made of and what each pin costs.

        Its text is what `print` shows. Plans again once for every pinned buffer.
        """
        return explain(self.plan)

    @property
    def builds(self) -> Mapping[str, int]:
        """How often each component's device functions, and kernels, were built so far."""
        return dict(self._memory.built.made)

    def prepare(self, y0: Any, args: Sequence[Any] | None = None, **changes: Any) -> Plan:
        """Plan for a problem without solving it, and return the plan."""
        settings, options = self._changed(changes)
        y0, args = self._by_position(y0, args)
        batch = split_batch(y0, args)
        mode = settings.save_mode(batch.n_runs is None, None)
        dtype = settings.run_dtype(y0)
        return self._prepare(settings, options, batch, mode, dtype).kernel.plan

    def solve(
        self,
        t_span: Sequence[float],
        y0: Any,
        t_eval: Any = None,
        *,
        args: Sequence[Any] | None = None,
        **changes: Any,
    ) -> Result:
        """Solve one run or a batch; `changes` hold for this call only.

        See `solve_ivp` for the parameters, the result and the errors.
        """
        settings, options = self._changed(changes)
        span = checks.time_span(t_span)
        times = checks.save_times(t_eval, span)
        y0, given = self._by_position(y0, args)
        shapes = shapes_of(y0, given) if settings is self._settings else None
        key = None if shapes is None else (shapes, None if times is None else times.size)
        if key in self._recurring:
            recurring = self._recurring[key]
            self._last = recurring.prepared.kernel
            first_step = settings.checked_first_step(
                self._last.integrator.controller.adaptive, span
            )
            return recurring.run(y0, given, span, times, first_step)
        batch = split_batch(y0, given)
        checks.initial_states(batch.y0)
        prepared = self._prepared_for(settings, options, batch, times, settings.run_dtype(y0))
        self._last = prepared.kernel
        if key is not None and is_worth_keeping(batch):
            if len(self._recurring) >= MAX_RECURRING_SHAPES:
                self._recurring.clear()
            self._recurring[key] = RecurringSolve(prepared, batch, given)
        first_step = settings.checked_first_step(prepared.adaptive, span)
        return prepared.run(batch, span, times, first_step)

    def _prepared_for(
        self,
        settings: SolverSettings,
        options: Mapping[str, Any],
        batch: Batch,
        times: np.ndarray | None,
        dtype: np.dtype,
    ) -> PreparedSolve:
        """Return what was prepared before with the same settings and structure, or prepare it."""
        mode = settings.save_mode(batch.n_runs is None, times)
        if settings is not self._settings:
            return self._prepare(settings, options, batch, mode, dtype)
        small = is_small_batch(dtype, batch.n_runs or 1)
        noted = batch.looks_like_one_run
        key = (batch.y0.shape[0], _structure(batch.args), mode, dtype, small, noted)
        if key not in self._prepared:
            self._prepared[key] = self._prepare(settings, options, batch, mode, dtype)
        return self._prepared[key]

    def _prepare(
        self,
        settings: SolverSettings,
        options: Mapping[str, Any],
        batch: Batch,
        mode: SaveMode,
        dtype: np.dtype,
    ) -> PreparedSolve:
        """Check the settings, and find or build the kernel."""
        rtol, atol = checks.tolerances(settings.rtol, settings.atol, batch.y0.shape[0], dtype)
        return PreparedSolve(
            self._kernel(settings, options, batch, mode, dtype, rtol.size > 1),
            mode,
            dtype,
            rtol,
            atol,
            checks.positive("max_step", settings.max_step, allow_infinite=True),
            checks.count("max_steps", settings.max_steps),
            self._notes(settings, batch),
        )

    def _by_position(self, y0: Any, args: Any) -> tuple[Any, Any]:
        """Return `y0` and `args`, which of equations may be mappings by name."""
        if self.equations is not None:
            y0, args = self.equations.initial_state(y0), self.equations.arguments(args)
        return y0, () if args is None else args

    def _system(self, settings: SolverSettings, batch: Batch) -> System:
        jac, mass = settings.jac, settings.mass_matrix
        n = batch.y0.shape[0]
        key = (n, _structure(batch.args), jac, None if mass is None else repr(np.array(mass)))
        if key not in self._systems:
            names = None if self.equations is None else self.equations.states
            system = _traced(self.fun, batch, names)
            system = with_mass(with_jacobian(system, jac, batch.args), mass)
            if system.kind == "compiled":
                warnings.warn(system.note, UntracedWarning, stacklevel=_level_of_caller())
            self._systems[key] = system
        return self._systems[key]

    def _notes(self, settings: SolverSettings, batch: Batch) -> tuple[str, ...]:
        notes = (self._system(settings, batch).note, batch.advice * batch.looks_like_one_run)
        return tuple(note for note in notes if note)

    def _kernel(
        self,
        settings: SolverSettings,
        options: Mapping[str, Any],
        batch: Batch,
        mode: SaveMode,
        dtype: np.dtype,
        per_component: bool,
    ) -> BatchSolverKernel:
        system = self._system(settings, batch)
        if system.mass is not None and isinstance(settings.method, ERKTableau):
            advice = f"`{settings.method.name}` is explicit; choose an implicit method."
            raise InvalidOption("mass_matrix", settings.mass_matrix, advice=advice)
        run_settings = settings.run_settings(mode, per_component)
        small = is_small_batch(dtype, batch.n_runs or 1)
        backend = settings.make_backend(dtype, system, run_settings, small)
        config = settings.config(backend)
        key = (
            system.digest,
            run_settings,
            repr(sorted(options.items())),
            repr(config),
            backend.key,
        )
        memory = self._memory
        if key not in memory.kernels:
            integrator = SingleIntegratorRun(system, run_settings, dtype, options)
            memory.kernels[key] = BatchSolverKernel(integrator, config, backend, memory.built)
        self._last = memory.kernels[key]
        return self._last


def _traced(fun: Callable, batch: Batch, names: Any) -> System:
    """Trace for one run of a batch; where that fails, say what a run gets of 1-D arrays."""
    try:
        return trace(fun, batch.y0.shape[0], batch.args, names=names)
    except RightHandSideError as error:
        if batch.vectors and error.__cause__ is not None:
            raise RightHandSideError(f"{error} {batch.advice}") from error.__cause__
        raise


def _structure(value: Any) -> Any:
    """Describe args by what tracing depends on: types, shapes, and constants; hashable."""
    if isinstance(value, (tuple, list)):
        return type(value).__name__, tuple(_structure(entry) for entry in value)
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str
    if isinstance(value, (float, np.floating)):
        return "float"
    return repr(value), id(value) if callable(value) else None


def _level_of_caller() -> int:
    """Return the `stacklevel` with which a warning of the calling function points out of here."""
    level = 1
    while (sys._getframe(level).f_globals.get("__package__") or "").split(".")[0] == "cubie":
        level += 1
    return level
