"""Results as datasets of xarray and tables of pandas: every number where its labels say it is."""

import subprocess
import sys
from functools import cache

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import cubie
from cubie import InvalidOption, InvalidProblem, RunStatus, Solver
from tests.cubie.pretended import PretendedPython, pretend

K = np.array([1.0, 2.0, 3.0])
TIMES = np.linspace(0.0, 5.0, 6)


def spring(t, y, k):
    """Swing."""
    return [y[1], -k * y[0]]


def energy(t, y, k):
    """Twice the energy of it."""
    return {"energy": k * y[0] ** 2 + y[1] ** 2}


def at_rest(t, y, k):
    """Happen where it passes the middle."""
    return y[0]


def below(t, y, k):
    """Happen never."""
    return y[0] + 9.0


@cache
def solved(k="many", span=(0.0, 5.0), y0=(1.0, 0.0), fun=spring, **options):
    """Solve one spring, or three, without compiling."""
    made = {name: dict(value) if name == "summaries" else value for name, value in options.items()}
    t_eval = np.array(made.pop("t_eval")) if "t_eval" in made else None
    solver = Solver(fun, backend="python", rtol=1e-6)
    return solver.solve(span, list(y0), t_eval, args=(K if k == "many" else k,), **made)


SUMMARIES = (("y0", ("max", cubie.peaks(k=2))), ("energy", "mean"))
KINDS = {
    "one run": {"k": 1.0},
    "one run, final": {"k": 1.0, "save": "final"},
    "one run, at times": {"k": 1.0, "t_eval": tuple(TIMES)},
    "final": {},
    "at times": {"t_eval": tuple(TIMES)},
    "steps": {"save": "steps"},
    "chosen states": {"save_states": (1,), "t_eval": tuple(TIMES)},
    "observables": {"observables": energy, "save": "steps"},
    "no states": {"observables": energy, "save_states": False},
    "summaries": {"observables": energy, "summaries": SUMMARIES},
    "summaries of one run": {"k": 1.0, "observables": energy, "summaries": SUMMARIES},
    "events": {"events": (at_rest, below), "t_eval": tuple(TIMES)},
    "events of one run": {"k": 1.0, "events": (at_rest, below)},
    "no event": {"events": (below,)},
    "own times": {"t_eval": ((1.0, 2.0), (2.0, 4.0), (3.0, np.nan))},
}


def every(values):
    """Return what there is of runs as one array."""
    return np.asarray(values)


@pytest.mark.parametrize("kind", KINDS)
def test_every_number_is_there(kind):
    """Whatever is kept: the dataset has it, run by run, under the names of the result."""
    result = solved(**KINDS[kind])
    ds = result.to_xarray()
    of_runs = () if isinstance(result.status, int) else ("run",)
    assert ds.status.dims == of_runs
    final = (
        KINDS[kind].get("save", "final" if of_runs else "") == "final"
        and "t_eval" not in KINDS[kind]
    )
    if result.y is not None:
        y = every(result.y)
        np.testing.assert_array_equal(ds.y, y[..., 0] if final else y)
        assert ds.y.dims[: len(of_runs) + 1] == (*of_runs, "component")
    for name, values in result.observables.items():
        values = every(values)
        np.testing.assert_array_equal(ds[name], values[..., 0] if final else values)
    if final:
        assert "time" not in ds.coords
    else:
        np.testing.assert_array_equal(ds.time, every(result.t))
    for key, of_one in result.summaries.items():
        for label, value in of_one.items():
            parts = value._asdict() if isinstance(value, tuple) else {None: value}
            for part, numbers in parts.items():
                name = f"{label} of {key}" + (f": {part}" if part else "")
                np.testing.assert_array_equal(ds[name], numbers)
    for name in ("n_steps", "n_rejected", "nfev", "t_reached", "status"):
        np.testing.assert_array_equal(ds[name], result[name])
        assert ds[name].attrs["long_name"]
    assert ds.attrs["message"] == result.message
    codes = dict(zip(ds.status.flag_meanings.split(), ds.status.flag_values, strict=True))
    assert codes == {status.name: int(status) for status in RunStatus}


@pytest.mark.parametrize("kind", ["events", "events of one run", "no event"])
def test_events_are_in_rows_with_their_states(kind):
    """Each event of each run once, in the dataset behind which NaN is, and in the table."""
    result = solved(**KINDS[kind])
    ds, table = result.to_xarray(), result.to_pandas(rows="events")
    single = isinstance(result.status, int)
    runs = [()] if single else [(run,) for run in range(len(K))]
    found = {}
    for event, (times, states) in enumerate(zip(result.t_events, result.y_events, strict=True)):
        for run in runs:
            of_run, there = times[run], states[run]
            n = int(np.count_nonzero(~np.isnan(of_run)))
            np.testing.assert_array_equal(ds.t_events[(*run, event)][:n], of_run[:n])
            assert np.isnan(ds.t_events[(*run, event)][n:]).all()
            assert int(ds.n_events[(*run, event)]) == n
            for i in range(n):
                np.testing.assert_array_equal(ds.y_events[(*run, event)][i], there[i])
                status = result.status if single else result.status[run]
                found[(*run, event, i)] = [of_run[i], *there[i], status]
    assert list(table.columns) == ["time", "y0", "y1", "status"]
    assert {key: list(row) for key, row in zip(table.index, table.values, strict=True)} == found
    assert table.index.names == [*([] if single else ["run"]), "event", "occurrence"]


@pytest.mark.parametrize("kind", KINDS)
def test_tables_have_the_numbers_of_the_dataset(kind):
    """A row for each point where points are kept, else for each run; and of runs if asked."""
    result = solved(**KINDS[kind])
    ds, table, of_runs = result.to_xarray(), result.to_pandas(), result.to_pandas(rows="runs")
    np.testing.assert_array_equal(of_runs["status"], np.atleast_1d(ds.status))
    if "time" not in ds.coords:
        pd.testing.assert_frame_equal(table, of_runs)
        for i, name in enumerate(ds.component.values if "y" in ds else ()):
            np.testing.assert_array_equal(table[name], np.atleast_1d(ds.y[..., i]))
        return
    assert table.index.names[-1] == "time"
    there = ~np.isnan(ds.time.values).reshape(-1) if ds.time.ndim == 2 else slice(None)
    names = [str(name) for name in ds.component.values] if "y" in ds else []
    for name in names:
        values = ds.y.sel(component=name).values.reshape(-1)[there]
        np.testing.assert_array_equal(table[name], values)
    times = np.broadcast_to(ds.time.values, ds.y.isel(component=0).shape).reshape(-1)[there]
    np.testing.assert_array_equal(table.index.get_level_values("time"), times)
    assert set(table.columns) == {*names, *result.observables, "status"}


def test_steps_of_runs_go_to_a_table_without_filling_up(monkeypatch):
    """One run may have many more than the others: no rectangle is made of them."""
    from cubie.launch.ragged import RaggedArray

    result = solved(save="steps", observables=energy)
    expected = result.to_pandas()
    monkeypatch.setattr(RaggedArray, "padded", lambda self: pytest.fail("filled up"))
    pd.testing.assert_frame_equal(result.to_pandas(), expected)
    assert len(expected) == result.y.lengths.sum()
    assert "y0" not in result.to_pandas(rows="runs").columns
    np.testing.assert_array_equal(expected["status"].groupby("run").max(), result.status)
    energies = expected.loc[1]["energy"]
    np.testing.assert_array_equal(energies, result.observables["energy"][1])


def test_what_runs_differ_in_becomes_a_coordinate():
    """It labels runs, may take the place of their number, and is a column of the table."""
    result = solved(observables=energy, summaries=SUMMARIES)
    ds = result.to_xarray({"k": K, "place": "here"})
    assert ds.swap_dims(run="k").sel(k=2.0)["max of y0"] == result.summaries["y0"]["max"][1]
    assert ds.place.item() == "here"
    assert result.to_pandas(coords={"k": K})["k"].tolist() == K.tolist()
    columns = list(result.to_pandas().columns)
    assert columns[:3] == ["y0", "y1", "energy"]
    assert [name for name in columns if name.startswith("peaks")] == [
        "peaks of y0: count",
        *(f"peaks of y0: {part}[{i}]" for part in ("times", "values") for i in (0, 1)),
    ]


def test_complex_states_and_their_parts():
    """They are one component each, also where some are kept alone."""
    solver = Solver(lambda t, y, k: [1j * k * y[0], -y[1], y[2]], backend="python")
    result = solver.solve((0, 1), [1 + 0j, 2, 3], [0.0, 1.0], args=(K,), save_states=[2, 0])
    ds = result.to_xarray()
    assert list(ds.component.values) == ["y2", "y0"]
    assert ds.y.dtype == complex
    np.testing.assert_array_equal(ds.y.sel(component="y0"), result.y[:, 1])
    assert list(result.to_pandas().columns) == ["y2", "y0", "status"]


def test_names_of_equations_are_those_of_components():
    """States, and summaries and events of them, go by the names that the equations have."""
    solver = Solver(["dx = v", "dv = -k*x"], backend="python", summaries={"v": "max", 0: "min"})
    result = solver.solve((0, 5), {"x": 1, "v": 0}, args={"k": K}, events=[lambda t, y, k: y[1]])
    ds = result.to_xarray()
    assert list(ds.component.values) == list(ds.state.values) == ["x", "v"]
    assert {"max of v", "min of x"} <= set(ds.data_vars)
    np.testing.assert_array_equal(ds["max of v"], result.summaries["v"]["max"])


def test_work_of_implicit_methods_is_told():
    """Of explicit ones there are no Jacobians to count."""
    explicit = solved().to_xarray()
    implicit = solved(method="rodas5p").to_xarray()
    assert {"njev", "nlu"} <= set(implicit.data_vars) - set(explicit.data_vars)


def test_failed_runs_say_so():
    """Their status, and NaN where there is nothing."""
    result = solved(t_eval=tuple(TIMES), max_steps=12)
    ds = result.to_xarray()
    assert (ds.status < 0).any()
    np.testing.assert_array_equal(np.isnan(ds.y).any(("component", "time")), ds.status < 0)


def test_a_system_without_states():
    """It has times and outcomes."""
    result = Solver(lambda t, y: [], backend="python").solve((0, 5), [])
    assert "y" not in result.to_xarray()
    assert result.to_xarray().time.values.tolist() == [0.0, 5.0]
    assert result.to_pandas(rows="runs").status.tolist() == [0]


def test_what_lies_on_a_device_is_copied(monkeypatch):
    """The labels are those of the same solve on the host."""
    options = {"backend": "python", "observables": energy, "rtol": 1e-6}
    expected = Solver(spring, **options).solve((0, 5), [1, 0], TIMES, args=(K,)).to_xarray()
    pretend(monkeypatch, PretendedPython)
    result = Solver(spring, on_device=True, **options).solve((0, 5), [1, 0], TIMES, args=(K,))
    assert isinstance(result.y, cubie.DeviceArray)
    xr.testing.assert_identical(result.to_xarray(), expected)


def named_status(t, y, k):
    """Have the name of something else."""
    return {"status": y[0]}


WRONG = {
    "a length": (lambda: solved().to_xarray({"k": K[:2]}), r"k'.*is of shape .2,.*or 3 of them"),
    "no mapping": (lambda: solved().to_xarray(K), "must be one of a mapping of names"),
    "one run": (lambda: solved(k=1.0).to_xarray({"k": 1.0}), "for each run of a batch"),
    "a name of its own": (lambda: solved().to_xarray({"status": K}), "'status', which is what"),
    "an observable": (lambda: solved(observables=named_status).to_xarray(), "'status', which"),
    "no points": (lambda: solved().to_pandas("points"), "'points', but must be one of 'runs'"),
    "no events": (lambda: solved().to_pandas("events"), "'events', but must be one of 'runs'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_labelled_is_refused_in_words(case):
    """Naming what was given."""
    make, told = WRONG[case]
    with pytest.raises((InvalidOption, InvalidProblem), match=told):
        make()


MISSING = {
    "xarray": ("xarray", "sweep", lambda: solved().to_xarray()),
    "pandas": ("pandas", "sweep", lambda: solved(save="steps").to_pandas()),
    "matplotlib": ("matplotlib.pyplot", "plot", lambda: solved(k=1.0).plot()),
}


@pytest.mark.parametrize("name", MISSING)
def test_a_package_that_is_not_there_is_named(name, monkeypatch):
    """With the way to install it."""
    module, extra, call = MISSING[name]
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"need {name}: pip install 'cubie-ode\[{extra}\]'"):
        call()


def test_a_solve_needs_none_of_them():
    """They are loaded when results are to be labelled."""
    script = """
import sys
import cubie
cubie.solve_ivp(lambda t, y: [-y[0]], (0, 1), [1.0], backend="python")
print({"xarray", "pandas", "matplotlib", "zarr"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
