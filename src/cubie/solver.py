"""`Solver`: from a user's problem to a planned, compiled, solved batch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import attrs
import numpy as np

from cubie import checks
from cubie.backend import building, is_small_batch
from cubie.errors import InvalidOption, level_of_caller
from cubie.factory import require_known
from cubie.integrator import SingleIntegratorRun, check_options, options_of
from cubie.launch.given_on_device import split_given
from cubie.launch.kernel import BatchSolverKernel
from cubie.launch.prepared import PreparedSolve, RecurringSolve, is_worth_keeping
from cubie.launch.results import Result
from cubie.launch.staging import shapes_of
from cubie.memory import (
    MAX_REMEMBERED,
    SETTINGS,
    KernelMemory,
    LatestKernel,
    Setup,
    SplitProblems,
    content_of,
    structure_of_batch,
)
from cubie.other_choices import options_elsewhere
from cubie.recent import Recent
from cubie.run.saving import SaveMode
from cubie.settings import SolverSettings
from cubie.systems import (
    Batch,
    EquationError,
    System,
    Watched,
    advised,
    fingerprint,
    has_observables,
    observables_of,
    read_equations,
    read_jacobian,
    trace,
    uncalled,
    with_jacobian,
    with_mass,
)
from cubie.tableaus import ERKTableau, known_tableau
from cubie_planner import Plan


class UntracedWarning(UserWarning):
    """A right-hand side works, but not as straight-line code."""


class _Systems(NamedTuple):
    """What runs compute."""

    states: System
    observables: System | None


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
        self.equations = read_equations(fun)
        self.fun = fun if self.equations is None else self.equations.function
        self._begin(Setup(SolverSettings()))
        self.update(**options)

    def _begin(self, setup: Setup) -> None:
        self._setup = setup
        self._systems: Recent[System] = Recent(MAX_REMEMBERED)
        self._memory = KernelMemory()
        self._splits = SplitProblems()
        self._last = None
        self._fun = Watched(self.fun)

    def __getstate__(self) -> tuple[Any, ...]:
        """Return what a solver is made of; a copy prepares anew, or finds kernels on disk."""
        setup = self._setup
        fun = self.fun if self.equations is None else None  # is made of the equations
        return fun, self.equations, setup.settings, dict(setup.options)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        fun, self.equations, settings, options = state
        self.fun = fun if self.equations is None else self.equations.function
        method = known_tableau(settings.method)
        self._begin(Setup(attrs.evolve(settings, method=method), options))

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
        run_settings = settings.run_settings(SaveMode.FINAL, False)
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
        known = options_of(setup.settings.run_settings(SaveMode.FINAL, False), setup.options)
        return tuple(sorted(known | SETTINGS))

    def prepare(self, y0: Any, args: Sequence[Any] | None = None, **changes: Any) -> Plan:
        """Plan for a problem without solving it, and return the plan."""
        settings, options = self._changed(changes)
        y0, args, _ = split_given(*self._by_position(y0, args))
        dtype = settings.run_dtype(y0)

        def prepare(batch: Batch) -> PreparedSolve:
            mode = settings.save_mode(batch.n_runs is None, None)
            return self._prepare(settings, options, batch, mode, dtype)

        _, prepared = self._splits.prepare(y0, args, self._fun.current(), prepare)
        self._last = prepared.kernel
        return self._last.plan

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
        # Of one setup: another thread may change that of the solver meanwhile.
        setup = self._setup if not changes else Setup(*self._changed(changes))
        settings = setup.settings
        span = checks.time_span(t_span)
        times = checks.save_times(t_eval, span)
        y0, given = self._by_position(y0, args)
        content = None if changes else self._content(setup)
        shapes = None if content is None else shapes_of(y0, given)
        n_times = None if times is None else times.size
        key = None if shapes is None else (content, shapes, n_times)
        on_device = None
        if shapes is None:
            y0, given, on_device = split_given(y0, given)
        recurring = None if key is None else setup.recurring.get(key)
        if recurring is not None:
            prepared = recurring.prepared
            self._last = prepared.kernel
            first_step = settings.checked_first_step(prepared.adaptive, span)
            return recurring.run(y0, given, span, times, first_step)
        dtype = settings.run_dtype(y0)

        def prepare(batch: Batch) -> PreparedSolve:
            checks.initial_states(batch.y0)
            return self._prepared_for(setup, batch, times, dtype, content)

        batch, prepared = self._splits.prepare(y0, given, content, prepare)
        self._last = prepared.kernel
        worth_it = is_worth_keeping(prepared, batch, n_times or 0)
        if key is not None and not batch.constants and worth_it:
            setup.recurring.put(key, RecurringSolve(prepared, batch, given))
        first_step = settings.checked_first_step(prepared.adaptive, span)
        return prepared.run(batch, span, times, first_step, on_device, given)

    def _content(self, setup: Setup) -> tuple[str, str] | None:
        """Return digests of what the function, and the settings, refer to now.

        None where that cannot be seen: nothing may be found again then.
        """
        fun, given = self._fun.current(), setup.given.current()
        return None if fun is None or given is None else (fun, given)

    def _prepared_for(
        self,
        setup: Setup,
        batch: Batch,
        times: np.ndarray | None,
        dtype: np.dtype,
        content: tuple[str, str] | None,
    ) -> PreparedSolve:
        """Return what was prepared before with the same settings and structure, or prepare it.

        `content` is that of the function and the settings; None: prepare it.
        """
        settings, options = setup.settings, setup.options
        mode = settings.save_mode(batch.n_runs is None, times)
        structure = None if content is None else structure_of_batch(batch)
        if structure is None:
            return self._prepare(settings, options, batch, mode, dtype)
        small = is_small_batch(dtype, batch.n_runs or 1)
        key = (content, batch.y0.shape[0], structure, mode, dtype, small, batch.notes)
        prepared = setup.prepared.get(key)
        if prepared is None:
            prepared = self._prepare(settings, options, batch, mode, dtype)
            return setup.prepared.put(key, prepared)
        return prepared

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
        by_newton = "weigh_increments" in options_of(settings.run_settings(mode, False), options)
        if by_newton and np.any(atol <= checks.least_tolerance(dtype)):
            options = {"weigh_increments": True, **options}
        systems = _Systems(self._system(settings, batch), self._observables(settings, batch))
        system, observables = systems
        checks.constants(system, dtype)
        if observables is not None:
            checks.constants(observables, dtype, "observables")
        breakpoints = checks.breakpoints(settings.breakpoints, batch.n_runs)
        breaks = breakpoints is not None or settings.find_breaks(*systems, batch.drivers)
        kernel = self._kernel(systems, settings, options, batch, mode, dtype, rtol.size > 1, breaks)
        return PreparedSolve(
            kernel,
            *systems,
            mode,
            dtype,
            rtol,
            atol,
            checks.positive("max_step", settings.max_step, allow_infinite=True),
            checks.count("max_steps", settings.max_steps),
            (*self._notes(systems, settings, batch), *kernel.backend.notes),
            settings.summary_window(),
            breakpoints,
            settings.stays_on_device(kernel.backend, mode),
        )

    def _notes(self, systems: _Systems, settings: SolverSettings, batch: Batch) -> tuple[str, ...]:
        of_jac = systems[0].jacobian_note
        if settings.jac is not None and isinstance(settings.method, ERKTableau):
            of_jac = f"`jac` is not used: `{settings.method.name}` is explicit."
        unseen = self._fun.unseen or self._setup.given.unseen
        note = f"Nothing is remembered from one solve to the next, because {unseen}."
        there = [system for system in systems if system is not None]
        names = None if self.equations is None else self.equations.parameters
        notes = [system.note for system in there] + [of_jac, *uncalled(there, batch, names)]
        notes += [*batch.notes, note if unseen else ""]
        return tuple(filter(None, notes))

    def _by_position(self, y0: Any, args: Any) -> tuple[Any, Any]:
        """Return `y0` and `args`, which of equations may be mappings by name."""
        if self.equations is not None:
            y0, args = self.equations.initial_state(y0), self.equations.arguments(args)
        return y0, () if args is None else args

    def _system(self, settings: SolverSettings, batch: Batch) -> System:
        """Return the system as it is now, from an earlier solve where nothing in it changed."""
        jac, mass = read_jacobian(settings.jac), settings.mass_matrix
        n = batch.y0.shape[0]
        given = "" if jac is None and mass is None else fingerprint(jac, mass)
        parts = (self._fun.current(), structure_of_batch(batch), given)
        key = None if None in parts else (n, *parts)
        known = None if key is None else self._systems.get(key)
        if known is not None:
            return known
        names = self._state_names
        if names is not None and len(names) != n:
            raise EquationError(
                f"y0 has {n} states, but the equations have {len(names)}: {', '.join(names)}."
            )
        system = advised(batch, trace, self.fun, n, batch.args, names=names, watched=self._fun)
        system = with_mass(with_jacobian(system, jac, batch.args, batch.constants), mass)
        if system.kind == "compiled":
            warnings.warn(system.note, UntracedWarning, stacklevel=level_of_caller())
        return system if key is None else self._systems.put(key, system)

    @property
    def _state_names(self) -> tuple[str, ...] | None:
        return None if self.equations is None else self.equations.states

    def _observables(self, settings: SolverSettings, batch: Batch) -> System | None:
        """Return the observables as they are now, as `_system` does; None where there are none."""
        given = settings.observables
        if not has_observables(given):
            return None
        n = batch.y0.shape[0]
        parts = (fingerprint(self.equations, given), structure_of_batch(batch))
        key = None if None in parts else ("observables", n, *parts)
        known = None if key is None else self._systems.get(key)
        if known is not None:
            return known
        names = self._state_names
        made = advised(batch, observables_of, given, self.equations, n, batch.args, names)
        return made if key is None else self._systems.put(key, made)

    def _kernel(
        self,
        systems: _Systems,
        settings: SolverSettings,
        options: Mapping[str, Any],
        batch: Batch,
        mode: SaveMode,
        dtype: np.dtype,
        per_component: bool,
        breaks: bool,
    ) -> BatchSolverKernel:
        system, observables = systems
        if system.mass is not None and isinstance(settings.method, ERKTableau):
            advice = f"`{settings.method.name}` is explicit; choose an implicit method."
            raise InvalidOption("mass_matrix", settings.mass_matrix, advice=advice)
        choice = settings.choice(system, observables)
        run_settings = settings.run_settings(mode, per_component, choice, breaks)
        small = is_small_batch(dtype, batch.n_runs or 1)
        backend = settings.make_backend(dtype, system, run_settings, small)
        config = settings.config(backend)
        given = content_of(options, config)
        # The system itself: every field of it that says what is computed is compared.
        key = (*systems, backend.identity(system), run_settings, given, backend.key)
        memory = self._memory
        with building():  # another thread may want the same
            kernel = None if given is None else memory.kernels.get(key)
            if kernel is None:
                integrator = SingleIntegratorRun(system, run_settings, dtype, options, observables)
                kernel = BatchSolverKernel(integrator, config, backend, memory.built)
                if given is not None:
                    kernel = memory.kernels.put(key, kernel)
        return kernel
