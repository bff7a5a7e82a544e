"""What users read where they gave something that goes elsewhere: each says where."""

import numpy as np
import pytest
from scipy import stats

import cubie
from cubie import CubieError
from cubie.sweeps.codec import from_json, to_json

SHORT = {"backend": "python", "method": "rk4", "first_step": 0.1}
NEW_KIND = hasattr(stats, "Normal")
DISTRIBUTIONS = [stats.norm(1, 0.1), stats.norm, *([stats.Normal(mu=1.0)] if NEW_KIND else [])]


def pair(t, y, a=1.0):
    v, w = y
    return [-a * v, w]


def vector(t, y, k, a=1.0):
    return [-a * k[0] * y[0]]


def swept(fun=pair, y0=(1.0, 1.0), over=None, span=(0, 1), **options):
    """Begin a sweep of what is given, and of something else where nothing is."""
    over = {"a": [1.0, 2.0]} if over is None else over
    return cubie.sweep(fun, span, y0, over=over, **SHORT, **options)


@pytest.mark.parametrize("one", DISTRIBUTIONS, ids=lambda one: type(one).__name__)
def test_a_distribution_is_sent_where_it_is_drawn_from(one):
    """Axes, initial values and times each have a place for it."""
    wrong = [
        (lambda: cubie.grid(a=one), r"'a' over a distribution: .*sampled\(n, a=...\), or give"),
        (lambda: cubie.zipped(a=one, b=[1]), r"sampled\(n, a=...\)"),
        (lambda: cubie.grid({"k[1]": [one, 1.0]}), r"sampled\(n, \{'k\[1\]': ...\}\)"),
        (lambda: swept(y0=[one, 1.0]), r"'y0': initial values .* over=cubie.sampled\(n, y0=..."),
        (lambda: swept(y0={"v": 1.0, "w": one}), r"for 'w': .* over=cubie.sampled\(n, w=..."),
        (lambda: swept(span=(0, one)), r"draw times by over=cubie.sampled\(n, t_end=...\)"),
    ]
    for give, message in wrong:
        with pytest.raises(CubieError, match=message):
            give()


@pytest.mark.parametrize(
    ("y0", "message"),
    [
        ({"v": np.inf, "w": 1.0}, "`y0` has inf for 'v'; initial values must be finite"),
        ({"v": np.nan, "w": 1.0}, "`y0` has no number for 'v'"),
        ({"v": "1", "w": 1.0}, "`y0` has for 'v' no number: it contains the text '1'"),
        ({"v": True, "w": 1.0}, "`y0` has for 'v' no number: it contains the truth value"),
        ({"v": None, "w": 1.0}, "`y0` has for 'v' no number: it contains None"),
        ({"v": [1.0, 2.0], "w": 1.0}, r"2 values for 'v'.*over=cubie.grid\(v=...\)"),
        ({"v": [1.0, 2.0], "w": [1.0, 2.0]}, "2 values for 'v', and of a sweep it is one state"),
    ],
)
def test_initial_values_are_called_by_their_states(y0, message):
    """Of a state with a name a message has that name."""
    with pytest.raises(CubieError, match=message):
        swept(y0=y0)
    if "w" in y0 and y0["w"] == 1.0:
        with pytest.raises(CubieError, match=message):
            swept(["dv = -a*v", "dw = w"], y0)


def test_numbers_beyond_the_dtype_are_refused_before_a_chunk():
    """What all runs begin with, as what is swept, is held against the dtype of runs."""
    with pytest.raises(CubieError, match=r"`y0\['v'\]` contains 1e\+60, which is infinite in"):
        swept(y0={"v": 1e60, "w": 1.0}, dtype="float32")
    with pytest.raises(CubieError, match=r"`args\[.*1e-60"):
        swept(args={"a": 1e-60}, over={"y0": [1.0]}, dtype="float32")


def test_a_state_that_the_function_names_alone():
    """It is told how a sweep learns of that name."""
    with pytest.raises(CubieError, match=r"sweeps 'v': for that name the states, y0=\{'v': ..., "):
        swept(over={"v": [1.0]})


@pytest.mark.parametrize("value", [np.linspace(0, 1, 5), [1.0, 2.0]])
def test_an_array_in_args_is_of_each_run(value):
    """Where a function cannot do anything with it, it is told where what differs is given."""
    for args in ({"a": value}, (value,)):
        with pytest.raises(CubieError, match=r"`a` is an array of \d, which .*cubie.grid\(a=..."):
            swept(args=args, over={"y0": [1.0, 2.0]})
    whole = swept(vector, [1.0], {"a": [1.0, 2.0]}, args={"k": value})
    assert whole.n_runs == 2


def test_functions_without_time():
    """They are told that the time comes first; those with too many arguments are not."""
    with pytest.raises(CubieError, match=r"by which the function gets its states: .*time first"):
        swept(lambda y, a: [-a * y[0]], [1.0])
    for solve in (cubie.solve_ivp, lambda *given, **more: swept(given[0], [1.0], {"y0": [1.0]})):
        with pytest.raises(TypeError, match="The time comes first, also where nothing depends on"):
            solve(lambda y: [-y[0]], (0, 1), [1.0], backend="python")
    with pytest.raises(TypeError) as raised:
        cubie.solve_ivp(lambda t, y: [-y[0]], (0, 1), [1.0], args=(1.0,), backend="python")
    assert "time comes first" not in str(raised.value)


@pytest.mark.skipif(not NEW_KIND, reason="distributions of the new kind are SciPy's since 1.15")
def test_distributions_of_the_new_kind(tmp_path):
    """Those with parameters are kept in a store; of others it is told that the call is needed."""
    store = tmp_path / "runs.zarr"
    for one in (stats.Normal(mu=1.0, sigma=0.5), stats.Normal(), stats.Uniform(a=0.0, b=2.0)):
        again = from_json(to_json(one))
        assert repr(again) == repr(one)
        assert again.icdf(0.3) == one.icdf(0.3)
    swept(over=cubie.sampled(3, a=stats.Normal(mu=1.0)), store=store).run(progress=False)
    wanted = cubie.Sweep.resume(store).to_xarray().a.values
    assert wanted.tolist() == swept(over=cubie.sampled(3, a=stats.Normal(mu=1.0))).run(
        progress=False
    ).to_xarray().a.values.tolist()  # fmt: skip
    cut = stats.truncate(stats.Normal(mu=1.0), 0.5, 2.0)
    swept(over=cubie.sampled(3, a=cut), store=tmp_path / "cut.zarr").run(progress=False)
    with pytest.raises(CubieError, match=r"cannot be kept in it .*TruncatedDistribution"):
        cubie.Sweep.resume(tmp_path / "cut.zarr")
    assert swept(over=cubie.sampled(3, a=cut), store=tmp_path / "cut.zarr").n_chunks_done == 1


def test_a_device_that_is_not_here_is_refused_before_a_store_is_made(tmp_path):
    """Whoever runs it here is told so; chunks are not begun, and no store is left."""
    store = tmp_path / "runs.zarr"
    over = cubie.grid(a=[1.0, 2.0])
    sweep = cubie.sweep(pair, (0, 1), [1.0, 1.0], over=over, device="H100", store=store)
    for options in ({}, {"workers": 2}):
        with pytest.raises(cubie.NoDevice, match="device='H100"):
            sweep.run(progress=False, **options)
    assert not store.exists()


def test_what_does_not_fit_says_how_many_points_a_run_has():
    """The error carries what was asked for."""
    sweep = swept(t_eval=np.linspace(0, 1, 50), memory=1000)
    with pytest.raises(cubie.SweepTooLarge) as raised:
        sweep.run(progress=False)
    assert (raised.value.n_runs, raised.value.n_points) == (2, 50)
