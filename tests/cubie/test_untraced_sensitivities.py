"""Sensitivities of functions that cannot be traced: by differences, or by `jac` and `jac_p`.

Twins that can be traced have exact ones; the equations of `test_sensitivities` a closed solution.
"""

import math
import re
import warnings

import numpy as np
import pytest

from cubie import Event, solve_ivp
from cubie.errors import InvalidOption
from cubie.systems.from_function import trace
from cubie.systems.sensitivities.inputs import inputs_of
from cubie.systems.sensitivities.joint import joint_system
from tests.cubie.test_sensitivities import EXACT, RATES, STARTS, TIMES, growing, worst

pytestmark = pytest.mark.filterwarnings("ignore::cubie.UntracedWarning")


def counted(t, y, growth, capacity, decay):
    """The equations of `growing`, behind a loop that depends on the states."""
    a, b = y
    steps = 0.0
    while steps < 50.0 * a:
        steps += 1.0
    return [growth * a * (1.0 - a / capacity) + 0.0 * steps, -decay * a * b]


def jac(t, y, growth, capacity, decay):
    a, b = y
    return [[growth * (1.0 - 2.0 * a / capacity), 0.0], [-decay * b, -decay * a]]


def jac_p(t, y, growth, capacity, decay):
    a, b = y
    return [[a * (1.0 - a / capacity), growth * (a / capacity) ** 2, 0.0], [0.0, 0.0, -a * b]]


def untraceable(function):
    """Return a function that cannot be traced and computes the same."""

    def same(t, y, *args):
        steps = 0.0
        while steps < 50.0 * abs(y[0]):
            steps += 1.0
        return [0.0 * steps + value for value in function(t, y, *args)]

    return same


def rates(function, y, p, t=0.3):
    """Return the right-hand sides of states and of sensitivities to all inputs."""
    n = len(y)
    system = trace(function, n, tuple(map(float, p)))
    joint = joint_system(system, inputs_of("all", system))
    drawn = np.random.default_rng(3).standard_normal(n * (n + len(p)))
    found = {}
    # States that are all zero tell no size: they are moved as if they were about 1.
    for size in (1e-8, 1.0, 1e6) if np.any(y) else (1e-8, 1.0):
        out = np.zeros(joint.n_states)
        joint.rhs(t, np.concatenate([y, size * drawn]), np.asarray(p, float), out, 0)
        found[size] = out
    return joint.kind, found


STEEP = {
    "rates that span decades": (
        lambda t, y, k1, k2, k3: [
            -k1 * y[0] + k2 * y[1] * y[2],
            k1 * y[0] - k2 * y[1] * y[2] - k3 * y[1] * y[1],
            k3 * y[1] * y[1],
        ],
        [0.8, 2e-5, 0.2],
        [0.04, 1e4, 3e7],
    ),
    "an exponent": (
        lambda t, y, k, e: [-k * math.exp(-e / y[1]) * y[0], 50.0 * k * math.exp(-e / y[1]) * y[0]],
        [1.0, 300.0],
        [1e13, 1.2e4],
    ),
    "a state that is zero": (
        lambda t, y, k, m: [k * y[1] / (1.0 + y[1]) - y[0], m * y[0] - y[1] * y[1]],
        [1.0, 0.0],
        [2.0, 0.5],
    ),
    "all states zero": (lambda t, y, k: [k + t - y[0] * y[0]], [0.0], [0.0]),
}


@pytest.mark.parametrize("case", STEEP)
def test_differences_are_the_derivatives_of_a_twin_that_is_traced(case):
    function, y, p = STEEP[case]
    kind, expected = rates(function, y, p)
    other, found = rates(untraceable(function), y, p)
    assert (kind, other) == ("traced", "compiled")
    for size in expected:
        # What comes of the states' part alone, whose sum of products may cancel, bounds rounding.
        scale = np.abs(expected[size]).reshape(-1, len(y)).max(axis=0)
        error = np.abs(found[size] - expected[size]).reshape(-1, len(y)).max(axis=0)
        assert (error <= 2e-8 * scale).all(), size


@pytest.mark.parametrize(
    ("function", "y", "expected"),
    [
        (lambda t, y: [math.floor(y[0]) + 3.0 * y[0]], 1.0 + 1e-9, 3.0),
        (lambda t, y: [math.floor(y[0]) + 3.0 * y[0]], 1.0, 3.0),
        (lambda t, y: [abs(y[0] - 1.0)], 1.0 + 1e-4, 1.0),
        (lambda t, y: [y[0] ** 1.5 + 2.0 * y[0]], 0.0, 2.0),
    ],
    ids=["beside a jump", "at a jump", "beside a kink", "at the edge of the domain"],
)
def test_at_jumps_kinks_and_edges_the_branch_is_taken_that_is_there(function, y, expected):
    system = trace(untraceable(function), 1)
    joint = joint_system(system, inputs_of("y0", system))
    assert joint.kind == "compiled"
    out = np.zeros(2)
    with np.errstate(invalid="ignore"):
        joint.rhs(0.0, np.array([y, 0.5]), np.zeros(0), out, 0)
    assert abs(out[1] - 0.5 * expected) < 1e-3


def solved(method="tsit5", **options):
    usual = {"t_eval": TIMES, "rtol": 1e-9, "atol": 1e-12, "sensitivities": "all"} | options
    return solve_ivp(counted, (0.0, 2.0), STARTS, method, args=tuple(RATES.T), **usual)


@pytest.mark.parametrize(
    ("method", "given"),
    [("tsit5", ()), ("rodas5p", ()), ("kvaerno5", ()), ("kvaerno5", ("jac", "jac_p"))],
)
def test_solutions_have_the_derivatives_of_their_closed_form(method, given):
    made = {"jac": jac, "jac_p": jac_p}
    result = solved(method, **{name: made[name] for name in given})
    assert result.success.all()
    assert worst(result.dy, EXACT) < 2e-7
    told = "of the given `jac` and `jac_p`" if given else "`jac` and `jac_p` they are exact"
    assert told in " ".join(result.notes)


def test_what_is_given_of_derivatives_is_used_where_it_is_enough():
    def doubled(t, y, *rates):
        return [[2.0 * entry for entry in row] for row in jac_p(t, y, *rates)]

    whole = solved(jac_p=jac_p, sensitivities="parameters")
    assert worst(whole.dy, EXACT[:, :, :3]) < 2e-7
    assert "beside the given `jac_p`" in " ".join(whole.notes)
    assert "`jac` is not used" in " ".join(solved(jac=jac, sensitivities=None).notes)
    beside = solved(jac=jac, sensitivities="parameters")
    assert worst(beside.dy, EXACT[:, :, :3]) < 2e-7
    assert "`jac` is not used" not in " ".join(beside.notes)
    # Of linear equations for sensitivities, the double of what drives them has the double.
    twice = solved(jac=jac, jac_p=doubled, sensitivities="parameters")
    assert worst(twice.dy, 2.0 * EXACT[:, :, :3]) < 2e-7
    traced = solve_ivp(
        growing,
        (0.0, 2.0),
        STARTS,
        "tsit5",
        args=tuple(RATES.T),
        sensitivities="all",
        jac_p=doubled,
    )
    assert "`jac_p` is not used: the right-hand side was traced" in " ".join(traced.notes)


@pytest.mark.parametrize("method", ["rodas5p", "kvaerno5"])
def test_places_of_buffers_change_no_bit_where_what_is_dead_is_poisoned(method):
    options = {"rtol": 1e-3, "atol": 1e-6, "backend": "python", "sensitivities": ["decay", "y0[0]"]}
    local, shared = (solved(method, locations=where, **options) for where in ("local", "shared"))
    assert np.array_equal(local.dy, shared.dy)
    assert worst(local.dy, EXACT[:, :, 2:4]) < 0.05


def test_single_precision_takes_differences_in_double():
    result = solved(dtype=np.float32, rtol=1e-5, atol=1e-7, sensitivities=["decay", "y0[0]"])
    assert result.dy.dtype == np.float32
    assert worst(result.dy, EXACT[:, :, 2:4]) < 1e-4


def test_times_of_events_observables_and_summaries_have_derivatives_too():
    options = {
        "events": lambda t, y, growth, capacity, decay: y[0] - 0.5 * capacity,
        "observables": lambda t, y, growth, capacity, decay: {"flow": decay * y[0] * y[1]},
        "summaries": {"y1": ["integral"]},
    }
    found = solved(**options)
    exact = solve_ivp(
        growing, (0.0, 2.0), STARTS, "tsit5", args=tuple(RATES.T), t_eval=TIMES, rtol=1e-9,
        atol=1e-12, sensitivities="all", **options,
    )  # fmt: skip
    assert np.isfinite(exact.dt_events[0]).any()
    for name, a, b in (
        ("times", found.dt_events[0], exact.dt_events[0]),
        ("states", found.dy_events[0], exact.dy_events[0]),
        ("observables", found.dobservables["flow"], exact.dobservables["flow"]),
        ("summaries", found.dsummaries["y1"]["integral"], exact.dsummaries["y1"]["integral"]),
    ):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6 * np.nanmax(np.abs(b)), err_msg=name)


def few(t, y, rate, power):
    while power > 10.0 * y[0]:
        power -= 1.0
    return [-rate * y[0] ** power]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"args": (0.5, 2)}, "'power', which is given as an int"),
        (
            {"events": Event(lambda t, y, rate, power: t - 0.5, apply=lambda t, y, *_: [1.0])},
            "events[0] changes the state",
        ),
        ({"jac_p": [[1.0, 2.0]]}, "a function jac_p(t, y, *args)"),
        ({"jac_p": lambda t, y, rate, power: [[1.0]]}, "one for each of rate, power"),
        ({"jac_p": lambda t, y, rate, power: [[1.0, 2.0]] * 2}, "1 rows of 2 numbers"),
        ({"jac_p": lambda t, y, rate, power: [[1.0, 1.0 / 0.0]]}, "it raises"),
    ],
)
def test_what_cannot_be_had_is_refused(options, told):
    usual = {"args": (0.5, 2.0), "sensitivities": "parameters"}
    with pytest.raises(InvalidOption, match=re.escape(told)):
        solve_ivp(few, (0.0, 1.0), [1.0], "tsit5", **(usual | options))


def test_what_is_not_used_is_told():
    def counts(t, y, rate, power):
        steps = 0.0
        while steps < y[0]:
            steps += 1.0
        return [[steps, 0.0]]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        notes = " ".join(
            solve_ivp(
                few, (0.0, 0.1), [1.0], "tsit5", args=(0.5, 2.0), sensitivities="parameters",
                jac_p=counts, backend="python",
            ).notes
        )  # fmt: skip
        alone = " ".join(
            solve_ivp(
                few, (0.0, 0.1), [1.0], "tsit5", args=(0.5, 2.0), jac_p=counts, backend="python"
            ).notes
        )
    assert "`jac_p` is not used, because it cannot be traced" in notes
    assert "`jac_p` is not used: there are no sensitivities by parameters" in alone
