"""`solve_ivp`: everything in one call."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from types import MappingProxyType, MethodType
from typing import Any

import numpy as np
from attrs import evolve, frozen

from cubie.checks import time_span
from cubie.launch.results import Result
from cubie.memory import NEVER_CHANGE, KernelMemory
from cubie.models.model import USUAL, Model
from cubie.recent import Recent
from cubie.solver import Solver
from cubie.systems.events.given import read_events
from cubie.systems.sensitivities.inputs import check_sensitivities, has_sensitivities
from cubie.tableaus import Method
from cubie_planner import Plan

MAX_RECENT_KERNELS = 64  # that repeated calls find again
# Solvers that they find again, with the functions that these are of and all that those refer to.
MAX_RECENT_SOLVERS = 8
MAX_COMPARED_BYTES = 2**20  # of an array among the options: a larger one takes a solver of its own


@frozen(eq=False)
class Known:
    """A solver that is found again, and the objects by whose addresses it is."""

    solver: Solver
    kept: tuple[Any, ...]


_recent = KernelMemory()
_solvers: Recent[Known] = Recent(MAX_RECENT_SOLVERS)

_OF_FUN = "as fun needs it"  # a function, equations or a model of a file; known by its identity
_USUAL = MappingProxyType({"method": "tsit5", "rtol": 1e-3, "atol": 1e-6})


def solve_ivp(
    fun: Any,
    t_span: Sequence[Any],
    y0: Any = None,
    method: Any = _OF_FUN,
    t_eval: Any = None,
    dense_output: bool = False,
    events: Any = None,
    vectorized: bool = False,
    args: Any = None,
    *,
    rtol: Any = _OF_FUN,
    atol: Any = _OF_FUN,
    first_step: Any = None,
    max_step: Any = math.inf,
    min_step: Any = 0.0,
    max_steps: int = 100_000,
    locations: Any = "auto",
    max_shared: int | str | None = None,
    block_size: int | None = None,
    backend: str = "auto",
    device: Any = None,
    dtype: Any = None,
    fastmath: bool = True,
    **options: Any,
) -> Result:
    """Solve an initial value problem, or a batch of them, y' = fun(t, y), y(t0) = y0.

    Parameters
    ----------
    fun : callable, equations as text or in SymPy, or Model
        ``fun(t, y, *args)`` returning a sequence of n numbers; ordinary Python. Or
        ``["dx = v", "dv = mu*(1 - x**2)*v - x"]`` and all else that
        `cubie.systems.equations` reads. Or what `cubie.load_model` read from a file: `y0` and
        `args` then name what has other values than in the model.
    t_span : (float, float)
        Start and end; integration runs backwards if the end lies before the start. Either may be an
        array (n_runs,): runs then have spans of their own, of any direction and length. An end may
        be infinite where an event ends runs.
    y0 : array_like (n,) or (n_runs, n)
        Initial state, of one run or of each; of equations also a mapping, or a series or
        table of pandas, by name. Complex numbers make the states complex.
        float32 data selects float32.
    method : str or Method
        Such as "tsit5", "dormand_prince54", "dop853"; for stiff systems "rodas5p",
        "radau_iia_5", "kvaerno5", "bdf". SciPy's names are known, in any case, and its
        classes of these names. "tsit5" by default; "auto" of a model that was loaded.
    t_eval : array_like (n_points,) or (n_runs, n_points), optional
        Times to save at, read off the solution inside steps (`t_eval_exact=True`: steps land on
        them). With a row for each run, those of a run with fewer times end in NaN. By default a
        single run saves every step, a batch its final state (see `save`).
    dense_output : bool
        Keep the solution as a function of time, `result.sol`: of every step what it is inside.
        Steps are where they are without; `t_eval` and `save` say what else is kept.
    events : callable, `cubie.Event`, or sequence of them, optional
        Functions ``event(t, y, *args)`` of one number whose roots are found along the solution,
        as SciPy's: with attributes `terminal` (whether a run ends at a root, or at which one) and
        `direction`, and beyond SciPy `apply` (``apply(t, y, *args)``, the state with which the run
        goes on) and `on` ("accept": a condition that is looked at once a step). See `cubie.Event`.
    vectorized : bool
        `fun` takes states as columns, (n, k), and returns such: it is traced with one of them.
    args : tuple, optional
        Further arguments of `fun`. An array with a leading axis of runs makes a
        batch; see `cubie.systems.split_batch` for the rule. An `Interpolant` is an input that
        depends on time. Of equations also by name, as `y0`; there each is one number, so that
        lists and series sweep too.
    rtol, atol : float or array_like (n,), or (n_runs, 1) or (n_runs, n)
        A step's error is kept below ``atol + rtol * abs(y)``, in the root mean
        square over the components: 1e-3 and 1e-6 by default, 1e-6 and 1e-12 of a model that was
        loaded. One dimension is of components, as in SciPy; runs with
        tolerances of their own have a row each.
    first_step : float or ndarray (n_runs,), optional
        First step size; chosen from the derivatives by default. Methods without an
        error estimate keep it throughout, and need it.
    max_step : float or ndarray (n_runs,)
        Largest step size.
    min_step : float or ndarray (n_runs,)
        Least step size, but to land on a time: a run that needs smaller ones for its tolerance
        ends with status STEP_TOO_SMALL.
    max_steps : int
        Attempted steps a run may use before it ends with status TOO_MANY_STEPS.
    locations : "auto", "local", "shared", "global", mapping of buffer to location, or Plan
        Where buffers live that are not pinned by a `{buffer}_location` option.
    max_shared : int or str, optional
        Shared memory a block may use, "48k" or "sm_90"; by default the device's
        limit, and none where there is no device.
    block_size : int, optional
        Runs (threads) per block; 64 by default. How many registers a thread has on a GPU:
        ``max_registers`` and ``min_blocks`` among the options.
    backend : {"auto", "cuda", "cpu", "python"}
        "auto" is cuda where there is a GPU, or one is named by `device`, else cpu.
    device : str or (int, int), optional
        The GPU to plan and compile for: a card ("H100", "rtx 4090"), an architecture ("sm_90") or
        a compute capability (9, 0); by default the one that is there. One that is not there can
        be planned and compiled for (`Solver.prepare`, `Solver.resources`), and solves nothing.
    dtype : float64 or float32, optional
    fastmath : bool
        Allow the compiler to reorder and fuse arithmetic; that of `fun` only to fuse.
        Without it results are bit-identical for every placement of the buffers.
    **options
        ``observables`` (quantities to compute at every point that is saved: a function
        ``(t, y, *args)`` that returns a dict, or a sequence, of numbers; a mapping of names to
        functions of one number; of equations as text names of what they define, or a mapping
        of new names to text; all are traced like `fun`, and are in `result.observables`),
        ``save_states``, ``save_observables`` (which are kept: indices or names, in the order
        wanted, or False for none), ``summaries`` (``{"y0": ["max", "mean"]}``: numbers of each
        run instead of its points, of states and observables by name or number; see
        `cubie.run.summaries`), ``window`` and ``after`` (the times that summaries are of),
        ``step_controller`` (a name, such as "pid"), ``save`` ("final", "steps"),
        ``t_eval_exact`` (whether steps land on the times of `t_eval`), ``event_samples`` (into how
        many parts a step is cut that events are looked for in; 1), ``max_events`` (how many of
        each are kept of a run; all by default), ``jac``
        (``jac(t, y, *args)`` or a constant matrix, dense or sparse, used where `fun` cannot
        be traced), ``jac_p`` (``jac_p(t, y, *args)``, n rows of derivatives by all numbers in
        `args`, for sensitivities of such a `fun`), ``jac_sparsity`` (a matrix, not zero where the
        Jacobian may be; or ``lband`` and ``uband``, with `jac` packed: where `fun` cannot be traced
        and there is no `jac`, columns without a row in common are found together),
        ``mass_matrix`` (M of M y' = f, for implicit methods), ``breakpoints``
        (times that no step crosses, of all runs, or with a row for each), ``lanes`` (runs per
        SIMD group on the CPU), ``time_slices`` (whether launches on a GPU end in the middle of
        runs, before the watchdog of a display does so, and others go on), ``max_registers`` (of a
        thread on a GPU, 24 to 255), ``min_blocks`` (that are to be resident on a multiprocessor: a
        thread gets no more registers than leave room for them), ``verify`` (for a GPU, whether the
        assembler is asked about the plan of "auto"; True) and ``effort`` (how many plans are
        compiled for that, at most, beside the one with everything local, where that needs a
        stack), options of the
        components (``safety``, ``kp``, ...; of implicit methods ``linear_solver`` ("lu",
        "minimal_residual", "steepest_descent", "bicgstab", "gmres"), ``newton_tolerance``,
        ``max_newton_iterations``, ``jacobian_reuse``, ``krylov_tolerance``, ``preconditioner``,
        ...) and ``{buffer}_location`` for every buffer.

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
    usual = USUAL if isinstance(fun, Model) else _USUAL
    settings = dict(
        method=usual["method"] if method is _OF_FUN else method,
        rtol=usual["rtol"] if rtol is _OF_FUN else rtol,
        atol=usual["atol"] if atol is _OF_FUN else atol,
        first_step=first_step,
        max_step=max_step,
        min_step=min_step,
        max_steps=max_steps,
        locations=locations,
        max_shared=max_shared,
        block_size=block_size,
        backend=backend,
        device=device,
        dtype=dtype,
        fastmath=fastmath,
        vectorized=vectorized,
        dense_output=dense_output,
        **options,
    )
    if events is not None:
        settings["events"] = events
    if isinstance(fun, Model):
        return _solve_model(fun, t_span, y0, t_eval, args, settings)
    if y0 is None:
        raise TypeError("solve_ivp() lacks `y0`: only models have initial values of their own.")
    return _solver(fun, settings).solve(t_span, y0, t_eval, args=args)


def _solve_model(
    model: Model, t_span: Any, y0: Any, t_eval: Any, args: Any, settings: dict[str, Any]
) -> Result:
    """Solve a model of a file, from its own initial values where none are given."""
    start, _ = time_span(t_span)
    by: Any = settings.get("sensitivities")
    if has_sensitivities(by):
        check_sensitivities(by)
        model, settings["sensitivities"], args = model.differentiable(by, y0, args, start)
    posed = model.pose(y0, args, start)
    given = read_events(settings.pop("events", None))
    if posed.events or given:
        settings["events"] = (*given, *posed.events)
    if posed.visible and len(posed.visible) < len(posed.equations.states):
        settings.setdefault("save_states", list(posed.visible))
    if posed.breaks is not None:
        settings["breakpoints"] = _both(posed.breaks, settings.get("breakpoints"))
    solver = _solver(posed.equations, settings)
    result = solver.solve(t_span, posed.y0, t_eval, args=posed.args)
    return evolve(result, parameters=posed.parameters)


def _both(own: np.ndarray, given: Any) -> np.ndarray:
    """Return the breaks of a model and those that are given, (n_breaks,) or (n_runs, n_breaks)."""
    if given is None:
        return own
    given = np.asarray(given)
    n_runs = max([len(one) for one in (own, given) if one.ndim == 2], default=0)
    rows = [
        np.broadcast_to(one, (n_runs, one.shape[-1])) if n_runs else one for one in (own, given)
    ]
    return np.concatenate(rows, axis=-1)


def _solver(fun: Any, options: dict[str, Any]) -> Solver:
    """Return a solver with these options: the one of an earlier call with the same, if it is known.

    It looks itself at what the function refers to each time, and at options that are functions.
    Of those that are arrays, lists and the like it has copies, which nobody changes.
    """
    global _recent
    kept: list[Any] = []
    key = _key(fun, options, kept)
    known = None if key is None else _solvers.get(key)
    if known is not None:
        return known.solver
    if len(_recent.kernels) >= MAX_RECENT_KERNELS:
        _recent = KernelMemory()
    solver = Solver(fun)
    solver._memory = _recent
    if key is None:
        solver.update(**options)
        return solver
    solver.update(**{name: _copied(value) for name, value in options.items()})
    return _solvers.put(key, Known(solver, tuple(kept))).solver


class _NotSeen(Exception):
    """An option may change in a way that is not looked at."""


def _key(fun: Any, options: dict[str, Any], kept: list[Any]) -> Any:
    """Return what a solver is found again by; None where it has to be made anew.

    Objects that the key has the addresses of are added to `kept`.
    """
    if not callable(fun):
        return None  # equations, perhaps in a list
    try:
        parts = [_identity(fun, kept), *(_content(value, kept) for value in options.values())]
    except (_NotSeen, RecursionError):
        return None
    return (*options, *parts)


def _content(value: Any, kept: list[Any]) -> Any:
    """Return what an option is compared by: data by content, and all else by identity.

    Raises
    ------
    _NotSeen
        For collections of other kinds: what they hold is read once, and they may change.
    """
    kind = type(value)
    if isinstance(value, (Method, Plan)):
        return _identity(value, kept)  # coefficients take longer to compare than a small solve
    if isinstance(value, (type, *NEVER_CHANGE)):
        # Numbers of several types are equal, and not all of them are allowed.
        return kind, value
    if kind in (list, tuple):
        return kind, tuple(_content(entry, kept) for entry in value)
    if kind is dict:
        entries = [part for pair in value.items() for part in pair]
        return kind, tuple(_content(entry, kept) for entry in entries)
    if kind is np.ndarray and not value.dtype.hasobject:
        if value.nbytes > MAX_COMPARED_BYTES:
            raise _NotSeen
        return kind, value.shape, value.dtype.str, value.tobytes()
    if isinstance(value, Collection):
        raise _NotSeen
    return _identity(value, kept)


def _identity(value: Any, kept: list[Any]) -> Any:
    """Return the address of an object; of a method, which each access makes anew, of what it is of.

    Two methods of one object are equal then; and equal objects may still be two.
    """
    of = (value.__self__, value.__func__) if type(value) is MethodType else (value,)
    kept += of
    return tuple(map(id, of))


def _copied(value: Any) -> Any:
    """Return data that nobody else can change; what is compared by identity stays itself."""
    kind = type(value)
    if kind in (list, tuple):
        return kind(map(_copied, value))
    if kind is dict:
        return {_copied(key): _copied(entry) for key, entry in value.items()}
    return value.copy() if kind is np.ndarray and not value.dtype.hasobject else value
