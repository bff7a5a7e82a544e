"""What a sweep shows is not its own to be changed."""

import numpy as np
import pytest

import cubie
from tests.cubie.sweeps.decays import bytes_of, decays


@pytest.mark.parametrize("show", ["to_xarray", "peek"])
def test_results_in_memory_are_not_written_to(show):
    """Results are kept once; whoever wants to change some has a copy made."""
    sweep = decays(chunks=2, t_eval=[0.5, 1.0]).run(progress=False)
    wanted = bytes_of(sweep)
    dataset = getattr(sweep, show)()
    for name in dataset.variables:
        with pytest.raises(ValueError, match="read-only"):
            dataset.variables[name].values[...] = 0
    own = dataset.copy(deep=True)
    own.y[...] = 0
    own["k"] = own.k * 2
    assert bytes_of(sweep) == wanted


def test_what_each_run_draws_is_not_written_to(monkeypatch):
    """Neither what it drew, nor what was drawn along a dimension."""
    stats = pytest.importorskip("scipy.stats")
    sweep = cubie.sweep(
        lambda t, y, a, k: [-a * k * y[0]], (0, 1), [1.0], args={"a": stats.norm(1, 0.1)},
        over=cubie.sampled(4, k=(0.1, 2.0)), backend="python",
    )  # fmt: skip
    dataset = sweep.run(progress=False).to_xarray()
    assert not any(dataset[name].values.flags.writeable for name in ("a", "k"))
    assert np.unique(dataset.a).size == 4
