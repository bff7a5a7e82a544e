"""What the user gets back: SciPy's names and shapes, with a leading run axis for a batch."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import field, frozen

from cubie.algorithms import StepAlgorithm
from cubie.kernel import KernelOutputs
from cubie.loop import COUNTERS
from cubie.saving import SaveMode
from cubie.status import RunStatus
from cubie_planner import Plan


@frozen(eq=False)
class Result:
    """Solution of one initial value problem, or of a batch.

    For one run the shapes are SciPy's; for a batch those marked * have a leading
    axis of runs.

    Attributes
    ----------
    t : ndarray (n_points,)
        Times of `y`. For a batch saved at every step (n_runs, n_points).
    y : ndarray (n, n_points) *
        Solution; NaN where a run of a batch did not get so far. Of a final state
        alone, that of a failed run is the last one it reached, at `t_reached`.
    sol, t_events, y_events : None
    nfev, njev, nlu : int *
        Evaluations of the right-hand side, of its Jacobian, LU factorizations.
    n_steps, n_rejected : int *
        Accepted and rejected steps.
    n_newton, n_linear : int *
        Iterations of Newton's method, and of an iterative linear solver.
    status : int *
        A `RunStatus`: 0 success, negative for failures.
    success : bool *
    message : str
        What happened, and what to do about failures.
    t_reached : float *
        Time that the run got to.
    plan : cubie_planner.Plan
        Where every buffer lived.
    notes : tuple of str
        What the solver wants you to know, such as a right-hand side that could
        not be traced.
    solve_seconds : float
        Wall time of the kernel, without compilation.
    """

    t: np.ndarray
    y: np.ndarray
    nfev: Any
    n_steps: Any
    n_rejected: Any
    status: Any
    t_reached: Any
    plan: Plan = field(repr=False)
    notes: tuple[str, ...] = ()
    solve_seconds: float = 0.0
    sol: None = None
    t_events: None = None
    y_events: None = None
    njev: Any = 0
    nlu: Any = 0
    n_newton: Any = 0
    n_linear: Any = 0

    @property
    def success(self):
        return self.status >= 0

    @property
    def message(self) -> str:
        if np.ndim(self.status) == 0:
            return RunStatus(int(self.status)).message
        codes, counts = np.unique(self.status, return_counts=True)
        total = len(self.status)
        return " ".join(
            f"{count} of {total} runs: {RunStatus(int(code)).message}"
            for code, count in zip(codes[::-1], counts[::-1], strict=True)
        )

    def __getitem__(self, name: str):
        """Return an attribute by name, as SciPy's results allow."""
        if name.startswith("_") or not hasattr(self, name):
            raise KeyError(name)
        return getattr(self, name)


def make_result(
    outputs: KernelOutputs,
    mode: SaveMode,
    single: bool,
    shape: tuple[int, int],
    times: np.ndarray | None,
    t_end: float,
    plan: Plan,
    notes: tuple[str, ...],
    seconds: float,
    algorithm: StepAlgorithm,
) -> Result:
    """Shape a kernel's outputs for the user; the arrays are views, not copies.

    Parameters
    ----------
    shape : (n_states, n_runs)
    times : ndarray or None
        `t_eval`.
    algorithm : StepAlgorithm
        Tells the work in each step.
    """
    n, n_runs = shape
    states = outputs.states.reshape(-1, n, n_runs)
    t, y, reached = _points(outputs, mode, states, times, t_end)
    counters: dict[str, Any] = dict(
        zip(COUNTERS, outputs.counters.reshape(-1, n_runs), strict=True)
    )
    status = outputs.status
    if single:
        kept = int(outputs.saved[0]) if mode is not SaveMode.FINAL else 1
        t = t[0] if t.ndim == 2 else t
        t, y, reached = t[:kept], y[0, :, :kept], reached[0]
        if mode is SaveMode.FINAL:
            t = np.array([reached])
        counters = {name: int(values[0]) for name, values in counters.items()}
        status = int(status[0])
    return Result(
        t=t,
        y=y,
        **_work(counters, algorithm),
        n_newton=counters["newton"],
        n_linear=counters["linear"],
        n_steps=counters["steps"],
        n_rejected=counters["rejected"],
        status=status,
        t_reached=reached,
        plan=plan,
        notes=notes,
        solve_seconds=seconds,
    )


def _work(counters: dict[str, Any], algorithm: StepAlgorithm) -> dict[str, Any]:
    """Return nfev, njev and nlu; nothing is computed that the method does not do."""
    nfev = counters["rhs"]
    if algorithm.rhs_per_iteration:
        nfev = nfev + counters["newton"] * algorithm.rhs_per_iteration
    each = algorithm.jacobians_per_step, algorithm.factorizations_per_step
    if not any(each):
        none = np.zeros(nfev.shape, nfev.dtype) if isinstance(nfev, np.ndarray) else 0
        return {"nfev": nfev, "njev": none, "nlu": none}
    attempts = counters["steps"] + counters["rejected"]
    return {"nfev": nfev, "njev": attempts * each[0], "nlu": attempts * each[1]}


def _points(outputs: KernelOutputs, mode: SaveMode, states, times, t_end):
    """Return t, y (run, component, point) and the time each run reached."""
    y = states.transpose(2, 1, 0)
    if mode is SaveMode.FINAL:
        return np.array([t_end], dtype=states.dtype), y, outputs.times
    if mode is SaveMode.TIMES:
        return np.asarray(times, dtype=states.dtype), y, outputs.times
    n_runs = y.shape[0]
    longest = int(outputs.saved.max())
    t = outputs.times.reshape(-1, n_runs).T[:, :longest]
    last = np.maximum(outputs.saved - 1, 0)
    return t, y[:, :, :longest], t[np.arange(n_runs), last]
