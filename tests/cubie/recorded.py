"""Solves with every access to a buffer logged: of what, and how."""

import math
from typing import Any
from unittest import mock

import numpy as np
from attrs import frozen

from cubie import Event, Interpolant, Solver
from cubie.lifetimes import Fault, faults, record
from cubie.systems.rolling import rolled
from cubie.tableaus import all_methods

TIMES = [0.0, 0.1, 0.45, 0.5, 1.1, 1.5]
SPAN = (0.0, 1.5)
START = [[1.5, 0.2, 1.0, 0.3], [0.7, 0.4, 0.1, 0.0]]
CONTROLLERS = ("fixed", "i", "pi", "pid", "gustafsson")


def plain(t, y, k):
    """A stiff oscillator, what it heats, and time."""
    return [
        y[1],
        k * (1.0 - y[0] * y[0]) * y[1] - y[0],
        y[0] * y[0] - 30.0 * k * y[2],
        np.cos(t) * y[2] - 0.1 * y[3],
    ]


def driven(t, y, k):
    return [y[1], k * PUSH(t) * y[1] - y[0] * PUSH(0.1 * y[3]), y[0] - k * y[2], -y[3] + STEPS(t)]


PUSH = Interpolant([0.0, 0.5, 2.0], [-0.5, 0.5, -1.0], "linear")
STEPS = Interpolant([0.0, 0.4, 0.9, 2.0], [0.0, 1.0, -1.0, 1.0], "previous")
WEIGHTS = np.random.default_rng(1).normal(size=(4, 4))


def shared_values():
    """Return a product with a matrix: what it multiplies is computed once, see `KEPT`."""

    def fun(t, y, k):
        return WEIGHTS @ np.tanh(k * y) - 20.0 * y

    return fun


# Where values that rows have in common are kept although they are few.
KEPT = {
    "LEAST_OPERATIONS": 0, "LEAST_IN_LOOP": 2, "MOST_COSTS": ((0, math.inf),),
    "MOST_TEXT": math.inf, "LEAST_WITH_COMMON": 0, "MOST_OF_COST": math.inf,
}  # fmt: skip


def by_hand(t, y, k):
    """What cannot be traced is compiled as it stands."""
    dy = np.empty(4)
    for i in range(4):
        j = i
        while j > int(y[0]) + 2:
            j -= 1
        dy[i] = y[j] * 0.1 - k * y[i]
    return dy


def observed(t, y, k):
    return {"sum": y[0] + y[1], "heat": k * y[2] * PUSH(t)}


def events() -> list[Event]:
    """Return one that tells, one that changes the state, and a condition."""
    return [
        Event(lambda t, y, k: y[0] - 0.5),
        Event(lambda t, y, k: y[2] - 0.3, apply=lambda t, y, k: [y[0], y[1], y[2] + 0.5, y[3]]),
        Event(lambda t, y, k: y[1] > 0.9, on="accept"),
    ]


FEATURES: dict[str, dict[str, Any]] = {
    "plain": {},
    "every step": {"save": "steps"},
    "times": {"t_eval": TIMES},
    "sizes": {"max_step": 0.2},
    "observables": {"observables": observed, "t_eval": TIMES},
    "summaries": {
        "summaries": {0: ["max", "mean", "argmax", "rms"], "sum": ["min", "final"]},
        "observables": observed,
    },
    "sensitivities": {"sensitivities": ["k", "y0[1]"]},
    "exponents": {"summaries": {"y": "lyapunov(2)", 0: ["max"]}},
    "dense": {"dense_output": True},
    "events": {"events": True},
    "events and times": {"events": True, "t_eval": TIMES, "summaries": {1: ["max", "integral"]}},
    "breakpoints": {"breakpoints": [0.3, 0.8]},
    "drivers": {"fun": driven, "t_eval": TIMES},
    "drivers and events": {"fun": driven, "events": True, "dense_output": True},
    "common": {"common": True},
    "common and events": {"common": True, "events": True, "t_eval": TIMES},
    "compiled": {"fun": by_hand, "t_eval": TIMES},
    "components": {"atol": [1e-4, 1e-5, 1e-4, 1e-3]},
    "float32": {"dtype": "float32"},
}


@frozen
class Case:
    """One solver and what it is asked for."""

    method: str
    feature: str
    options: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        return "-".join([self.method, self.feature, *(f"{n}={v}" for n, v in self.options)])


def recorded(case: Case, costs: bool = True) -> tuple[Any, Any, list[Fault]]:
    """Solve as it stands and recorded; return both results, and the faults that were found."""
    asked = dict(FEATURES[case.feature])
    fun, times = asked.pop("fun", plain), asked.pop("t_eval", None)
    if asked.pop("events", False):
        asked["events"] = events()
    kept = {}
    if asked.pop("common", False):
        fun, kept = shared_values(), KEPT
    tolerances = {"rtol": 1e-3, "atol": 1e-5} | asked
    sizes = {} if all_methods()[case.method].has_error_estimate else {"first_step": 0.1}
    options = {"method": case.method, **tolerances, **sizes, **dict(case.options)}
    # Where there are two kinds of steps, runs go over to the other one, and back.
    two_kinds = case.method == "auto"
    strengths = np.array([1.0, 40.0 if two_kinds else 3.0])
    options |= {"stiff_steps": 2, "nonstiff_steps": 1} if two_kinds else {}
    solver = Solver(fun, backend="python", fastmath=False, **options)

    def solve() -> Any:
        return solver.solve(SPAN, START, times, args=(strengths,))

    with mock.patch.dict(vars(rolled), kept):
        expected = solve()
    kernel = solver.kernel
    recording = record(kernel)
    return expected, solve(), faults(kernel.layout, recording, costs)
