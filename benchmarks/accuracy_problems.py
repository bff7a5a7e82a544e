"""Errors on the problems of docs/implicit.md, and how much these problems amplify errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import scipy.integrate
import scipy.linalg
from tests.oracle.problems import Problem
from tests.oracle.stiff_problems import stiff_references

from benchmarks.work_precision import ATOL_OVER_RTOL, suits
from cubie import RunStatus, Solver
from cubie.tableaus import ERKTableau, Method

TOLERANCES = (1e-3, 1e-5, 1e-7, 1e-9, 1e-11)
# What a run may take; a tolerance that would take more is not tried.
STEP_BUDGET = 500_000
PEER_BUDGET = 200_000  # evaluations of the right-hand side, in Python
OVER_BUDGET = "over_budget"
# Where accuracy, not stability, decides the steps of an explicit method.
NOT_STIFF = ("hires", "pleiades", "brusselator_40")
# Rounding alone, of sums of E5's states, is more than a tighter tolerance asks for.
LEAST_TOLERANCE = {"e5": 1e-7}
# Sums of states, as their weights, that keep their value: errors of methods do not change them.
INVARIANTS = {"e5": ((0.0, 1.0, -1.0, -1.0),)}
ALONG = "radau_iia_5"
ALONG_TOLERANCE = 1e-9
ALONG_TOLERANCES = {"ring_modulator": 1e-5}
GAMMA = 1.0 - np.sqrt(0.5)


def tried(method: Method, problem: str) -> bool:
    """Tell whether a method is tried on a problem: that it is meant for it."""
    return problem in NOT_STIFF if isinstance(method, ERKTableau) else suits(method, problem)


def tolerances_of(problem: str) -> tuple[float, ...]:
    """Return the tolerances that a problem is tried at."""
    least = 0.999 * LEAST_TOLERANCE.get(problem, 0.0)
    return tuple(rtol for rtol in TOLERANCES if rtol >= least)


def error_in_tolerances(problem: Problem, end: np.ndarray, rtol: float) -> float:
    """Return the largest error of a component at the end, over what it may be."""
    wanted = stiff_references()[problem.name]
    return float(np.max(np.abs(end - wanted) / (ATOL_OVER_RTOL[problem.name] + abs(wanted))) / rtol)


def problem_errors(problem: Problem, method: Method) -> dict[str, float | str]:
    """Return errors over the relative tolerance, or how a run ended, by tolerance.

    Steps grow as the tolerance to the power of -1 / (order of the estimate + 1) at least: where
    that is more than the budget, the tolerance is not tried.
    """
    solver = Solver(
        problem.fun, method=method, backend="cpu", fastmath=False, max_steps=STEP_BUDGET,
        save="final",
    )  # fmt: skip
    found: dict[str, float | str] = {}
    expected, before = 0.0, TOLERANCES[0]
    for rtol in tolerances_of(problem.name):
        order = method.order if method.controls_steps else method.error_order or 0
        expected *= (before / rtol) ** (1.0 / (order + 1))
        if expected > STEP_BUDGET:
            found[f"{rtol:.0e}"] = OVER_BUDGET
            continue
        result = solver.solve(
            problem.t_span, np.array(problem.y0), args=problem.args, rtol=rtol,
            atol=rtol * ATOL_OVER_RTOL[problem.name],
        )  # fmt: skip
        status = RunStatus(int(result.status))
        error = error_in_tolerances(problem, result.y[:, -1], rtol)
        solved = status is RunStatus.SUCCESS
        over = OVER_BUDGET if status is RunStatus.TOO_MANY_STEPS else status.name.lower()
        found[f"{rtol:.0e}"] = float(f"{error:.3g}") if solved else over
        expected, before = float(result.n_steps), rtol
    return found


class _OverBudget(Exception):
    """A right-hand side was evaluated more often than a peer may."""


def peer_error(problem: Problem, method: str) -> dict[str, float | str]:
    """Return the same of one of SciPy's methods, at the same tolerances."""
    found: dict[str, float | str] = {}
    for rtol in tolerances_of(problem.name):
        if OVER_BUDGET in found.values():
            found[f"{rtol:.0e}"] = OVER_BUDGET
            continue
        try:
            run = scipy.integrate.solve_ivp(
                _counted(problem), problem.t_span, problem.y0, method, rtol=rtol,
                atol=rtol * ATOL_OVER_RTOL[problem.name],
            )  # fmt: skip
        except _OverBudget:
            found[f"{rtol:.0e}"] = OVER_BUDGET
            continue
        error = error_in_tolerances(problem, run.y[:, -1], rtol)
        found[f"{rtol:.0e}"] = float(f"{error:.3g}") if run.success else "failed"
    return found


def _counted(problem: Problem) -> Callable:
    """Return the right-hand side, which ends a run that evaluates it too often."""
    count = 0

    def rhs(t, y):
        nonlocal count
        count += 1
        if count > PEER_BUDGET:
            raise _OverBudget
        return problem.rhs(t, y)

    return rhs


def amplification(problem: Problem) -> float:
    """Return how many tolerances at the end one tolerance becomes, made once at the worst time.

    The largest norm, over all times s, of the derivative of y(end) by y(s), each component in
    units of its tolerance there, of errors that leave invariants as they are. The product of the
    derivatives of steps runs from the end to the start along a computed solution; each is that of
    a two-stage SDIRK step, since steps of the solution are long against the fastest rates.
    """
    rtol = ALONG_TOLERANCES.get(problem.name, ALONG_TOLERANCE)
    floor = ATOL_OVER_RTOL[problem.name]
    result = Solver(
        problem.fun,
        method=ALONG,
        backend="cpu",
        fastmath=False,
        max_steps=STEP_BUDGET,
        save="steps",
    ).solve(problem.t_span, np.array(problem.y0), args=problem.args, rtol=rtol, atol=rtol * floor)
    times, states = result.t, result.y.T
    jacobian, kept = _jacobian(problem), _leaving(INVARIANTS.get(problem.name), len(problem.y0))
    unit = np.eye(len(problem.y0))
    from_here, worst = unit, 1.0
    for k in range(len(times) - 2, -1, -1):
        h = times[k + 1] - times[k]
        middle = 0.5 * (times[k] + times[k + 1]), 0.5 * (states[k] + states[k + 1])
        matrix = h * jacobian(*middle)
        stage = unit - GAMMA * matrix
        step = np.linalg.solve(stage, np.linalg.solve(stage, unit + (1 - 2 * GAMMA) * matrix))
        from_here = from_here @ step
        size = floor + abs(states[k])
        scaled = from_here * size / (floor + abs(states[-1]))[:, None]
        worst = max(worst, float(np.linalg.norm(scaled @ kept(size), 2)))
    return worst


def _leaving(invariants: Sequence[Sequence[float]] | None, n: int) -> Callable:
    """Return a function of the sizes of states: a basis of errors that keep the invariants."""
    if invariants is None:
        return lambda size: np.eye(n)
    rows = np.array(invariants)
    return lambda size: scipy.linalg.null_space(rows * size)


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
