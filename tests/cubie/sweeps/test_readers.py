"""A store is open to all: xarray and zarr read it where this package is not installed."""

import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

import cubie
from cubie import RunStatus

K, TIMES = [1.0, 2.0], [0.0, 1.0, 5.0]


def spring(t, y, k, m):
    """Swing."""
    return [y[1], -k * y[0] / m]


def passing(t, y, k, m):
    """Happen in the middle."""
    return y[0]


def everything(store, **more):
    """Return a sweep with every kind of axis, and of what is kept."""
    over = (
        cubie.grid(k=K)
        * cubie.zipped(m=[1.0, 2.0, 3.0], t_end=[5.0, 6.0, 7.0])
        * cubie.sampled(3, x=(0.0, 1.0))
    )
    options = {
        "t_eval": TIMES,
        "observables": lambda t, y, k, m: {"energy": k * y[0] ** 2 + m * y[1] ** 2},
        "events": [passing],
        "max_events": 3,
        "summaries": {"x": ["max", cubie.peaks(k=2)]},
        "chunk": 6,
        "backend": "python",
    }
    return cubie.sweep(
        spring, (0.0, 5.0), {"x": 0.0, "v": 1.0}, over=over, store=store, **{**options, **more}
    )


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Return where such a sweep is, and the same in memory."""
    path = tmp_path_factory.mktemp("stores") / "runs.zarr"
    return path, *(everything(where).run(progress=False) for where in (path, None))


READING = """
import sys, warnings
warnings.simplefilter("error")

class Nowhere:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("cubie", "cubie_planner"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Nowhere())
import numpy as np, xarray as xr, zarr

for ds in (xr.open_zarr({path!r}), xr.open_dataset({path!r}, engine="zarr", chunks=None)):
    assert set(ds.coords) == {{"k", "m", "t_end", "x", "time", "component", "state"}}, ds.coords
    assert ds.m.dims == ds.t_end.dims == ("run",) and ds.x.dims == ("sample",)
    assert ds.x.attrs["long_name"] == "initial x"
    assert ds.y.dims == ("k", "run", "sample", "component", "time")
    assert float(ds.y.sel(k=2.0, component="x", time=5.0)[1, 2]) == {number!r}
    assert float(ds["max of x"][1, 1, 2]) == {most!r}
    meaning = dict(zip(ds.status.flag_meanings.split(), ds.status.flag_values))
    assert meaning["SUCCESS"] == 0 and meaning["TOO_MANY_STEPS"] == -2
    assert (ds.status == meaning["SUCCESS"]).all()
    for name, variable in ds.variables.items():
        assert variable.attrs["long_name"], name
    assert ds.attrs["method"] == "tsit5" and ds.attrs["source"].startswith("cubie ")
    assert ds.groupby("k").mean()["max of x"].shape == (2, 3, 3)
assert xr.open_datatree({path!r}, engine="zarr")["cubie"]["done"].values.tolist() == [1, 1, 1, 1]
group = zarr.open_group({path!r}, mode="r")
np.testing.assert_array_equal(group["y"][...], ds.y.values)
assert group["y"].metadata.dimension_names == ds.y.dims
assert not any(name.partition(".")[0].startswith("cubie") for name in sys.modules)
print("read")
"""


def test_other_processes_read_it_without_this_package(stored):
    """Values, coordinates of every kind of axis, what codes mean; without a warning."""
    path, sweep, _ = stored
    ds = sweep.to_xarray()
    script = READING.format(
        path=str(path),
        number=float(ds.y.sel(k=2.0, component="x", time=5.0)[1, 2]),
        most=float(ds["max of x"][1, 1, 2]),
    )
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True)
    assert done.stdout == "read\n", done.stderr
    assert done.stderr == ""


def test_in_memory_it_is_the_same_dataset(stored):
    """Names, order, coordinates, attributes and values."""
    _, on_disk, in_memory = stored
    xr.testing.assert_identical(on_disk.to_xarray(), in_memory.to_xarray())
    assert list(on_disk.to_xarray().data_vars) == list(in_memory.to_xarray().data_vars)


def test_it_has_the_labels_of_a_result(stored):
    """A batch of the same runs, solved at once, has these variables with these attributes."""
    _, sweep, _ = stored
    ds = sweep.to_xarray().isel(k=0, run=0)
    x = ds.x.values
    runs = cubie.solve_ivp(
        spring, (0.0, 5.0), np.stack([x, np.ones(3)], axis=1), t_eval=TIMES, args=(1.0, 1.0),
        observables=lambda t, y, k, m: {"energy": k * y[0] ** 2 + m * y[1] ** 2},
        events=[passing], max_events=3, summaries={"y0": ["max", cubie.peaks(k=2)]},
        backend="python",
    ).to_xarray()  # fmt: skip
    renamed = runs.rename({n: n.replace("y0", "x") for n in map(str, runs.data_vars) if "y0" in n})
    assert set(renamed.data_vars) == set(ds.data_vars)
    for name, variable in renamed.data_vars.items():
        np.testing.assert_array_equal(variable.values, ds[name].values)
        if "y0" not in str(variable.attrs) and name != "status":
            assert variable.attrs == ds[name].attrs
    told, own = (
        dict(zip(s.flag_meanings.split(), s.flag_values, strict=True))
        for s in (ds.status, runs.status)
    )
    assert told == own | {"NOT_DONE": -128}
    assert own == {status.name: int(status) for status in RunStatus}


def test_values_of_each_run_are_labelled_too(tmp_path):
    """What is drawn for each run stands beside its results."""
    from scipy.stats import norm

    sweep = cubie.sweep(
        spring, (0.0, 1.0), [1.0, 0.0], over=cubie.grid(k=K), args={"m": norm(2.0, 0.1)},
        store=tmp_path / "runs.zarr", backend="python",
    ).run(progress=False)  # fmt: skip
    ds = xr.open_zarr(tmp_path / "runs.zarr")
    assert ds.m.dims == ("k",)
    assert ds.m.attrs["long_name"] == "m"
    assert sweep.to_pandas().m.tolist() == ds.m.values.tolist()


def test_it_goes_to_other_formats(stored, tmp_path):
    """NetCDF and CSV, by xarray and pandas, and back."""
    _, sweep, _ = stored
    ds = sweep.to_xarray().drop_vars(["t_events", "y_events", "state"])
    ds.to_netcdf(tmp_path / "runs.nc", engine="scipy")
    with xr.open_dataset(tmp_path / "runs.nc", engine="scipy") as back:
        np.testing.assert_array_equal(back.y, ds.y)
        assert set(back.coords) == set(ds.coords)
        assert back.status.flag_meanings == ds.status.flag_meanings
    table = sweep.to_pandas("runs")
    assert table.index.names == ["k", "run", "sample"]
    table.to_csv(tmp_path / "runs.csv")
    text = (tmp_path / "runs.csv").read_text().splitlines()
    assert text[0].startswith("k,run,sample,m,t_end,x,max of x,peaks of x: count,")
    assert len(text) == 1 + sweep.n_runs


def test_pictures_of_a_store_are_those_of_the_dataset(stored):
    """`Sweep.plot` draws what `to_xarray` has."""
    import matplotlib.pyplot as plt

    plt.switch_backend("Agg")
    _, sweep, _ = stored
    ax = sweep.plot("max of x", x="k", y="run", sel={"sample": 0})
    numbers = np.asarray(ax.collections[0].get_array())
    np.testing.assert_array_equal(numbers, sweep.to_xarray()["max of x"][:, :, 0].values.T)
    ax = sweep.plot("x", bands=0.5)
    # A fan for each value of the grid.
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["k = 1", "k = 2"]
    assert "50 % of runs" in ax.get_title()
    plt.close("all")


def test_names_with_spaces_stay_coordinates_here(tmp_path):
    """The attribute that tells readers of coordinates has spaces between them."""

    def rate(t, y, k):
        return [-k["a b"] * y[0]]

    sweep = cubie.sweep(
        rate, (0.0, 1.0), [1.0], over=cubie.zipped({"k['a b']": K}), args=({"a b": 1.0},),
        store=tmp_path / "runs.zarr", backend="python",
    ).run(progress=False)  # fmt: skip
    assert sweep.to_xarray()["k['a b']"].dims == ("run",)
    assert "k['a b']" in sweep.to_xarray().coords
    assert "k['a b']" in xr.open_zarr(tmp_path / "runs.zarr")
