"""An outline of a sweep is refused where its results would be, and nowhere else."""

import sys

import numpy as np
import pytest

import cubie
from cubie.cli.errors import InputError
from cubie.cli.sweep.exporting import export, require_exportable
from cubie.labelled.pictures import plot, require_drawable


def swings(t, y, k, c):
    """Swing."""
    return [y[1], -k * y[0] - c * y[1]]


def crossing(t, y, k, c):
    return y[0] - 0.5


def turning(t, y, k):
    return [1j * k * y[0]]


SWEEPS = {
    "grid": lambda: cubie.sweep(
        swings, (0, 1), {"x": 1.0, "v": 0.0}, over=cubie.grid(k=[1, 2, 3], c=[0.0, 1.0]),
        t_eval=[0, 0.5, 1], summaries={"x": ["max"]}, backend="python",
    ),
    "drawn": lambda: cubie.sweep(
        swings, (0, 1), {"x": 1.0, "v": 0.0}, backend="python", events=crossing, max_events=2,
        over=cubie.grid(x=[1, 2]) * cubie.sampled(3, k=(1, 2), c=(0, 1), by="random", dim="c"),
    ),
    "complex": lambda: cubie.sweep(
        turning, (0, 1), {"psi": 1 + 0j}, over=cubie.grid(k=[1, 2]), backend="python"
    ),
}  # fmt: skip
PICTURES = {
    "grid": [
        ("max of x", {}), ("x", {}), ("x", {"x": "k", "sel": {"time": 1, "c": 0}}), ("status", {}),
        ("x", {"x": "k", "y": "c", "sel": {"time": 1}}), ("x", {"x": "k", "y": "c"}),
        ("x", {"over": "c"}), ("x", {"over": "time"}), ("z", {}), ("x", {"sel": {"k": 9}}),
        ("max of x", {"sel": {"k": 1, "c": 0}}), ("max of x", {"x": "v"}),
        ("max of x", {"x": "k", "y": "time"}), ("y", {}),
    ],
    "drawn": [
        ("x", {"sel": {"c": 0.5}}), ("v", {"x": "k", "y": "c", "sel": {"x": 1}}), ("v", {"x": "k"}),
        ("v", {"sel": {"k": 1.5}}), ("n_events", {"x": "x", "over": "c"}), ("x", {"over": "k"}),
    ],
    "complex": [("psi", {}), ("abs of psi", {}), ("abs of phi", {}), ("n_steps", {})],
}  # fmt: skip


@pytest.fixture(params=SWEEPS)
def case(request):
    """Return a sweep, and what is drawn of it."""
    return SWEEPS[request.param](), PICTURES[request.param]


def refusal(call, *args, **how):
    """Return what is said, or nothing."""
    try:
        call(*args, **how)
    except (cubie.InvalidOption, InputError) as error:
        return str(error)
    return ""


@pytest.mark.parametrize("lazily", [True, False])
def test_an_outline_is_refused_what_results_are(case, lazily, tmp_path, monkeypatch):
    """Names, axes, places, and files: in the same words, before anything is computed."""
    import matplotlib.pyplot as plt

    plt.switch_backend("Agg")
    if not lazily:
        monkeypatch.setitem(sys.modules, "dask.array", None)
    sweep, pictures = case
    outline = sweep.outline()
    assert sweep.n_chunks_done == 0
    results = sweep.run(progress=False).to_xarray()
    assert list(outline.variables) == list(results.variables)
    for name, array in results.variables.items():
        assert (array.dims, array.shape, array.dtype) == (
            outline[name].dims, outline[name].shape, outline[name].dtype,
        )  # fmt: skip
    said = {}
    for what, how in pictures:
        said[what, str(how)] = refusal(require_drawable, outline, what, **how)
        assert said[what, str(how)] == refusal(plot, results, what, **how)
        plt.close("all")
    assert any(said.values())
    assert not all(said.values())
    for suffix, of in ((".nc", None), (".csv", "points"), (".csv", "events"), (".csv", None)):
        file = str(tmp_path / f"runs{suffix}")
        told = refusal(require_exportable, outline, file, of)
        assert not (tmp_path / f"runs{suffix}").exists()
        assert bool(told) == bool(refusal(export, results, file, of))
        (tmp_path / f"runs{suffix}").unlink(missing_ok=True)


def test_an_outline_takes_no_memory():
    """However many runs there are: parts of complex numbers are not made."""
    over = cubie.grid(k=np.arange(30_000.0), c=np.arange(30_000.0))
    sweep = cubie.sweep(swings, (0, 1), [1.0, 0.0], over=over, t_eval=np.arange(2.0))
    for what in ("abs of y0", "y0", "n_steps"):
        where = {} if what == "n_steps" else {"sel": {"time": 1}}
        require_drawable(sweep.outline(), what, x="k", y="c", **where)
