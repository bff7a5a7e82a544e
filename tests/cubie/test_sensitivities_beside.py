"""Sensitivities beside other options: what these mean stays what it is without them."""

import numpy as np
import pytest

from cubie import Event, InvalidOption, SensitivityWarning, solve_ivp

OPTIONS = {"backend": "cpu", "lanes": 1, "fastmath": False, "rtol": 1e-9, "atol": 1e-11}


def swinging(t, y, frequency, damping):
    return [y[1], -(frequency**2) * y[0] - damping * y[1]]


def energy(t, y, frequency, damping):
    return {"energy": 0.5 * (y[1] ** 2 + frequency**2 * y[0] ** 2)}


def solved(**options):
    return solve_ivp(
        swinging, (0.0, 5.0), [0.0, 1.0], args=(2.0, 0.3), observables=energy,
        **(OPTIONS | options),
    )  # fmt: skip


def test_summaries_are_of_states_and_observables():
    """Derivatives are solved for times the size of their input: nobody is to read them so."""
    asked = {"summaries": {-1: ["max"], "energy": ["min", "max"]}}
    found = solved(sensitivities="all", **asked).summaries
    plain = solved(**asked).summaries
    assert found.keys() == plain.keys()
    for name, of_name in plain.items():
        for what, value in of_name.items():
            np.testing.assert_allclose(found[name][what], value, rtol=1e-7)
    for name in ("d(y0)/d(frequency)", "d(energy)/d(frequency)", 2):
        with pytest.raises(InvalidOption, match="summaries"):
            solved(sensitivities="all", summaries={name: ["max"]})


@pytest.mark.parametrize("given", ["y0", "y0[0]", "all", ["y0[1]", "rate"]])
def test_names_that_mean_two_things_are_refused(given):
    def moving(t, y, y0, rate):
        return [rate * y0[0] - y[0], y0[1] - y[1]]

    with pytest.raises(InvalidOption, match=r"parameter.*Call the parameter otherwise"):
        solve_ivp(moving, (0.0, 1.0), [0.0, 1.0], args=([1.0, 2.0], 0.5), sensitivities=given)


def test_a_parameter_called_as_a_group():
    def moving(t, y, y0):
        return [y0 - y[0]]

    with pytest.raises(
        InvalidOption, match="'y0', which is a parameter and means an initial state"
    ):
        solve_ivp(moving, (0.0, 1.0), [0.0], args=(2.0,), sensitivities="y0")
    both = solve_ivp(moving, (0.0, 1.0), [0.0], args=(2.0,), sensitivities="all", **OPTIONS)
    assert both.inputs == ("y0", "y0[0]")
    np.testing.assert_allclose(both.dy[0, :, -1], [1.0 - np.exp(-1.0), np.exp(-1.0)], rtol=1e-6)


@pytest.mark.parametrize(
    "condition",
    [lambda t, y, when: (t >= when) - 0.5, lambda t, y, when: np.where(t < when, -1, 1)],
)
def test_an_event_whose_number_only_jumps_is_refused(condition):
    """It has no speed, and so its time no derivative: the run ended with NaN."""
    other = Event(lambda t, y, when: y[0] - 9.0)
    dose = Event(condition, apply=lambda t, y, when: y + 1.0)
    with pytest.raises(InvalidOption, match=r"events\[1\] changes the state.*jumps"):
        solve_ivp(
            lambda t, y, when: -y, (0.0, 2.0), [1.0], args=(1.0,), events=[other, dose],
            sensitivities="all", **OPTIONS,
        )  # fmt: skip


def test_an_angle_may_jump():
    with pytest.warns(SensitivityWarning):
        solve_ivp(
            lambda t, y, rate: [np.arctan2(np.sin(rate * t), np.cos(rate * t))], (0.0, 0.1), [0.0],
            args=(1.0,), sensitivities="parameters", **OPTIONS,
        )  # fmt: skip


@pytest.mark.parametrize("n_runs", [None, 2])
def test_events_that_no_run_comes_to_have_no_derivatives(n_runs):
    """There are as many of them as there are times: none."""
    start = np.array([0.0, 1.0])
    found = solve_ivp(
        swinging, (0.0, 1.0), start if n_runs is None else np.tile(start, (n_runs, 1)),
        args=(2.0, 0.3), events=[Event(lambda t, y, *args: y[0] - 9.0)], sensitivities="all",
        **OPTIONS,
    )  # fmt: skip
    before = () if n_runs is None else (n_runs,)
    assert found.dt_events[0].shape == (*before, 0, 4)
    assert found.dy_events[0].shape == (*before, 0, 2, 4)


def test_derivatives_at_every_step_as_a_rectangle():
    """With more inputs than states: which axis is which shows."""
    found = solve_ivp(
        swinging, (0.0, 5.0), [[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]],
        args=(np.array([2.0, 0.5, 1.0]), 0.3), observables=energy, save="steps",
        sensitivities="all", **OPTIONS,
    )  # fmt: skip
    ended = int(found.dy.lengths[1])
    assert ended < found.dy.shape[-1]
    padded = found.dy.padded()
    assert padded.shape == found.dy.shape == (3, 2, 4, found.y.shape[-1])
    assert np.isnan(padded[1, ..., ended:]).all()
    for run in range(3):
        own = found.dy[run]
        assert np.array_equal(padded[run, ..., : own.shape[-1]], own)
        assert np.array_equal(found.dy.last()[run], own[..., -1])
    assert found.dobservables["energy"].padded().shape == (3, 4, found.y.shape[-1])
    pytest.importorskip("xarray")
    labelled = found.to_xarray()
    assert labelled.dy.dims[:3] == ("run", "component", "input")
    assert np.array_equal(labelled.dy.values, padded, equal_nan=True)


def test_tables_of_steps_have_the_columns_of_tables_of_times():
    pytest.importorskip("xarray")
    pytest.importorskip("pandas")
    asked = {"args": (np.array([2.0, 0.5]), 0.3), "observables": energy, "sensitivities": "all"}
    start, span = [[0.0, 1.0], [1.0, 0.0]], (0.0, 5.0)
    times = solve_ivp(swinging, span, start, t_eval=[5.0], **asked, **OPTIONS).to_pandas()
    steps = solve_ivp(swinging, span, start, save="steps", **asked, **OPTIONS)
    table = steps.to_pandas()
    assert list(table.columns) == list(times.columns)
    assert np.array_equal(table.loc[1]["dy[y1, damping]"], steps.dy[1][1, 1])
    assert np.array_equal(table.loc[0]["d(energy)[y0[0]]"], steps.dobservables["energy"][0][2])


def test_an_event_that_turns_back_within_its_error_has_no_derivative_and_says_so():
    # Thrown with speed 1 and g = 2 a ball comes to 0.25, at 0.5: in the first run the mark is just
    # below. It is there at (1 - sqrt(1 - 4 mark)) / 2.
    marks = np.array([0.25 - 1e-9, 0.2])
    result = solve_ivp(
        lambda t, y, mark: [y[1], -2.0], (0.0, 0.5), [0.0, 1.0], "tsit5", args=(marks,),
        events=lambda t, y, mark: y[0] - mark, backend="python", sensitivities=["mark"],
        rtol=1e-6, atol=1e-8,
    )  # fmt: skip
    assert result.n_events[0].tolist() == [1, 1]
    assert np.isnan(result.dt_events[0][0]).all()
    assert np.isnan(result.dy_events[0][0]).all()
    slope = 1.0 / np.sqrt(1.0 - 4.0 * 0.2)
    np.testing.assert_allclose(result.dt_events[0][1, :, 0], [slope], rtol=1e-5)
    (note,) = (one for one in result.notes if "grazes" in one)
    assert note.startswith("events[0] grazes: its number goes through zero and turns back")
