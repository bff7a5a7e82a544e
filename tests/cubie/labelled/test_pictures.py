"""Pictures of labelled results show the numbers that are there, under the names that they have."""

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr

from cubie import InvalidOption, RunStatus, Solver
from cubie.labelled import view as views
from cubie.labelled.pictures import plot
from cubie.labelled.statuses import colour_of
from cubie.labelled.words import NOT_DONE, about_status

RHO, SIGMA, TIMES = (
    np.array([3.0, 1.0, 2.0, 7.0]),
    np.array([8.0, 10.0, 12.0]),
    np.linspace(0, 1, 5),
)
N_SAMPLES = 40


@pytest.fixture(autouse=True)
def figures():
    """Draw into files, and forget them."""
    import matplotlib.pyplot as plt

    plt.switch_backend("Agg")
    yield plt
    plt.close("all")


def grid():
    """Return a sweep over two axes, one of them out of order, with final states."""
    rng = np.random.default_rng(1)
    runs = ("rho", "sigma")
    status = np.zeros((4, 3), np.int8)
    status[1, 2], status[3, 0], status[3, 1] = -2, 1, NOT_DONE
    return xr.Dataset(
        {
            "y": ((*runs, "component"), rng.normal(size=(4, 3, 2)), {"long_name": "state"}),
            "max of x": (runs, rng.normal(size=(4, 3)), {"units": "mV"}),
            "psi": (runs, rng.normal(size=(4, 3)) * 1j),
            "n_steps": (runs, rng.integers(9, size=(4, 3))),
            "status": (runs, status, about_status(not_done=True)),
        },
        {"rho": RHO, "sigma": SIGMA, "component": ["x", "z"]},
    )


def samples():
    """Return trajectories of samples, whose two parameters are no axes, for two values of rho."""
    rng = np.random.default_rng(2)
    runs = ("rho", "sample")
    y = rng.normal(size=(2, N_SAMPLES, 2, 5))
    y[0, 3, :, 3:] = np.nan  # of a run that failed
    return xr.Dataset(
        {
            "y": ((*runs, "component", "time"), y),
            "energy": ((*runs, "time"), (y**2).sum(axis=2)),
            "status": (runs, np.zeros((2, N_SAMPLES), np.int8)),
        },
        {
            "rho": [20.0, 28.0],
            "a": ("sample", rng.random(N_SAMPLES), {"long_name": "rate"}),
            "b": ("sample", rng.random(N_SAMPLES)),
            "time": TIMES,
            "component": ["x", "z"],
        },
    )


def legend(ax):
    """Return what the legend says."""
    return [text.get_text() for text in ax.get_legend().get_texts()]


def lines(ax):
    """Return the lines of a picture as (x, y)."""
    return [line.get_data() for line in ax.lines]


def mesh(ax):
    """Return the numbers of a heat map, and the middles of its rows and columns."""
    (drawn,) = ax.collections
    return np.asarray(drawn.get_array()), drawn.get_coordinates()


# ---- heat maps ---------------------------------------------------------------------------


def test_two_axes_give_a_heat_map():
    """Each number is at its place, in the order of the axes' values."""
    ds = grid()
    ax = plot(ds, "max of x", x="rho", y="sigma")
    numbers, corners = mesh(ax)
    wanted = ds["max of x"].where(ds.status >= 0).sortby("rho").values
    np.testing.assert_array_equal(np.ma.filled(numbers, np.nan), wanted.T)
    assert (corners[0, 1, 0], corners[1, 0, 1]) == (1.5, 9.0)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("rho", "sigma")
    assert ax.figure.axes[1].get_ylabel() == "max of x [mV]"
    np.testing.assert_array_equal(mesh(plot(ds, "max of x"))[0], numbers)


def test_axes_may_change_places_and_be_logarithmic():
    """What matplotlib and xarray take is handed on, and so is what to draw into."""
    import matplotlib.pyplot as plt

    ds, (_, own) = grid(), plt.subplots()
    ax = plot(ds, "x", x="sigma", y="rho", ax=own, xscale="log", cmap="magma", vmin=-1, vmax=1)
    assert ax is own
    assert ax.get_xscale() == "log"
    assert (ax.collections[0].get_cmap().name, ax.collections[0].get_clim()) == ("magma", (-1, 1))
    wanted = ds.y.sel(component="x").where(ds.status >= 0).sortby("rho").values
    np.testing.assert_array_equal(np.ma.filled(mesh(ax)[0], np.nan), wanted)


def test_values_on_a_scale_of_logarithms_are_drawn_on_one():
    """Of maps, lines and trajectories; not of a few values, and not where it is told otherwise."""
    ds = grid()
    even = ds.assign_coords(rho=np.geomspace(0.1, 100, ds.sizes["rho"]))
    assert ds.sizes["rho"] > 2
    ax = plot(even, "max of x", x="rho", y="sigma")
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "linear")
    assert (mesh(ax)[1][..., 0] > 0).all()
    assert plot(even, "max of x", x="sigma", y="rho").get_yscale() == "log"
    assert plot(even, "max of x", x="rho", y="sigma", xscale="linear").get_xscale() == "linear"
    assert plot(even.isel(sigma=0), "max of x", x="rho").get_xscale() == "log"
    assert plot(even, "status", x="rho", y="sigma").get_xscale() == "log"
    for values in (np.linspace(1, 5, 3), [-1.0, -10.0, -100.0], [1.0, 10.0, 99.0], [0.0, 1.0, 2.0]):
        other = ds.isel(rho=slice(3)).assign_coords(rho=values)
        assert plot(other, "max of x", x="rho", y="sigma").get_xscale() == "linear"


def test_a_third_axis_is_chosen_or_drawn_together():
    """A place along it is in the title; the median is over what there is."""
    ds = samples()
    chosen = plot(ds, "x", x="rho", y="time", sel={"sample": 5})
    np.testing.assert_array_equal(mesh(chosen)[0], ds.y[:, 5, 0].values.T)
    assert chosen.get_title().endswith("sample = 5")
    median = plot(ds, "x", x="rho", y="time", over="sample")
    np.testing.assert_allclose(
        mesh(median)[0], np.nanmedian(ds.y[:, :, 0].values, axis=1).T, rtol=1e-12
    )


def test_points_of_a_sample_are_coloured():
    """Two coordinates along the same axis, or two other results, are no grid."""
    ds = samples()
    ax = plot(ds, "z", x="a", y="b", sel={"time": 1.0, "rho": 28})
    (drawn,) = ax.collections
    np.testing.assert_array_equal(drawn.get_offsets(), np.stack([ds.a, ds.b], axis=1))
    np.testing.assert_array_equal(drawn.get_array(), ds.y[1, :, 1, -1])
    assert (ax.get_xlabel(), ax.get_title()) == ("rate", "rho = 28, time = 1")
    ax = plot(grid(), "n_steps", x="x", y="max of x")
    np.testing.assert_array_equal(
        ax.collections[0].get_offsets()[:, 1], grid()["max of x"].data.flat
    )
    assert ax.get_ylabel() == "max of x [mV]"


# ---- how runs ended ----------------------------------------------------------------------


def test_a_status_map_names_what_happened():
    """Codes are colours with names; the same code has the same colour on every map."""
    ax = plot(grid(), "status", x="rho", y="sigma")
    assert sorted(legend(ax)) == ["EVENT", "NOT_DONE", "SUCCESS", "TOO_MANY_STEPS"]
    patches = {
        t.get_text(): p.get_facecolor()
        for t, p in zip(ax.get_legend().get_texts(), ax.get_legend().get_patches(), strict=True)
    }
    drawn = ax.collections[0]
    shown = drawn.cmap(drawn.norm(np.asarray(drawn.get_array())))
    rows = grid().status.sortby("rho").values.T
    for name, code in (
        ("EVENT", 1),
        ("NOT_DONE", NOT_DONE),
        ("SUCCESS", 0),
        ("TOO_MANY_STEPS", -2),
    ):
        assert patches[name] == mpl.colors.to_rgba(colour_of(code))
        np.testing.assert_allclose(
            shown[rows == code], np.tile(patches[name], (np.sum(rows == code), 1))
        )
    assert len(ax.figure.axes) == 1  # no colour bar


def test_every_status_has_a_colour_of_its_own():
    """Also beside runs that are not done."""
    colours = [colour_of(int(status)) for status in RunStatus] + [colour_of(NOT_DONE)]
    assert len(set(colours)) == len(RunStatus) + 1


def test_a_status_over_one_axis_and_of_samples():
    """Names stand at the axis, or in the legend."""
    ax = plot(grid(), "status", sel={"sigma": 12})
    assert [text.get_text() for text in ax.get_yticklabels()] == ["TOO_MANY_STEPS", "SUCCESS"]
    ax = plot(samples(), "status", x="a", y="b", sel={"rho": 20})
    assert legend(ax) == ["SUCCESS"]  # by name, though the attributes do not say it


# ---- lines and fans ----------------------------------------------------------------------


def test_one_axis_gives_lines():
    """One for each value of the other, in the order of the axis' values."""
    ds = grid()
    ax = plot(ds, "max of x", x="rho")
    assert legend(ax) == ["sigma = 8", "sigma = 10", "sigma = 12"]
    for i, (x, y) in enumerate(lines(ax)):
        np.testing.assert_array_equal(x, np.sort(RHO))
        wanted = ds["max of x"].where(ds.status >= 0)
        np.testing.assert_array_equal(y, wanted.sortby("rho")[:, i])
    assert ax.get_ylabel() == "max of x [mV]"
    one = plot(ds, "max of x", sel={"sigma": 9.9}, color="red", linestyle="--")
    assert one.get_title() == "sigma = 10, 1 of 4 runs not done"
    assert one.get_legend() is None
    assert (one.lines[0].get_color(), one.lines[0].get_linestyle()) == ("red", "--")


def test_all_components_over_one_axis():
    """They go by their names."""
    ax = plot(grid(), "y", x="rho", sel={"sigma": 8})
    assert legend(ax) == ["x", "z"]
    assert legend(plot(grid(), "y", x="rho", sel={"sigma": [8, 12]}))[1] == "sigma = 8, z"


def test_trajectories_are_fans_of_all_runs():
    """The median, and bands that so many of the runs lie in: of those that got so far."""
    ds = samples()
    ax = plot(ds, "x", over=("rho", "sample"), bands=(0.9, 0.5))
    runs = ds.y[:, :, 0].values.reshape(-1, 5)
    np.testing.assert_allclose(lines(ax)[0][1], np.nanquantile(runs, 0.5, axis=0))
    assert legend(ax) == ["median", "90 % of runs", "50 % of runs"]
    for band, share in zip(ax.collections, (0.9, 0.5), strict=True):
        corners = band.get_paths()[0].vertices
        for quantile in (0.5 - share / 2, 0.5 + share / 2):
            wanted = np.nanquantile(runs, quantile, axis=0)
            for t, value in zip(TIMES, wanted, strict=True):
                assert np.isclose(corners, (t, value)).all(axis=1).any()


def test_fans_over_given_axes_are_one_for_each_value_of_the_others():
    """Told apart by colour and name; bands are in the title."""
    ds = samples()
    ax = plot(ds, "energy", over="sample", bands=0.8)
    assert legend(ax) == ["rho = 20", "rho = 28"]
    assert ax.get_title() == "medians, with 80 % of runs"
    np.testing.assert_allclose(lines(ax)[1][1], ds.energy[1].median("sample"))
    ax = plot(ds, "y", sel={"rho": 20})
    assert legend(ax) == ["x", "z"]


def test_samples_are_drawn_together_at_each_value_of_other_axes():
    """A median over both would be of nobody; where there are too many it is asked."""
    ds = samples()
    ax = plot(ds, "energy", bands=0.8)
    assert legend(ax) == ["rho = 20", "rho = 28"]
    np.testing.assert_allclose(lines(ax)[0][1], ds.energy[0].median("sample"))
    many = ds.isel(rho=[0] * 11).assign_coords(rho=np.arange(11.0))
    with pytest.raises(InvalidOption, match=r"rho \(11 values\): .* by over='rho'"):
        plot(many, "energy")


def test_runs_without_values_of_their_own_are_points():
    """Draws lie in no order, and no line leads from one to the next."""
    ds = samples().isel(rho=0, time=-1)
    (line,) = plot(ds, "x").lines
    assert (line.get_linestyle(), line.get_marker()) == ("None", ".")
    (line,) = plot(ds, "x", linestyle="-").lines
    assert line.get_linestyle() == "-"


def test_other_axes_have_fans_too():
    """What a sample makes of a result, over what is swept."""
    ds = samples().isel(time=-1)
    ax = plot(ds, "x", x="rho", over="sample")
    np.testing.assert_allclose(lines(ax)[0][1], ds.y[:, :, 0].median("sample"))
    assert ax.get_title() == "time = 1"


def test_each_run_alone():
    """Without anything drawn together, up to ten."""
    ds = samples()
    ax = plot(ds, "x", over=(), sel={"sample": [0, 3], "rho": 20})
    np.testing.assert_array_equal(lines(ax)[1][1], ds.y[0, 3, 0])
    assert legend(ax) == ["sample = 0", "sample = 3"]
    assert legend(plot(ds, "x", over=(), sel={"sample": slice(1, 3), "rho": 20}))[2] == "sample = 3"


def test_a_coordinate_along_another_axis():
    """Points, where it goes to and fro; else a line."""
    ds = samples().isel(time=-1, rho=0)
    ax = plot(ds, "x", x="a")
    assert ax.lines[0].get_linestyle() == "None"
    np.testing.assert_array_equal(lines(ax)[0], [ds.a, ds.y[:, 0]])
    assert plot(ds.sortby("a"), "x", x="a").lines[0].get_linestyle() == "-"


def test_one_quantity_over_another():
    """A way through the plane of two states goes in time."""
    ds = samples().isel(sample=0)
    ax = plot(ds, "z", x="x")
    np.testing.assert_array_equal(lines(ax)[1], [ds.y[1, 0], ds.y[1, 1]])
    assert ax.lines[0].get_linestyle() == "-"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x", "z")


@pytest.mark.parametrize("part", ["abs", "angle", "real", "imag"])
def test_parts_of_complex_numbers(part):
    """They are asked for by name; of a component, too."""
    ds = grid()
    made = {"abs": np.abs, "angle": np.angle, "real": np.real, "imag": np.imag}[part]
    ax = plot(ds, f"{part} of psi", sel={"sigma": 8})
    np.testing.assert_array_equal(lines(ax)[0][1], made(ds.psi[:, 0].sortby("rho")))
    assert ax.get_ylabel() == f"{part} of psi"
    assert plot(ds, "abs of z", sel={"sigma": 8}).get_ylabel() == "abs of z"


def test_an_initial_value_has_the_name_of_its_component():
    """The component is drawn, over the initial value."""
    ds = grid().rename(sigma="x")
    ax = plot(ds, "x", x="x", sel={"rho": 2})
    np.testing.assert_array_equal(lines(ax)[0], [SIGMA, ds.y[2, :, 0]])


# ---- very many ---------------------------------------------------------------------------


def test_of_very_many_numbers_a_part_is_read(monkeypatch):
    """Evenly, with both ends, and the title says so."""
    from cubie.labelled import maps

    monkeypatch.setattr(views, "MOST_NUMBERS", 100)
    monkeypatch.setattr(maps, "MOST_OF_AN_AXIS", 2)
    assert plot(samples(), "x", sel={"rho": 20}).get_title().endswith("20 of 40 values of sample")
    ax = plot(grid(), "max of x")
    assert ax.get_title() == "2 of 4 values of rho, 2 of 3 values of sigma"
    assert mesh(ax)[0].shape == (2, 2)


# ---- results -----------------------------------------------------------------------------


def spring(t, y, k):
    """Swing."""
    return [y[1], -k * y[0]]


def test_results_draw_themselves():
    """One run all its states; a batch a fan; runs with steps of their own a line each."""
    solver, k = Solver(spring, backend="python"), np.array([1.0, 2.0, 3.0])
    one = solver.solve((0, 5), [1, 0], args=(1.0,))
    ax = one.plot()
    assert legend(ax) == ["y0", "y1"]
    np.testing.assert_array_equal(lines(ax)[1], [one.t, one.y[1]])
    batch = solver.solve((0, 5), [1, 0], np.linspace(0, 5, 6), args=(k,))
    np.testing.assert_allclose(lines(batch.plot("y0"))[0][1], np.median(batch.y[:, 0], axis=0))
    final = solver.solve((0, 5), [1, 0], args=(k,))
    np.testing.assert_array_equal(
        lines(final.plot("y1", x="k", coords={"k": k}))[0], [k, final.y[:, 1, 0]]
    )
    steps = solver.solve((0, 5), [1, 0], args=(k,), save="steps")
    ax = steps.plot("y0")
    assert legend(ax) == ["run = 0", "run = 1", "run = 2"]
    np.testing.assert_array_equal(lines(ax)[2][1][: steps.y.lengths[2]], steps.y[2][0])


# ---- what cannot be drawn ----------------------------------------------------------------

WRONG = {
    "nothing of that name": (grid, ("max of y",), {}, r"did you mean 'max of x'"),
    "an axis": (grid, ("x",), {"x": "rhoo"}, r"`x` is 'rhoo', but must be one of 'rho', 'sigma'"),
    "an axis it has not": (grid, ("n_steps",), {"x": "component"}, r"varies along component"),
    "another axis": (samples, ("x",), {"x": "rho", "y": "time"}, r"along sample \(40 values\)"),
    "many lines": (samples, ("x",), {"over": ()}, r"along rho \(2 values\), sample \(40 values\)"),
    "a place beyond": (grid, ("x",), {"sel": {"rho": 8.0}}, r"'rho' goes from 1 to 7"),
    "a slice beyond": (grid, ("x",), {"sel": {"rho": slice(8, 9)}}, r"none lies there"),
    "no place": (grid, ("x",), {"sel": {"rho": "a"}}, r"'rho' goes from 1 to 7"),
    "no such axis": (grid, ("x",), {"sel": {"tau": 8.0}}, r"`sel` is 'tau'.* 'rho', 'sigma'"),
    "no such component": (grid, ("y",), {"sel": {"component": "w"}}, r"must be one of 'x', 'z'"),
    "along another": (samples, ("x",), {"sel": {"a": 1}}, r"varies along 'sample'"),
    "no mapping": (grid, ("x",), {"sel": 8.0}, r"Give a mapping"),
    "one number": (grid, ("x",), {"sel": {"rho": 1, "sigma": 8}}, r"is one number"),
    "complex": (grid, ("psi",), {}, r"draw 'abs of psi'"),
    "text": (grid, ("x",), {"x": "rho", "y": "component"}, r"not have|no real"),
    "shares": (samples, ("x",), {"bands": 90}, r"above 0, at most 1"),
    "over what": (samples, ("x",), {"over": "tau"}, r"`over` is 'tau', but must be"),
    "over its axis": (samples, ("x",), {"x": "a", "over": "sample"}, r"varies along sample"),
    "over a map's axis": (grid, ("x",), {"x": "rho", "y": "sigma", "over": "rho"}, r"'rho' varies"),
    "over outcomes": (grid, ("status",), {"over": "rho"}, r"no median"),
    "one value": (
        lambda: grid().isel(rho=[0]), ("x",), {"x": "rho", "y": "sigma"}, r"It has one value"
    ),
    "unlike axes": (samples, ("x",), {"x": "z", "y": "a"}, r"one of its own for each"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_drawn_is_refused_in_words(case):
    """Naming what was given, what there is, and what would do."""
    make, what, how, told = WRONG[case]
    with pytest.raises(InvalidOption, match=told):
        plot(make(), *what, **how)
