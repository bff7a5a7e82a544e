"""Derivatives by inputs in sweeps: those of `solve_ivp`, bit by bit, kept in every way."""

import contextlib

import numpy as np
import pytest

import cubie

RATES, OTHER = np.linspace(0.5, 2.0, 5), np.array([0.1, 0.3, 0.2])
TIMES = np.linspace(0.0, 3.0, 4)


def reactions(t, y, k1, k2):
    return [-k1 * y[0] + k2 * y[1], k1 * y[0] - k2 * y[1]]


def low(t, y, k1, k2):
    return y[0] - 0.6


def ratio(t, y, k1, k2):
    return {"ratio": y[0] / (y[1] + 1.0)}


ALL = {
    "sensitivities": ["k1", "y0[1]"],
    "method": "tsit5",
    "events": low,
    "observables": ratio,
    "summaries": {"y0": ["max", "mean"], "ratio": ["final"]},
    "rtol": 1e-7,
}


def sweep(y0=(1.0, 0.2), fun=reactions, **options):
    over = cubie.grid(k1=RATES, k2=OTHER)
    return cubie.sweep(fun, (0.0, 3.0), y0, over=over, **options)


def solved(**options):
    k1, k2 = (each.reshape(-1) for each in np.meshgrid(RATES, OTHER, indexing="ij"))
    y0 = np.tile([1.0, 0.2], (k1.size, 1))
    options.pop("max_events", None)
    return cubie.solve_ivp(reactions, (0.0, 3.0), y0, args=(k1, k2), **options)


@pytest.fixture(scope="module")
def alone():
    return solved(t_eval=TIMES, **ALL)


def require_same(found, result):
    """Look at all that a dataset has, run by run, beside what one solve of all runs gave."""
    runs = result.status.size

    def of(name, *more):
        return found[name].values.reshape(runs, *found[name].shape[2:])

    np.testing.assert_array_equal(of("y"), result.y)
    np.testing.assert_array_equal(of("dy"), result.dy)
    np.testing.assert_array_equal(of("d(ratio)"), result.dobservables["ratio"])
    for key in ("max", "mean"):
        np.testing.assert_array_equal(of(f"{key} of y0"), result.summaries["y0"][key])
        np.testing.assert_array_equal(of(f"d({key} of y0)"), result.dsummaries["y0"][key])
    np.testing.assert_array_equal(of("d(final of ratio)"), result.dsummaries["ratio"]["final"])
    # The sweep has room for two, and one happens.
    np.testing.assert_array_equal(of("t_events")[:, 0, :1], result.t_events[0])
    np.testing.assert_array_equal(of("dt_events")[:, 0, :1], result.dt_events[0])
    np.testing.assert_array_equal(of("dy_events")[:, 0, :1], result.dy_events[0])
    assert np.isnan(of("dt_events")[:, 0, 1:]).all()
    assert list(found["input"].values) == list(result.inputs)


def test_derivatives_are_those_of_solve_ivp(alone):
    """In memory, in chunks of different sizes."""
    for chunk in (15, 4):
        made = sweep(t_eval=TIMES, max_events=2, chunk=chunk, **ALL)
        made.run()
        found = made.to_xarray()
        require_same(found, alone)
        assert found["dy"].dims == ("k1", "k2", "component", "input", "time")
        assert found["dt_events"].dims == ("k1", "k2", "event", "occurrence", "input")
        assert found["dy_events"].dims == ("k1", "k2", "event", "occurrence", "state", "input")
        assert found["d(max of y0)"].dims == ("k1", "k2", "input")


def test_a_store_keeps_them_and_goes_on(alone, tmp_path):
    """A sweep that was stopped goes on to the same numbers, by the model that its store holds."""
    pytest.importorskip("zarr")
    store = tmp_path / "runs.zarr"
    made = sweep(t_eval=TIMES, max_events=2, chunk=4, store=store, **ALL)

    def stop(progress):
        raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        made.run(progress=stop)
    later = cubie.Sweep.resume(store)
    assert later.n_chunks_done < later.n_chunks
    later.run()
    require_same(later.to_xarray(), alone)


def test_final_states_have_derivatives_too():
    made = sweep(sensitivities="parameters", save="final")
    made.run()
    found, result = made.to_xarray(), solved(sensitivities="parameters", save="final")
    assert found["dy"].dims == ("k1", "k2", "component", "input")
    np.testing.assert_array_equal(found["dy"].values.reshape(15, 2, 2), result.dy[..., 0])


def test_inputs_go_by_the_names_of_states():
    """A mapping `y0` names states of a function; some states alone are kept."""
    made = sweep(
        {"a": 1.0, "b": 0.2}, sensitivities=["y0[b]", "k2"], save_states=["b"], save="final"
    )
    made.run()
    found = made.to_xarray()
    assert list(found["input"].values) == ["y0[b]", "k2"]
    assert list(found["component"].values) == ["b"]
    result = solved(sensitivities=["y0[1]", "k2"], save_states=[1], save="final")
    np.testing.assert_array_equal(found["dy"].values.reshape(15, 1, 2), result.dy[..., 0])


def test_an_unknown_input_is_an_error():
    with pytest.raises(cubie.InvalidOption, match="`sensitivities` is 'k3'"):
        sweep(sensitivities=["k3"], save="final")


def test_labelled_results_have_all_derivatives(alone):
    """`to_xarray()` of a result has what a sweep has."""
    found = alone.to_xarray()
    np.testing.assert_array_equal(found["d(mean of y0)"], alone.dsummaries["y0"]["mean"])
    np.testing.assert_array_equal(found["dt_events"][:, 0], alone.dt_events[0])
    np.testing.assert_array_equal(found["dy_events"][:, 0], alone.dy_events[0])
    one = cubie.solve_ivp(reactions, (0.0, 3.0), [1.0, 0.2], args=(1.0, 0.1), t_eval=TIMES, **ALL)
    of_one = one.to_xarray()
    assert of_one["d(max of y0)"].dims == ("input",)
    np.testing.assert_array_equal(of_one["dy_events"][0], one.dy_events[0])


def test_tables_have_them_where_their_rows_are(alone):
    """Of points, of runs and of events each their own."""
    pytest.importorskip("pandas")
    points, runs, events = (alone.to_pandas(rows) for rows in ("points", "runs", "events"))
    assert points["dy[y1, k1]"].iloc[5] == alone.dy[1, 1, 0, 1]
    assert runs["d(max of y0)[y0[1]]"].iloc[2] == alone.dsummaries["y0"]["max"][2, 1]
    assert not [name for name in runs if "_events[" in name and name != "n_events[0]"]
    there = np.flatnonzero(~np.isnan(alone.t_events[0][:, 0]))
    assert events["dt_events[k1]"].iloc[0] == alone.dt_events[0][there[0], 0, 0]
    assert events["dy_events[y1, k1]"].iloc[0] == alone.dy_events[0][there[0], 0, 1, 0]
