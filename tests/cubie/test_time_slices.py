"""Launches that end in the middle of runs: what they leave is all that the next one needs.

Threads are interpreted, and begin each launch with memory that is poisoned throughout.
"""

from collections.abc import Mapping
from itertools import chain, repeat

import numpy as np
import pytest

from cubie import Event, Interpolant, InvalidOption, Solver
from cubie.backend.device.slices import LAUNCH_SECONDS
from cubie.launch.step_code import step_code
from cubie.run.slices import carried_of
from tests.cubie.pretended import PretendedPython, PretendedSlices, pretend
from tests.cubie.test_launch import F64, lorenz, same

RHO = np.linspace(15.0, 35.0, 5)
SPAN, TIMES, Y0 = (0.0, 0.3), [0.0, 0.1, 0.11, 0.3], [1.0, 0.0, 0.0]

METHODS = {
    "tsit5": {},
    "rk4": {"first_step": 0.01},
    "euler": {"first_step": 0.01, "breakpoints": [0.05]},
    "tsit5_fixed": {"method": "tsit5", "step_controller": "fixed", "first_step": 0.01},
    "kvaerno5": {"jacobian_reuse": True},
    "radau_iia_5": {"locations": "shared"},
    "rodas5p": {"locations": "shared"},
    "bdf": {},
    "auto": {},
}


def outcomes(monkeypatch, kind, options, t_eval, attempts=3, **more):
    """Return the result on a pretended device whose launches are as long as some attempts take."""
    driver = pretend(monkeypatch, kind)
    driver.seconds_of_launch = lambda n_runs: LAUNCH_SECONDS
    monkeypatch.setattr("cubie.backend.device.slices.FIRST_ATTEMPTS", attempts)
    result = Solver(lorenz, **F64 | options).solve(SPAN, Y0, t_eval, args=(RHO,), **more)
    return result, driver


KEPT = ("final", "times", "steps")
PRODUCT = [(method, kept) for method in METHODS for kept in KEPT]
# Each method once, and with each kind of what is kept in turn.
SAMPLE = [(method, KEPT[i % len(KEPT)]) for i, method in enumerate(METHODS)]


@pytest.mark.parametrize(
    ("method", "kept"),
    [
        case if case in SAMPLE else pytest.param(*case, marks=pytest.mark.every_config)
        for case in PRODUCT
    ],
)
def test_runs_in_slices_are_what_they_are_in_one(monkeypatch, method, kept):
    """The same bits, whatever method and whatever is saved; each launch makes some attempts."""
    options = {"method": method} | METHODS[method]
    t_eval, more = (TIMES if kept == "times" else None), {}
    if kept == "steps":
        more = {"save": "steps"}
    whole, _ = outcomes(monkeypatch, PretendedPython, options, t_eval, **more)
    found, driver = outcomes(monkeypatch, PretendedSlices, options, t_eval, **more)
    same(found, whole)
    assert len(driver.launched) > 2


CARRIED = {
    "tsit5": ({}, {"stage_cache"}, {"stage_rhs"}),
    "rodas5p": ({}, {"controller_history"}, {"lu_factors"}),
    "kvaerno5": ({}, {"increment_cache", "controller_history"}, {"stage_rhs", "lu_factors"}),
    "kvaerno5 again": (
        {"method": "kvaerno5", "jacobian_reuse": True},
        {"increment_cache", "controller_history", "kept_matrix", "kept_jacobian", "lu_factors"},
        {"stage_rhs"},
    ),
}


@pytest.mark.parametrize("name", CARRIED)
def test_only_what_the_next_step_reads_is_kept(name):
    """What a step writes anew is not: it would take registers until the end of each step."""
    options, kept, left = CARRIED[name]
    solver = Solver(lorenz, **F64 | {"method": name} | options)
    solver.prepare(Y0, args=(28.0,))
    kernel = solver.kernel
    found = {one.name for one in carried_of(kernel.integrator.loop, kernel.layout)}
    assert found >= kept | {"state", "parameters", "counters", "dt"}
    assert not found & left


def bounced(t, y, rho):
    return y[0] - 2.0


def scaled(t, y, rho):
    return [0.5 * y[0], y[1], y[2]]


def assert_equal(found, expected):
    """Compare numbers bit for bit, mappings by what they hold."""
    if isinstance(expected, Mapping):
        assert list(found) == list(expected)
        for name, value in expected.items():
            assert_equal(found[name], value)
    else:
        np.testing.assert_array_equal(found, expected)


MORE = {
    "events": {"events": [Event(bounced, apply=scaled), Event(bounced, on="accept")]},
    "terminal": {"events": Event(bounced, terminal=True, direction=1.0), "dense_output": True},
    "summaries": {"summaries": {"y0": ["max", "mean", "derivative_max", "argmax"]}},
    "observables": {"observables": {"a": lambda t, y, rho: t * y[1]}, "dense_output": True},
    "breaks": {"breakpoints": np.linspace(0.05, 0.2, 5)[:, None], "method": "rodas5p"},
}


@pytest.mark.parametrize("name", MORE)
def test_all_that_is_followed_goes_on(monkeypatch, name):
    """Events, summaries, observables, solutions inside steps and breakpoints of each run."""
    whole, _ = outcomes(monkeypatch, PretendedPython, MORE[name], TIMES)
    found, driver = outcomes(monkeypatch, PretendedSlices, MORE[name], TIMES)
    assert len(driver.launched) > 2
    same(found, whole)
    if "events" in MORE[name]:
        same(found, whole, ("n_events",))
    for followed in ("summaries", "observables"):
        if followed in MORE[name]:
            assert_equal(getattr(found, followed), getattr(whole, followed))
    if "dense_output" in MORE[name]:
        np.testing.assert_array_equal(found.sol(0.07), whole.sol(0.07))


def driven(t, y, u, rate):
    return [-rate * y[0] + u(t), y[0] - y[1]]


def test_inputs_in_time_go_on(monkeypatch):
    """What a look-up of a driver found is of the step, and is found again."""
    u, results = Interpolant(np.linspace(0.0, 0.5, 6), np.sin(np.arange(6.0))), []
    for kind in (PretendedPython, PretendedSlices):
        driver = pretend(monkeypatch, kind)
        driver.seconds_of_launch = lambda n_runs: LAUNCH_SECONDS
        results.append(Solver(driven, **F64).solve(SPAN, [1.0, 0.0], TIMES, args=(u, RHO)))
    same(*results)


def test_launches_take_a_quarter_of_a_second(monkeypatch):
    """As many attempts are made in each as the one before lets expect, and one at least."""
    driver = pretend(monkeypatch, PretendedSlices, has_watchdog=True)
    seconds = chain([0.01, 0.04, 0.5, 0.25, 3.0], repeat(1.0))
    driver.seconds_of_launch = lambda n_runs: next(seconds)
    result = Solver(lorenz, **F64).solve((0.0, 2.0), Y0, args=(RHO,))
    assert result.success.all()
    assert driver.attempts[:8] == [1, 4, 16, 8, 8, 1, 1, 1]
    assert driver.launched == [RHO.size] * len(driver.attempts)  # of all runs together
    assert result.kernel_seconds == pytest.approx(3.8 + len(driver.attempts) - 5)


def test_room_for_what_is_kept_is_reckoned(monkeypatch):
    """Portions are as large as inputs, outputs and what is kept of their runs allow."""
    rho, launched = np.linspace(0.0, 21.0, 400), []
    for kind in (PretendedPython, PretendedSlices):
        driver = pretend(monkeypatch, kind)
        driver.pretend(total_bytes=20_000)
        driver.seconds_of_launch = lambda n_runs: 1e-6
        assert Solver(lorenz, **F64).solve((0.0, 0.01), Y0, args=(rho,)).success.all()
        launched.append(driver.launched)
    assert max(launched[1]) < max(launched[0]) < rho.size


def test_a_step_in_slices_costs_hardly_more():
    """Counted in machine code: 208 instructions of Lorenz by Tsit5, 206 in whole launches."""
    options = {"backend": "cuda", "device": "sm_90", "dtype": "float32", "locations": "local"}
    solver = Solver(lorenz, time_slices=True, **options)
    solver.prepare(Y0, args=(RHO,))
    found = solver.kernel.resources("sm_90", lines=True)
    assert step_code(found.cubin).accepted.total <= 212
    assert found.registers <= 40
    assert found.stack_bytes == 0


@pytest.mark.parametrize(
    ("method", "dtype"), [("tsit5", "float64"), ("rk4", "float64"), ("rk4", "float32")]
)
def test_whatever_a_clock_keeps_is_compiled(method, dtype):
    """Clocks of numbered steps, and of double precision, keep less than one of single precision."""
    step = {"first_step": 0.01} if method == "rk4" else {}
    options = {"backend": "cuda", "device": "sm_90", "method": method, "dtype": dtype, **step}
    solver = Solver(lorenz, time_slices=True, verify=False, **options)
    solver.prepare(Y0, args=(RHO,))
    assert solver.kernel.resources("sm_90").registers > 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"backend": "cpu"}, "backend='cpu' are ended by nobody"),
        ({"backend": "cuda", "refill": True}, "With `refill` a launch ends with its runs"),
    ],
)
def test_slices_are_refused_where_there_can_be_none(options, told):
    """On the CPU, and where threads take further runs."""
    with pytest.raises(InvalidOption, match=told):
        Solver(lorenz, time_slices=True, **options).prepare(Y0, args=(RHO,))
