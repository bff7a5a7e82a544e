"""`solve_ivp`: everything in one call."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from cubie.launch.results import Result
from cubie.memory import NEVER_CHANGE, KernelMemory
from cubie.other_packages import USUAL
from cubie.recent import Recent
from cubie.solver import Solver
from cubie.tableaus import Method
from cubie_planner import Plan

MAX_RECENT_KERNELS = 64  # that repeated calls find again
# Solvers that they find again, with the functions that these are of and all that those refer to.
MAX_RECENT_SOLVERS = 8

_recent = KernelMemory()
_solvers: Recent[Solver] = Recent(MAX_RECENT_SOLVERS)


def solve_ivp(
    fun: Callable,
    t_span: Sequence[float],
    y0: Any,
    method: Any = "tsit5",
    t_eval: Any = None,
    dense_output: bool = False,
    events: Any = None,
    vectorized: bool = False,
    args: Sequence[Any] | None = None,
    *,
    rtol: Any = 1e-3,
    atol: Any = 1e-6,
    first_step: float | None = None,
    max_step: float = math.inf,
    min_step: float = 0.0,
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
    fun : callable, or equations as text or in SymPy
        ``fun(t, y, *args)`` returning a sequence of n numbers; ordinary Python. Or
        ``["dx = v", "dv = mu*(1 - x**2)*v - x"]`` and all else that
        `cubie.systems.equations` reads.
    t_span : (float, float)
        Start and end; integration runs backwards if the end lies before the start.
    y0 : array_like (n,) or (n_runs, n)
        Initial state, of one run or of each; of equations also a mapping, or a series or
        table of pandas, by name. Complex numbers make the states complex.
        float32 data selects float32.
    method : str or Method
        Such as "tsit5", "dormand_prince54", "dop853"; for stiff systems "rodas5p",
        "radau_iia_5", "kvaerno5", "bdf". SciPy's names are known, in any case, and its
        classes of these names.
    t_eval : array_like (n_points,), optional
        Times to save at, read off the solution inside steps (`t_eval_exact=True`: steps land on
        them). By default a single run saves every step, a batch its final state (see `save`).
    dense_output, events : False, None
        Nothing else: a result holds points, and runs go to the end of `t_span`.
    vectorized : bool
        `fun` takes states as columns, (n, k), and returns such: it is traced with one of them.
    args : tuple, optional
        Further arguments of `fun`. An array with a leading axis of runs makes a
        batch; see `cubie.systems.split_batch` for the rule. An `Interpolant` is an input that
        depends on time. Of equations also by name, as `y0`; there each is one number, so that
        lists and series sweep too.
    rtol, atol : float or array_like (n,)
        A step's error is kept below ``atol + rtol * abs(y)``, in the root mean
        square over the components.
    first_step : float, optional
        First step size; chosen from the derivatives by default. Methods without an
        error estimate keep it throughout, and need it.
    max_step : float
        Largest step size.
    min_step : float
        Least step size, but to land on a time: a run that needs smaller ones for its tolerance
        ends with status STEP_TOO_SMALL.
    max_steps : int
        Attempted steps a run may use before it ends with status TOO_MANY_STEPS.
    locations : "auto", "local", "shared", mapping of buffer to location, or Plan
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
        ``t_eval_exact`` (whether steps land on the times of `t_eval`), ``jac``
        (``jac(t, y, *args)`` or a constant matrix, dense or sparse, used where `fun` cannot
        be traced), ``jac_sparsity`` (a matrix, not zero where the Jacobian may be; or ``lband``
        and ``uband``, with `jac` packed: where `fun` cannot be traced and there is no `jac`,
        columns without a row in common are found together),
        ``mass_matrix`` (M of M y' = f, for implicit methods), ``breakpoints``
        (times that no step crosses, of all runs, or with a row for each), ``lanes`` (runs per
        SIMD group on the CPU), ``max_registers`` (of a thread on a GPU, 24 to 255),
        ``min_blocks`` (that are to be resident on a multiprocessor: a thread gets no more
        registers than leave room for them), ``verify`` (for a GPU, whether the assembler is asked
        about the plan of "auto"; True) and ``effort`` (how many plans are compiled for that, at
        most, beside the one with everything local, where that needs a stack), options of the
        components (``safety``, ``kp``, ...; of implicit methods ``linear_solver`` ("lu",
        "minimal_residual", "steepest_descent", "bicgstab"), ``newton_tolerance``,
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
    settings = dict(
        method=method,
        rtol=rtol,
        atol=atol,
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
        **options,
    )
    if dense_output is not USUAL["dense_output"]:
        settings["dense_output"] = dense_output
    if events is not USUAL["events"]:
        settings["events"] = events
    return _solver(fun, settings).solve(t_span, y0, t_eval, args=args)


def _solver(fun: Any, options: dict[str, Any]) -> Solver:
    """Return a solver with these options: the one of an earlier call with the same, if it is known.

    It looks itself at what the function refers to each time. Where an option may change its
    content while it stays the same object, it is made anew.
    """
    global _recent
    key = _key(fun, options)
    known = None if key is None else _solvers.get(key)
    if known is not None and known.fun is fun:
        return known
    if len(_recent.kernels) >= MAX_RECENT_KERNELS:
        _recent = KernelMemory()
    solver = Solver(fun)
    solver._memory = _recent
    solver.update(**options)
    return solver if key is None else _solvers.put(key, solver)


def _key(fun: Any, options: dict[str, Any]) -> Any:
    """Return what a solver is found again by; None where it has to be made anew."""
    if not callable(fun):
        return None  # equations, perhaps in a list
    parts: list[Any] = [id(fun)]  # the solver keeps it
    for value in options.values():
        if isinstance(value, (Method, Plan)):
            parts.append(id(value))  # its coefficients take longer to compare than a small solve
        elif isinstance(value, (type, *NEVER_CHANGE)):
            # Numbers of several types are equal, and not all of them are allowed.
            parts.append((type(value), value))
        else:
            return None
    return (*options, *parts)
