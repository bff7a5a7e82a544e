"""The choice between two methods by stiffness: when a run goes over, and back, at what cost."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp as scipy_solve_ivp

import cubie
from cubie import InvalidOption, Solver
from cubie.tableaus import Stability, SwitchingMethod, TableauError, get_method, get_tableau
from tests.oracle.stiff_problems import STIFF_BY_NAME

AUTO = get_method("LSODA")
GIVEN = {"method": "auto", "rtol": 1e-5, "atol": 1e-8, "backend": "python"}


def oscillator(t, y, mu):
    """Van der Pol's."""
    return [y[1], mu * (1 - y[0] ** 2) * y[1] - y[0]]


def driven(t, y, rate):
    """A component that follows a wave, the faster the larger the rate."""
    return [rate * (np.cos(t) - y[0]) - np.sin(t)]


def predators(t, y):
    """Lotka and Volterra's equations."""
    return [1.5 * y[0] - y[0] * y[1], y[0] * y[1] - 3.0 * y[1]]


def test_an_explicit_step_is_stable_as_far_as_it_says():
    """On the negative axis steps of tsit5 do not grow up to 3.5, and do right behind."""
    reached = AUTO.stable_until
    assert 3.4 < reached < 3.6
    factors = [abs(AUTO.nonstiff.stability_function(-z)) for z in (reached, reached + 0.02)]
    assert factors[0] <= 1.0 < factors[1]


@pytest.mark.parametrize(
    ("nonstiff", "stiff", "rule"),
    [
        ("dormand_prince54", "rodas3p", "error estimate"),
        ("fehlberg45", "rodas5p", "stages"),
    ],
)
def test_two_methods_that_do_not_fit_are_refused(nonstiff, stiff, rule):
    """Estimates of one order, and two stages at the end of the explicit one."""
    with pytest.raises(TableauError, match=rule):
        SwitchingMethod(
            name="wrong", order=5, error_order=4, stability=Stability.L, source="-",
            nonstiff=get_tableau(nonstiff), stiff=get_tableau(stiff),
        )  # fmt: skip


def test_any_two_methods_that_fit_make_one():
    """Another explicit method, of which not all stages are kept to the end for other reasons."""
    made = SwitchingMethod(
        name="mine", order=5, error_order=4, stability=Stability.L, source="-",
        nonstiff=get_tableau("dormand_prince54"), stiff=get_tableau("rodas5p"),
    )  # fmt: skip
    assert 3.2 < made.stable_until < 3.4
    result = cubie.solve_ivp(
        oscillator, (0, 50), [2.0, 0.0], args=(50.0,), **(GIVEN | {"method": made})
    )
    assert result.success
    assert 0 < result.n_stiff < result.n_steps


def test_a_run_that_is_not_stiff_is_that_of_the_explicit_method():
    """To the last bit, with no stiff step and no Jacobian."""
    results = [
        cubie.solve_ivp(predators, (0, 15), [10.0, 5.0], **(GIVEN | {"method": method}))
        for method in ("auto", "tsit5")
    ]
    auto, tsit5 = results
    assert (auto.n_stiff, auto.njev, auto.nlu) == (0, 0, 0)
    np.testing.assert_array_equal(auto.y, tsit5.y)
    assert (auto.nfev, auto.n_rejected) == (tsit5.nfev, tsit5.n_rejected)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_runs_go_over_and_back(dtype):
    """Along slow branches of a relaxation oscillation steps are implicit, in its jumps explicit."""
    given = GIVEN | {"dtype": dtype, "rtol": 1e-4, "atol": 1e-6}
    solver = Solver(oscillator, **given)
    ends = np.arange(2.0, 120.0, 2.0)
    counts = []
    for end in ends:
        result = solver.solve((0.0, end), [2.0, 0.0], args=(50.0,), save="final")
        assert result.success
        counts.append((result.n_steps + result.n_rejected, result.n_stiff))
    made, stiff = np.diff(counts, axis=0).T
    # Between two ends: all implicit, most explicit; the latter behind the former, and before.
    implicit, explicit = np.flatnonzero(stiff >= made), np.flatnonzero(made - stiff > 30)
    assert len(implicit) > 30
    assert implicit[0] < explicit[-1] < implicit[-1]
    assert len(explicit) >= 1


def test_a_stiff_run_takes_little_more_than_the_implicit_method():
    """A run that begins stiff, and remains so over ten thousand steps of the explicit method."""
    problem = STIFF_BY_NAME["robertson"]
    given = GIVEN | {"atol": 1e-10}
    results = [
        cubie.solve_ivp(problem.fun, (0.0, 1e4), problem.y0, **(given | {"method": method}))
        for method in ("auto", "rodas5p")
    ]
    auto, rodas5p = results
    assert auto.success
    attempts = auto.n_steps + auto.n_rejected
    assert attempts < rodas5p.n_steps + rodas5p.n_rejected + 60
    assert auto.n_stiff == auto.njev == auto.nlu
    wanted = results[1].y[:, -1]
    np.testing.assert_allclose(auto.y[:, -1], wanted, rtol=1e-3)
    # Six evaluations of an explicit step; eight of an implicit one, and two for the rate.
    assert auto.nfev == 3 + 6 * (attempts - auto.n_stiff) + 10 * auto.n_stiff


def test_runs_of_a_batch_are_stiff_each_for_itself():
    """The rate of a component decides, and each run is what it is alone."""
    rates = np.array([1.0, 1e2, 1e4, 1e6])
    solver = Solver(driven, **(GIVEN | {"backend": "cpu", "fastmath": False}))
    result = solver.solve((0.0, 20.0), [0.0], args=(rates,))
    assert result.success.all()
    assert result.n_stiff[0] == 0
    assert (result.n_stiff[2:] > 5).all()
    np.testing.assert_allclose(result.y[1:, 0, -1], np.cos(20.0), atol=1e-4)
    for run, rate in enumerate(rates):
        alone = solver.solve((0.0, 20.0), [0.0], args=(rate,), save="final")
        np.testing.assert_array_equal(alone.y[:, -1], result.y[run, :, -1])
        assert alone.n_stiff == result.n_stiff[run]


def test_points_and_summaries_are_those_of_either_method():
    """Times that are saved lie on the solution, and summaries follow it, through all changes."""
    times = np.linspace(0.0, 100.0, 41)
    tight = cubie.solve_ivp(
        oscillator, (0, 100), [2.0, 0.0], "radau_iia_9", times, args=(50.0,), rtol=1e-9, atol=1e-11
    )
    given = GIVEN | {"rtol": 1e-7, "atol": 1e-9}
    result = cubie.solve_ivp(
        oscillator, (0, 100), [2.0, 0.0], t_eval=times, args=(50.0,), **given,
        summaries={0: ["max", "min", "mean"]},
    )  # fmt: skip
    assert 0 < result.n_stiff < result.n_steps
    away = np.abs(result.y[0] - tight.y[0])
    assert np.median(away) < 1e-5
    assert result.summaries[0]["max"] == pytest.approx(2.003, abs=2e-3)
    assert result.summaries[0]["min"] == pytest.approx(-2.0, abs=2e-2)
    # The mean of a solution that jumps shows when it does.
    assert abs(result.summaries[0]["mean"]) < 2.0


def test_it_takes_no_mass_matrix():
    """Its explicit method cannot; implicit ones are named."""
    with pytest.raises(InvalidOption, match="'rodas5p' or 'bdf'"):
        cubie.solve_ivp(predators, (0, 1), [1.0, 1.0], mass_matrix=[1.0, 2.0], **GIVEN)


def test_errors_follow_the_tolerance():
    """Compiled, on a problem that is stiff for a part of the time."""
    mus = (5.0, 20.0, 60.0)
    exact = [
        scipy_solve_ivp(
            oscillator, (0, 30), [2.0, 0.0], "Radau", args=(mu,), rtol=1e-11, atol=1e-13
        ).y[0, -1]
        for mu in mus
    ]  # fmt: skip
    solver = Solver(oscillator, method="auto", backend="cpu", lanes=8, fastmath=False)
    for rtol in (1e-4, 1e-7):
        result = solver.solve((0.0, 30.0), [2.0, 0.0], args=(np.array(mus),), rtol=rtol, atol=rtol)
        assert result.success.all()
        assert np.abs(result.y[:, 0, -1] - exact).max() < 300 * rtol
