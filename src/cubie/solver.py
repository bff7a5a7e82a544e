"""`Solver`: from a user's problem to a planned, compiled, solved batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from cubie import checks, per_run
from cubie.backend import building, is_small_batch
from cubie.errors import InvalidOption, InvalidProblem
from cubie.factory import require_known
from cubie.integrator import RunSettings, SingleIntegratorRun, check_options, options_of
from cubie.launch.given_on_device import split_given
from cubie.launch.kernel import BatchSolverKernel
from cubie.launch.no_states import NoStates, has_no_states, solve_without_states
from cubie.launch.prepared import PreparedSolve
from cubie.launch.recurring import RecurringSolve, is_worth_keeping
from cubie.launch.results import Result
from cubie.launch.staging import shapes_of
from cubie.memory import (
    SETTINGS,
    KernelMemory,
    LatestKernel,
    Setup,
    SplitProblems,
    content_of,
    structure_of_batch,
)
from cubie.numerics.error_norm import Tolerances
from cubie.other_choices import options_elsewhere
from cubie.problem import Problem, Systems, described, tolerances_of, tolerances_with
from cubie.run.saving import SaveMode
from cubie.run.summaries.beside import note_on_derivatives
from cubie.settings import SolverSettings
from cubie.systems import Batch, Equations, Pairs, split_batch
from cubie.tableaus import known_method
from cubie_planner import Plan

# What is saved is known with a solve only; options may name the buffers of all ways of saving, and
# these are those of points that are read off inside steps.
EVERY_BUFFER = SaveMode.TIMES


class Solver(LatestKernel):
    """Solve one system again and again; what did not change is not built again.

    Threads may share a solver, and it can be pickled and copied if `fun` and the options can be;
    a copy has the settings, and plans and builds for itself.

    Parameters
    ----------
    fun : callable, or equations as text or in SymPy
        ``fun(t, y, *args)``, an ordinary SciPy right-hand side. What it refers to
        (globals, closures, attributes) is taken as it is at each solve: where
        something changed since, the system is made anew. Or what
        `cubie.systems.equations` reads; `y0` and `args` may then go by names.
    **options
        Keyword arguments of `solve_ivp` from `method` on.

    Raises
    ------
    UnknownOption
        For a keyword that neither the solver nor any of its components has.
    """

    def __init__(self, fun: Callable, **options: Any):
        self._begin(Problem(fun), Setup(SolverSettings()))
        self.update(**options)

    def _begin(self, problem: Problem, setup: Setup) -> None:
        self._problem, self._setup = problem, setup
        self._memory = KernelMemory()
        self._splits = SplitProblems()
        self._last = None

    def __getstate__(self) -> tuple[Any, ...]:
        """Return what a solver is made of; a copy prepares anew, or finds kernels on disk."""
        setup = self._setup
        return self._problem, setup.settings, dict(setup.options)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        problem, settings, options = state
        method = known_method(settings.method)
        self._begin(problem, Setup(attrs.evolve(settings, method=method), options))

    def __repr__(self) -> str:
        return described(self._problem, self._setup)

    @property
    def fun(self) -> Callable:
        """The right-hand side; of equations the function that they were made to."""
        return self._problem.fun

    @property
    def equations(self) -> Equations | None:
        """The equations, where they were given as text or in SymPy."""
        return self._problem.equations

    def update(self, **changes: Any) -> None:
        """Change settings or options of components for all later solves.

        Raises
        ------
        UnknownOption
            For a keyword that nothing understands; nothing is changed then.
        """
        self._setup = Setup(*self._changed(changes))

    def _changed(self, changes: Mapping[str, Any]) -> tuple[SolverSettings, Mapping[str, Any]]:
        """Return settings and component options with `changes` made, checked."""
        setup = self._setup
        if not changes:
            return setup.settings, setup.options
        own = {name: value for name, value in changes.items() if name in SETTINGS}
        settings = attrs.evolve(setup.settings, **own)
        options = {
            **setup.options,
            **{k: v for k, v in changes.items() if k not in SETTINGS},
        }
        run_settings = settings.run_settings(EVERY_BUFFER, False)
        require_known(
            options,
            options_of(run_settings, options) | SETTINGS,
            elsewhere=lambda: options_elsewhere(run_settings, options),
        )
        check_options(run_settings, options)
        return settings, options

    @property
    def options(self) -> tuple[str, ...]:
        """Names of all keyword arguments, buffer locations included."""
        setup = self._setup
        known = options_of(setup.settings.run_settings(EVERY_BUFFER, False), setup.options)
        return tuple(sorted(known | SETTINGS))

    def prepare(
        self,
        y0: Any,
        args: Sequence[Any] | None = None,
        t_eval: Any = None,
        *,
        t_span: Sequence[Any] = (0.0, 1.0),
        **changes: Any,
    ) -> Plan:
        """Plan for a problem without solving it, and return the plan.

        It is that of a solve with the same arguments; of `t_eval` it only matters whether there is
        one, and of `t_span` whether runs have spans of their own.
        """
        settings, options = self._changed(changes)
        span = checks.time_span(t_span)
        times = None if t_eval is None else np.asarray(t_eval)
        y0, args = self._problem.by_position(y0, args)
        if has_no_states(y0):
            raise InvalidProblem("y0", "holds no states: there is nothing to plan, only to solve.")
        y0, args, _ = split_given(y0, args)
        y0, args, pairs = self._problem.in_pairs(y0, args)
        dtype = settings.run_dtype(y0)

        def prepare(batch: Batch) -> PreparedSolve:
            mode = settings.save_mode(batch.n_runs is None, t_eval is not None)
            own_clock = settings.own_clock(span, times, mode)
            return self._prepare(settings, options, batch, pairs, mode, dtype, own_clock)

        content = self._problem.watched.current()
        lengths = per_run.lengths_of(t_span=span[0], t_eval=times)
        n_runs = per_run.number_of_runs(settings.lengths() | lengths)
        _, prepared = self._splits.prepare(y0, args, content, prepare, n_runs)
        self._last = prepared.kernel
        return self._last.plan

    def solve(
        self,
        t_span: Sequence[Any],
        y0: Any,
        t_eval: Any = None,
        *,
        args: Sequence[Any] | None = None,
        **changes: Any,
    ) -> Result:
        """Solve one run or a batch; `changes` hold for this call only.

        See `solve_ivp` for the parameters, the result and the errors.
        """
        # Of one setup: another thread may change that of the solver meanwhile.
        setup = self._setup if not changes else Setup(*self._changed(changes))
        settings = setup.settings
        span = checks.time_span(t_span)
        times = checks.save_times(t_eval, span)
        n_runs = self._number_of_runs(setup, span, times)
        y0, given = self._problem.by_position(y0, args)
        if has_no_states(y0):
            return self._solve_without_states(settings, span, y0, times, given, n_runs)
        checks.endless(span, settings.ends_at_events)
        content = None if changes else self._content(setup)
        # What repeats has spans, times and settings of all runs.
        shapes = None if content is None or n_runs else shapes_of(y0, given)
        on_device = pairs = None
        if shapes is None:
            y0, given, on_device = split_given(y0, given)
            y0, given, pairs = self._problem.in_pairs(y0, given)
            known = content is not None and on_device is None and n_runs is None
            shapes = shapes_of(y0, given) if known else None
        n_times = None if times is None else times.size
        key = None if shapes is None else (content, shapes, n_times, pairs)
        recurring = None if key is None else setup.recurring.get(key)
        if recurring is not None:
            prepared = recurring.prepared
            self._last = prepared.kernel
            first_step = settings.checked_first_step(prepared.adaptive, span)
            return recurring.run(y0, given, span, times, first_step)
        dtype = settings.run_dtype(y0)

        def prepare(batch: Batch) -> PreparedSolve:
            checks.initial_states(batch.y0)
            batch = batch._replace(span=span)
            mode = settings.save_mode(batch.n_runs is None, times is not None)
            own_clock = settings.own_clock(span, times, mode)
            return self._prepared_for(setup, batch, pairs, mode, dtype, content, own_clock)

        batch, prepared = self._splits.prepare(y0, given, content, prepare, n_runs)
        self._last = prepared.kernel
        worth_it = is_worth_keeping(prepared, batch, n_times or 0)
        if key is not None and not batch.constants and worth_it:
            setup.recurring.put(key, RecurringSolve(prepared, batch, given))
        first_step = settings.checked_first_step(prepared.adaptive, span)
        return prepared.run(batch, span, times, first_step, on_device, given)

    def _solve_without_states(
        self,
        settings: SolverSettings,
        span: Any,
        y0: Any,
        times: np.ndarray | None,
        args: Any,
        n_runs: int | None,
    ) -> Result:
        start = np.ones((*np.shape(y0)[:-1], 1))  # of as many runs, with something in them
        n_runs = split_batch(start, args, n_runs=n_runs).n_runs
        mode, dtype = settings.save_mode(n_runs is None, times is not None), settings.run_dtype(y0)
        in_pairs = np.iscomplexobj(y0)
        fun = self._problem.fun
        problem = NoStates(fun, args, n_runs, span, times, mode, dtype, in_pairs)
        return solve_without_states(problem, settings)

    @staticmethod
    def _number_of_runs(setup: Setup, span: Any, times: np.ndarray | None) -> int | None:
        """Return of how many runs spans, times and settings are; None where all share them."""
        one_row = times is None or times.ndim == 1
        if setup.of_all_runs and one_row and type(span[0]) is float:
            return None
        lengths = per_run.lengths_of(t_span=span[0], t_eval=times)
        return per_run.number_of_runs(setup.settings.lengths() | lengths)

    def _content(self, setup: Setup) -> tuple[str, str] | None:
        """Return digests of what the function, and the settings, refer to now.

        None where that cannot be seen: nothing may be found again then.
        """
        fun, given = self._problem.watched.current(), setup.given.current()
        return None if fun is None or given is None else (fun, given)

    def _prepared_for(
        self,
        setup: Setup,
        batch: Batch,
        pairs: Pairs | None,
        mode: SaveMode,
        dtype: np.dtype,
        content: tuple[str, str] | None,
        own_clock: bool,
    ) -> PreparedSolve:
        """Return what was prepared before with the same settings and structure, or prepare it.

        `content` is that of the function and the settings; None: prepare it.
        """
        settings, options = setup.settings, setup.options
        structure = None if content is None else structure_of_batch(batch)
        if structure is None:
            return self._prepare(settings, options, batch, pairs, mode, dtype, own_clock)
        small = is_small_batch(dtype, batch.n_runs or 1)
        n_runs = batch.n_runs if settings.of_some_runs() else None
        of_batch = (batch.y0.shape[0], structure, pairs, small, batch.notes, n_runs)
        key = (content, of_batch, mode, dtype, own_clock)
        prepared = setup.prepared.get(key)
        if prepared is None:
            prepared = self._prepare(settings, options, batch, pairs, mode, dtype, own_clock)
            return setup.prepared.put(key, prepared)
        return prepared

    def _prepare(
        self,
        settings: SolverSettings,
        options: Mapping[str, Any],
        batch: Batch,
        pairs: Pairs | None,
        mode: SaveMode,
        dtype: np.dtype,
        own_clock: bool,
    ) -> PreparedSolve:
        """Check the settings, and find or build the kernel."""
        rtol, atol = tolerances_of(settings, batch.y0.shape[0], dtype, pairs)
        by_newton = "weigh_increments" in options_of(settings.run_settings(mode, False), options)
        if by_newton and np.any(atol <= checks.least_tolerance(dtype)):
            options = {"weigh_increments": True, **options}
        if dtype == np.float64:
            checks.tolerances_of_factors(options.get("factor_dtype"), atol)
        systems = self._problem.systems(settings, batch, pairs)
        system, observables = systems.states, systems.observables
        checks.constants(system, dtype)
        if observables is not None:
            checks.constants(observables, dtype, "observables")
        for one in systems.events or ():
            checks.constants(one, dtype, "events")
        breakpoints = checks.breakpoints(settings.breakpoints, batch.n_runs)
        breaks = breakpoints is not None
        breaks = breaks or settings.find_breaks(system, observables, batch.drivers)
        unseen, in_pairs = self._setup.given.unseen, pairs is not None and pairs.states
        n_inputs = 0 if system.joint is None else len(system.joint.inputs)
        of_states = n_inputs > 0 and not settings.sensitivity_error_control
        of_each = rtol.shape[-1] > 1, in_pairs, rtol.ndim == 2
        weights = Tolerances.of(*of_each, n_inputs, of_states)
        rtol, atol = (tolerances_with(system.joint, one) for one in (rtol, atol))
        choice = settings.choice(system, observables, in_pairs)
        run_settings = settings.run_settings(mode, weights, choice, breaks, own_clock)
        kernel = self._kernel(systems, settings, options, batch, dtype, run_settings)
        return PreparedSolve(
            kernel,
            system,
            observables,
            mode,
            dtype,
            rtol,
            atol,
            checks.positive("max_step", settings.max_step, allow_infinite=True),
            checks.count("max_steps", settings.max_steps),
            (
                *self._problem.notes(systems, settings, batch, pairs, dtype, unseen),
                *kernel.backend.notes,
                *filter(None, [note_on_derivatives(kernel.integrator.loop.tracking, system.joint)]),
            ),
            settings.summary_window(),
            breakpoints,
            in_pairs,
            self._problem.equations is not None,
            settings.checked_min_step(settings.is_adaptive()),
            settings.stays_on_device(kernel.backend, mode, in_pairs),
            systems.events,
            settings.events is not None,
            settings.event_room(),
        )

    def _kernel(
        self,
        systems: Systems,
        settings: SolverSettings,
        options: Mapping[str, Any],
        batch: Batch,
        dtype: np.dtype,
        run_settings: RunSettings,
    ) -> BatchSolverKernel:
        system, observables, events = systems
        if system.mass is not None and not settings.method.implicit:
            advice = f"`{settings.method.name}` is explicit; choose an implicit method."
            raise InvalidOption("mass_matrix", settings.mass_matrix, advice=advice)
        small = is_small_batch(dtype, batch.n_runs or 1)
        backend = settings.make_backend(dtype, systems.all(), run_settings, small)
        config = settings.config(backend)
        given = content_of(options, config)
        # The system itself: every field of it that says what is computed is compared.
        identities = tuple(map(backend.identity, systems.all()))
        key = (*systems, identities, run_settings, given, backend.key)
        memory = self._memory
        with building():  # another thread may want the same
            kernel = None if given is None else memory.kernels.get(key)
            if kernel is None:
                integrator = SingleIntegratorRun(
                    system, run_settings, dtype, options, observables, events, backend.form_costs
                )
                kernel = BatchSolverKernel(integrator, config, backend, memory.built)
                if given is not None:
                    kernel = memory.kernels.put(key, kernel)
        return kernel
