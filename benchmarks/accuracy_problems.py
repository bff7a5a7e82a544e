"""Errors on the problems of docs/implicit.md, and how much these problems amplify errors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.integrate
from tests.oracle.problems import Problem

from benchmarks.work_precision import ATOL_OVER_RTOL, error_at_end
from cubie import RunStatus, Solver
from cubie.tableaus import Tableau

TOLERANCES = (1e-3, 1e-5, 1e-7, 1e-9)
# References are good to 1e-10. Methods of order two take a hundred thousand steps for 1e-7.
LEAST_TOLERANCE_OF_ORDER = {2: 1e-5}
MAX_STEPS = 200_000
ALONG = "radau_iia_5"
ALONG_TOLERANCE = 1e-9
ALONG_TOLERANCES = {"ring_modulator": 1e-5}
GAMMA = 1.0 - np.sqrt(0.5)


def problem_errors(problem: Problem, method: Tableau) -> dict[str, float | str]:
    """Return errors over the relative tolerance, or how a run ended, by tolerance."""
    solver = Solver(
        problem.fun, method=method, backend="cpu", fastmath=False, max_steps=MAX_STEPS, save="final"
    )
    found: dict[str, float | str] = {}
    for rtol in TOLERANCES:
        if rtol < 0.999 * LEAST_TOLERANCE_OF_ORDER.get(method.order, 0.0):
            continue
        result = solver.solve(
            problem.t_span, np.array(problem.y0), args=problem.args, rtol=rtol,
            atol=rtol * ATOL_OVER_RTOL[problem.name],
        )  # fmt: skip
        status = RunStatus(int(result.status))
        error = error_at_end(problem, result.y[:, -1]) / rtol
        solved = status is RunStatus.SUCCESS
        found[f"{rtol:.0e}"] = float(f"{error:.3g}") if solved else status.name.lower()
    return found


def peer_error(problem: Problem, method: str) -> dict[str, float | str]:
    """Return the same of one of SciPy's methods, at the same tolerances."""
    found: dict[str, float | str] = {}
    for rtol in TOLERANCES:
        run = scipy.integrate.solve_ivp(
            problem.rhs, problem.t_span, problem.y0, method, rtol=rtol,
            atol=rtol * ATOL_OVER_RTOL[problem.name],
        )  # fmt: skip
        error = error_at_end(problem, run.y[:, -1]) / rtol
        found[f"{rtol:.0e}"] = float(f"{error:.3g}") if run.success else "failed"
    return found


def amplification(problem: Problem) -> float:
    """Return how many tolerances at the end one tolerance becomes, made once at the worst time.

    The largest norm, over all times s, of the derivative of y(end) by y(s), each component in
    units of its tolerance there. The product of the derivatives of steps runs from the end to the
    start along a computed solution; each is that of a two-stage SDIRK step, since steps of the
    solution are long against the fastest rates.
    """
    rtol = ALONG_TOLERANCES.get(problem.name, ALONG_TOLERANCE)
    floor = ATOL_OVER_RTOL[problem.name]
    result = Solver(
        problem.fun, method=ALONG, backend="cpu", fastmath=False, max_steps=MAX_STEPS, save="steps"
    ).solve(problem.t_span, np.array(problem.y0), args=problem.args, rtol=rtol, atol=rtol * floor)
    times, states = result.t, result.y.T
    jacobian = _jacobian(problem)
    unit = np.eye(len(problem.y0))
    from_here, worst = unit, 1.0
    for k in range(len(times) - 2, -1, -1):
        h = times[k + 1] - times[k]
        middle = 0.5 * (times[k] + times[k + 1]), 0.5 * (states[k] + states[k + 1])
        matrix = h * jacobian(*middle)
        stage = unit - GAMMA * matrix
        step = np.linalg.solve(stage, np.linalg.solve(stage, unit + (1 - 2 * GAMMA) * matrix))
        from_here = from_here @ step
        scaled = from_here * (floor + abs(states[k])) / (floor + abs(states[-1]))[:, None]
        worst = max(worst, float(np.linalg.norm(scaled, 2)))
    return worst


def _jacobian(problem: Problem) -> Callable:
    """Return the problem's Jacobian, by differences where it has none."""
    if problem.jac is not None:
        jac = problem.jac
        return lambda t, y: np.array(jac(t, y, *problem.args), dtype=float)

    def differences(t, y):
        bumps = 1.5e-8 * np.maximum(np.abs(y), 1e-6)
        there = problem.rhs(t, y)
        columns = [
            (problem.rhs(t, y + b * e) - there) / b
            for b, e in zip(bumps, np.eye(y.size), strict=True)
        ]
        return np.array(columns).T

    return differences
