"""`solve_ivp` and `Solver`: from a user's problem to a planned, compiled, solved batch."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from attrs import field, frozen

from cubie import checks
from cubie.backend import Backend, make_backend
from cubie.errors import InvalidOption, InvalidProblem
from cubie.factory import BuildCache, require_known
from cubie.integrator import RunSettings, SingleIntegratorRun, check_options, options_of
from cubie.kernel import (
    DEFAULT_BLOCK_SIZE,
    BatchSolverConfig,
    BatchSolverKernel,
)
from cubie.prepared import PreparedSolve, RecurringSolve, is_worth_keeping
from cubie.results import Result
from cubie.saving import SaveMode
from cubie.sizes import parse_size
from cubie.staging import shapes_of
from cubie.systems import (
    Batch,
    System,
    read_equations,
    split_batch,
    trace,
    with_jacobian,
    with_mass,
)
from cubie.tableaus import ERKTableau, get_tableau
from cubie_planner import Plan
from cubie_planner.explain import Explanation, explain

DTYPES = ("float32", "float64")
MAX_BLOCK_SIZE = 1024
MAX_RECURRING_SHAPES = 16  # of inputs that a solver keeps room for
MAX_RECENT_KERNELS = 64  # that repeated calls of `solve_ivp` find again


class UntracedWarning(UserWarning):
    """A right-hand side works, but not as straight-line code."""


@frozen
class SolverSettings:
    """Everything about a solve that no component of the integrator owns.

    The fields are the keyword arguments of `solve_ivp`, see there.
    """

    method: Any = field(default="tsit5", converter=get_tableau)
    step_controller: str | None = None
    rtol: Any = 1e-3
    atol: Any = 1e-6
    first_step: float | None = None
    max_step: float = math.inf
    max_steps: int = 100_000
    locations: Any = "auto"
    max_shared: int | str | None = None
    block_size: int | None = None
    backend: str = "auto"
    dtype: Any = None
    fastmath: bool = True
    lanes: int | None = None
    save: str | None = None
    jac: Callable | None = None
    mass_matrix: Any = None

    def save_mode(self, single: bool, times: np.ndarray | None) -> SaveMode:
        """Return which points to keep: those asked for, else every step or the last."""
        if times is not None:
            if self.save is not None:
                raise InvalidOption(
                    "save", self.save, advice="Give either t_eval or save, not both."
                )
            return SaveMode.TIMES
        if self.save is None:
            return SaveMode.STEPS if single else SaveMode.FINAL
        if self.save not in ("final", "steps"):
            raise InvalidOption("save", self.save, ("final", "steps"))
        return SaveMode(self.save)

    def run_settings(self, mode: SaveMode, per_component: bool) -> RunSettings:
        """Return what decides which components there are."""
        return RunSettings(
            method=self.method,
            step_controller=self.step_controller,
            save_mode=mode,
            per_component=per_component,
            first_step_given=self.first_step is not None,
        )


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
        dtype = _dtype(settings.dtype, y0)
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
            first_step = _first_step(settings, self._last, span)
            return recurring.run(y0, given, span, times, first_step)
        batch = split_batch(y0, given)
        checks.initial_states(batch.y0)
        prepared = self._prepared_for(settings, options, batch, times, _dtype(settings.dtype, y0))
        self._last = prepared.kernel
        if key is not None and is_worth_keeping(batch):
            if len(self._recurring) >= MAX_RECURRING_SHAPES:
                self._recurring.clear()
            self._recurring[key] = RecurringSolve(prepared, batch, given)
        return prepared.run(batch, span, times, _first_step(settings, prepared.kernel, span))

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
        key = (batch.y0.shape[0], _structure(batch.args), mode, dtype)
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
            system = trace(self.fun, n, batch.args, names=names)
            system = with_mass(with_jacobian(system, jac, batch.args), mass)
            if system.note:
                warnings.warn(system.note, UntracedWarning, stacklevel=5)
            self._systems[key] = system
        return self._systems[key]

    def _notes(self, settings: SolverSettings, batch: Batch) -> tuple[str, ...]:
        note = self._system(settings, batch).note
        return (note,) if note else ()

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
        backend = make_backend(
            settings.backend,
            dtype,
            bool(settings.fastmath),
            settings.lanes,
            one_run=system.kind == "compiled",
            n_states=system.n_states,
        )
        config = BatchSolverConfig(
            locations=settings.locations,
            max_shared_bytes=_max_shared(settings.max_shared, backend),
            block_size=_block_size(settings.block_size),
            compute_capability=backend.compute_capability,
        )
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


def _max_shared(given: Any, backend: Backend) -> int | None:
    """Return the bytes a block may use: those given, none included, else the device's."""
    size = parse_size("max_shared", given)
    return backend.max_shared_bytes if size is None else size


def _dtype(given: Any, y0: Any) -> np.dtype:
    """Return the dtype asked for; by default float32 for float32 data, else float64."""
    if given is not None:
        try:
            dtype = np.dtype(given)
        except TypeError as error:
            raise InvalidOption("dtype", given, DTYPES) from error
        if dtype not in (np.float32, np.float64):
            raise InvalidOption("dtype", dtype.name, DTYPES)
        return dtype
    return np.dtype(np.float32 if getattr(y0, "dtype", None) == np.float32 else np.float64)


def _structure(value: Any) -> Any:
    """Describe args by what tracing depends on: types, shapes, and constants; hashable."""
    if isinstance(value, (tuple, list)):
        return type(value).__name__, tuple(_structure(entry) for entry in value)
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str
    if isinstance(value, (float, np.floating)):
        return "float"
    return repr(value), id(value) if callable(value) else None


def _block_size(given: Any) -> int:
    if given is None:
        return DEFAULT_BLOCK_SIZE
    size = checks.count("block_size", given)
    if size > MAX_BLOCK_SIZE:
        raise InvalidOption(
            "block_size", size, advice=f"A block has at most {MAX_BLOCK_SIZE} runs."
        )
    return size


def _first_step(settings: SolverSettings, kernel: BatchSolverKernel, span) -> float:
    if settings.first_step is None:
        if not kernel.integrator.controller.adaptive:
            raise InvalidProblem(
                "first_step",
                f"must be given: `{settings.method.name}` runs with a fixed step size here. "
                "For error control choose a method with an error estimate, such as 'tsit5'.",
            )
        return 0.0
    step = checks.positive("first_step", settings.first_step)
    length = abs(span[1] - span[0])
    if length and step > length:
        raise InvalidProblem("first_step", f"is {step}, longer than t_span, which is {length}.")
    return step


_recent = KernelMemory()


def solve_ivp(
    fun: Callable,
    t_span: Sequence[float],
    y0: Any,
    method: Any = "tsit5",
    t_eval: Any = None,
    *,
    args: Sequence[Any] | None = None,
    rtol: Any = 1e-3,
    atol: Any = 1e-6,
    first_step: float | None = None,
    max_step: float = math.inf,
    max_steps: int = 100_000,
    locations: Any = "auto",
    max_shared: int | str | None = None,
    block_size: int | None = None,
    backend: str = "auto",
    dtype: Any = None,
    fastmath: bool = True,
    **options: Any,
) -> Result:
    """Solve an initial value problem, or a batch of them, y' = fun(t, y), y(t0) = y0.

    Parameters
    ----------
    fun : callable, or equations as text or in SymPy
        ``fun(t, y, *args)`` returning a sequence of n numbers; ordinary Python. Or
        ``["dx = v", "dv = mu*(1 - x**2)*v - x"]`` and all else that
        `cubie.systems.equations` reads.
    t_span : (float, float)
        Start and end; integration runs backwards if the end lies before the start.
    y0 : array_like (n,) or (n_runs, n)
        Initial state, of one run or of each; of equations also a mapping by name.
        float32 data selects float32.
    method : str or Tableau
        Such as "tsit5", "dormand_prince54", "dop853"; for stiff systems "rodas5p",
        "radau_iia_5", "kvaerno5". SciPy's "RK45", "RK23", "DOP853" and "Radau" are
        known, in any case.
    t_eval : array_like (n_points,), optional
        Times to save at; steps land on them exactly. By default a single run
        saves every step, a batch its final state (see `save`).
    args : tuple, optional
        Further arguments of `fun`. An array with a leading axis of runs makes a
        batch; see `cubie.systems.split_batch` for the rule. Of equations also a
        mapping by name.
    rtol, atol : float or array_like (n,)
        A step's error is kept below ``atol + rtol * abs(y)``, in the root mean
        square over the components.
    first_step : float, optional
        First step size; chosen from the derivatives by default. Methods without an
        error estimate keep it throughout, and need it.
    max_step : float
        Largest step size.
    max_steps : int
        Attempted steps a run may use before it ends with status TOO_MANY_STEPS.
    locations : "auto", "local", "shared", mapping of buffer to location, or Plan
        Where buffers live that are not pinned by a `{buffer}_location` option.
    max_shared : int or str, optional
        Shared memory a block may use, "48k" or "sm_90"; by default the device's
        limit, and none where there is no device.
    block_size : int, optional
        Runs (threads) per block; 64 by default.
    backend : {"auto", "cuda", "cpu", "python"}
        "auto" is cuda where there is a GPU, else cpu.
    dtype : float64 or float32, optional
    fastmath : bool
        Allow the compiler to reorder and fuse arithmetic. Without it results are
        bit-identical for every placement of the buffers.
    **options
        ``step_controller`` ("fixed", "i", "pi", "pid", "gustafsson"), ``save``
        ("final", "steps"), ``jac`` (``jac(t, y, *args)``, used where `fun` cannot be
        traced), ``mass_matrix`` (M of M y' = f, for implicit methods), ``lanes`` (runs
        per SIMD group on the CPU), options of the components (``safety``, ``kp``, ...;
        of implicit methods ``linear_solver`` ("lu", "minimal_residual",
        "steepest_descent", "bicgstab"), ``newton_tolerance``,
        ``max_newton_iterations``, ``krylov_tolerance``, ``preconditioner``, ...) and
        ``{buffer}_location`` for every buffer.

    Returns
    -------
    Result
        A failed run does not raise: see `status`, `success`, `message`.

    Raises
    ------
    UnknownOption, InvalidOption, InvalidProblem
        Naming the argument, what was given and what is allowed.
    cubie_planner.PlanInfeasible
        If the pins and limits cannot hold together.
    """
    global _recent
    if len(_recent.kernels) >= MAX_RECENT_KERNELS:
        _recent = KernelMemory()
    solver = Solver(fun)
    solver._memory = _recent
    solver.update(
        method=method,
        rtol=rtol,
        atol=atol,
        first_step=first_step,
        max_step=max_step,
        max_steps=max_steps,
        locations=locations,
        max_shared=max_shared,
        block_size=block_size,
        backend=backend,
        dtype=dtype,
        fastmath=fastmath,
        **options,
    )
    return solver.solve(t_span, y0, t_eval, args=args)
