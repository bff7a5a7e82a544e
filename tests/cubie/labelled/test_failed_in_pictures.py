"""Pictures leave out runs that failed, and say so."""

import numpy as np

from cubie import Solver
from cubie.labelled import view as views
from cubie.labelled.pictures import plot
from cubie.labelled.words import NOT_DONE
from tests.cubie.labelled.test_pictures import (
    N_SAMPLES,
    figures,  # noqa: F401
    grid,
    lines,
    mesh,
    samples,
    spring,
)


def failing(ds, *places, code=-2):
    """Return a dataset in which runs failed at these places; their numbers are huge."""
    status = ds.status.values.copy()
    for place in places:
        status[place] = code
    made = ds.assign(status=(ds.status.dims, status, ds.status.attrs))
    return made.assign({n: v.where(made.status >= 0, 1e9) for n, v in ds.items() if n != "status"})


def test_maps_leave_out_runs_that_failed():
    """They are blank, and the title counts them, and those that nobody computed."""
    ds = grid()
    ax = plot(ds, "max of x", x="rho", y="sigma")
    expected = ds["max of x"].where(ds.status >= 0).sortby("rho").values.T
    np.testing.assert_array_equal(np.ma.filled(mesh(ax)[0], np.nan), expected)
    assert np.isnan(expected).sum() == 2
    assert ax.get_title() == "1 of 12 runs failed, left out; 1 not done"
    ax = plot(failing(ds, (3, 1)), "x", sel={"rho": 7})
    assert ax.get_title() == "rho = 7, 1 of 3 runs failed, left out"
    with_median = plot(failing(samples(), (0, 3)), "x", x="rho", y="time", over="sample")
    assert with_median.get_title() == "medians of the 79 of 80 runs that did not fail"
    assert np.nanmax(mesh(with_median)[0]) < 1e3


def test_lines_points_and_parts_leave_them_out():
    """Of parts of complex numbers, and of whole numbers, too."""
    ds = failing(grid(), (0, 0), (2, 0)).assign(count=grid().n_steps)
    for what in ("max of x", "count", "abs of psi", "abs of z"):
        ax = plot(ds, what, x="rho", sel={"sigma": 8})
        assert np.isnan(lines(ax)[0][1]).sum() == 2
        assert ax.get_title().endswith("2 of 4 runs failed, left out")
    ds = failing(samples().isel(rho=0, time=-1), (4,), (5,))
    (drawn,) = plot(ds, "x", x="a", y="b").collections
    expected = ds.y[:, 0].where(ds.status >= 0)
    np.testing.assert_array_equal(np.ma.filled(drawn.get_array(), np.nan), expected)


def test_a_number_between_runs_that_failed_is_seen():
    """A line has no length there: it has a marker, unless the user chose one."""
    ds = failing(grid(), (2, 0), (3, 0))  # rho = 2 and 7; left are 1 and 3
    (line,) = plot(ds, "max of x", x="rho", sel={"sigma": 8}).lines
    assert (line.get_marker(), line.get_markevery()) == (".", [0, 2])
    (line,) = plot(ds, "max of x", x="rho", sel={"sigma": 8}, marker="x").lines
    assert (line.get_marker(), line.get_markevery()) == ("x", None)
    (line,) = plot(grid(), "max of x", x="rho", sel={"sigma": 8}).lines
    assert line.get_marker() == "None"


def test_fans_are_of_runs_that_did_not_fail():
    """Medians and bands, whatever numbers the others have."""
    ds = failing(samples(), (0, 3), (1, 7))
    ax = plot(ds, "x", over=("rho", "sample"))
    runs = ds.y[:, :, 0].where(ds.status >= 0).values.reshape(-1, 5)
    np.testing.assert_allclose(lines(ax)[0][1], np.nanquantile(runs, 0.5, axis=0))
    assert ax.get_title() == "quantiles of the 78 of 80 runs that did not fail"
    ax = plot(failing(ds, (0, 9), code=NOT_DONE), "x", over="sample", bands=0.9)
    told = "quantiles of the 77 of 80 runs that did not fail (1 not done)"
    assert ax.get_title() == f"{told}, medians, with 90 % of runs"


def test_how_runs_ended_and_their_work_is_shown_of_all():
    """But for work of runs that nobody computed: there is none."""
    ds = grid()
    ax = plot(ds, "n_steps", x="rho", y="sigma")
    assert np.ma.getmaskarray(np.ma.masked_invalid(mesh(ax)[0])).sum() == 1
    assert ax.get_title() == "1 of 12 runs not done"
    assert plot(ds, "status").get_title() == ""


def test_one_run_that_failed_is_drawn_as_far_as_it_got():
    """It was chosen: the title says how it ended."""
    ax = plot(failing(samples(), (0, 3)), "x", sel={"rho": 20, "sample": 3})
    assert ax.get_title().endswith("the run failed: TOO_MANY_STEPS")
    assert np.isfinite(lines(ax)[0][1]).all()


def test_of_many_that_failed_those_that_are_read_are_counted(monkeypatch):
    """As many as the picture has."""
    monkeypatch.setattr(views, "MOST_NUMBERS", 100)
    ds = failing(samples(), *((0, i) for i in range(N_SAMPLES)))
    told = "20 of 40 values of sample, quantiles of the 0 of 20 runs that did not fail"
    assert plot(ds, "x", sel={"rho": 20}).get_title().endswith(told)


def test_results_leave_out_runs_that_failed():
    """As sweeps do."""
    solver, k = Solver(spring, backend="python", max_steps=30), np.array([1.0, 900.0])
    result = solver.solve((0, 5), [1, 0], np.linspace(0, 5, 6), args=(k,))
    assert (result.status < 0).tolist() == [False, True]
    ax = result.plot("y0")
    np.testing.assert_array_equal(lines(ax)[0][1], result.y[0, 0])
    assert ax.get_title() == "quantiles of the 1 of 2 runs that did not fail"
