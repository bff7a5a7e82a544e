"""Stores that lose files after their chunks were done: a copy that was cut short, a careless rm."""

import os
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray
import zarr

import cubie
from cubie.sweeps import ChunksLost, StoreError
from tests.cubie.sweeps.decays import bytes_of, decays, environment, written

LOSSES = {
    "gone": lambda file: file.unlink(),
    "empty": lambda file: os.truncate(file, 0),
    "short": lambda file: os.truncate(file, file.stat().st_size - 1),
    "header": lambda file: os.truncate(file, 15),
    "zeros": lambda file: file.write_bytes(bytes(file.stat().st_size)),
}
OF_RUNS = ("y/c/1/0", "status/c/1", "n_steps/c/1", "t_reached/c/1", "max of y0/c/1")


@pytest.fixture(scope="module")
def wanted():
    """All that is kept of a sweep of three chunks."""
    return bytes_of(decays(chunks=3).run(progress=False))


@pytest.mark.parametrize("lost", OF_RUNS)
@pytest.mark.parametrize("how", LOSSES)
def test_a_chunk_that_is_not_whole_is_not_done(tmp_path, wanted, how, lost):
    """It is told by all that tells of results, and run() computes that chunk alone anew."""
    store = tmp_path / "runs.zarr"
    decays(store, 3).run(progress=False)
    before = written(store)
    LOSSES[how](store / lost)
    sweep = cubie.Sweep.resume(store)
    assert "2 of 3 chunks done" in repr(sweep)
    assert sweep.n_chunks_done == 2
    assert sum(sweep.counts().values()) == 128
    with pytest.raises(RuntimeError, match=f"1 of 3 chunks are not done .*, {lost}"):
        sweep.to_xarray()
    with pytest.warns(ChunksLost, match=f"lost or cut short, {lost}: run.. computes them anew"):
        sweep.peek()
    with pytest.warns(ChunksLost, match=f"{lost}: they are computed anew"):
        sweep.run(progress=False)
    assert bytes_of(sweep) == wanted
    after = written(store)
    others = [name for name in before if name.parts[-1] != "1" and "c/1/" not in str(name)]
    assert len(others) > 10
    assert all(after[name] == before[name] for name in others)


def test_results_so_far_have_no_status_of_what_is_lost(tmp_path):
    """A picture, or a mean of what succeeded, does not take fill values for results."""
    store = tmp_path / "runs.zarr"
    decays(store, 3).run(progress=False)
    (store / "y/c/1/0").unlink()
    with pytest.warns(ChunksLost):
        status = cubie.Sweep.resume(store).peek().status
    assert status.dtype == np.int8
    assert "flag_values" in status.attrs
    assert (status.values[64:128] == -128).all()
    assert (status.values[:64] == 0).all()
    assert (status.values[128:] == 0).all()


def test_lost_while_a_sweep_has_it_open(tmp_path, wanted):
    """Results are looked at each time that they are asked for."""
    store = tmp_path / "runs.zarr"
    sweep = decays(store, 3).run(progress=False)
    sweep.to_xarray()
    (store / "y/c/1/0").unlink()
    with pytest.raises(RuntimeError, match="y/c/1/0"):
        sweep.to_xarray()
    with pytest.warns(ChunksLost):
        sweep.run(progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sweep.run(progress=False).peek()
    assert bytes_of(sweep) == wanted


def test_by_workers_and_after_a_retry(tmp_path):
    """A worker writes anew what is told done, and with the limits that were given since."""
    store = tmp_path / "runs.zarr"
    with pytest.warns(cubie.RunsFailed):
        sweep = decays(store, 3, max_steps=500).run(progress=False)
    sweep.retry(max_steps=2000, progress=False)
    wanted = bytes_of(sweep)
    (store / "y/c/2/0").unlink()
    (store / "status/c/0").unlink()
    with pytest.warns(ChunksLost, match="Of 2 chunks that were done"):
        cubie.Sweep.resume(store).run(workers=1, progress=False)
    assert bytes_of(sweep) == wanted


def test_the_mark_of_a_chunk_is_lost(tmp_path, wanted):
    """A chunk without its mark is computed once more."""
    store = tmp_path / "runs.zarr"
    decays(store, 3).run(progress=False)
    (store / "cubie/done/c/1").unlink()
    os.truncate(store / "cubie/done/c/2", 0)
    os.truncate(store / "cubie/done/c/0", 1)
    sweep = cubie.Sweep.resume(store)
    assert sweep.n_chunks_done == 0
    assert bytes_of(sweep.run(progress=False)) == wanted


@pytest.mark.parametrize("how", ["gone", "empty", "short"])
@pytest.mark.parametrize("lost", ["k/c/0", "time/c/0", "component/c/0"])
def test_coordinates_that_are_lost(tmp_path, how, lost):
    """They are known, are shown as they were, and stand in the store again after run()."""
    store = tmp_path / "runs.zarr"
    wanted = decays(store, 2, t_eval=[0.5, 1.0]).run(progress=False).to_xarray().load()
    LOSSES[how](store / lost)
    sweep = cubie.Sweep.resume(store)
    assert sweep.to_xarray().identical(wanted)
    sweep.run(progress=False)
    assert xarray.open_zarr(store)[lost.split("/")[0]].values.tolist() == (
        wanted[lost.split("/")[0]].values.tolist()
    )


def test_what_is_drawn_and_lost(tmp_path):
    """Values that chunks draw are theirs: those of a dimension belong to one of them."""
    store = tmp_path / "runs.zarr"

    def drawn(where):
        over = cubie.grid(a=[1.0, 2.0]) * cubie.sampled(4, k=(0.1, 2.0))
        options = {"method": "rk4", "first_step": 1e-2, "store": where, "chunk": 8}
        return cubie.sweep(lambda t, y, a, k: [-a * k * y[0]], (0, 1), [1.0], over=over, **options)

    wanted = bytes_of(drawn(None).run(progress=False))
    drawn(store).run(progress=False)
    (store / "k/c/0").unlink()
    assert np.isnan(xarray.open_zarr(store).k).all()
    sweep = cubie.Sweep.resume(store)
    with pytest.warns(ChunksLost, match="k/c/0"):
        sweep.run(progress=False)
    assert bytes_of(sweep) == wanted


def test_a_store_that_is_no_folder():
    """What is gone there is seen, too."""
    store = zarr.storage.MemoryStore()
    sweep = decays(store, 3).run(progress=False)
    wanted = bytes_of(sweep)
    del store._store_dict["y/c/1/0"]
    with pytest.warns(ChunksLost, match="y/c/1/0"):
        sweep.run(progress=False)
    assert bytes_of(sweep) == wanted


def test_the_model_is_lost(tmp_path):
    """It is told so; the same sweep goes on, and has its model in the store again."""
    store = tmp_path / "runs.zarr"
    decays(store, 2).run(progress=False)
    (store / "cubie/model/c/0").unlink()
    with pytest.raises(StoreError, match=re.escape("is lost (cubie/model/c/0)")):
        cubie.Sweep.resume(store)
    decays(store, 2).run(progress=False)
    assert cubie.Sweep.resume(store).n_chunks_done == 2


@pytest.mark.parametrize("lost", ["zarr.json", "cubie/zarr.json", "y/zarr.json"])
def test_what_says_what_files_are_is_lost(tmp_path, lost):
    """It is told which file that is, and nothing is computed or written."""
    store = tmp_path / "runs.zarr"
    decays(store, 2).run(progress=False)
    (store / lost).unlink()
    before = written(store)
    with pytest.raises(StoreError, match=f"lacks .*{lost}"):
        cubie.Sweep.resume(store).run(progress=False)
    assert written(store) == before


def test_the_shell_tells_of_it(tmp_path):
    """`cubie-sweep --peek` counts what is whole, and --resume computes the rest anew."""
    import subprocess
    import sys

    store = tmp_path / "runs.zarr"
    decays(store, 2).run(progress=False)
    (store / "y/c/1/0").unlink()

    def told(*words):
        return subprocess.run(
            [sys.executable, "-m", "cubie.cli.sweep", "--store", "runs.zarr", *words],
            cwd=tmp_path, env=environment(), capture_output=True, text=True,
        )  # fmt: skip

    peeked, gone_on = told("--peek"), told("--resume")
    assert "1 of 2 chunks done" in peeked.stdout
    assert "y/c/1/0: --resume computes" in peeked.stderr
    assert "all 128 runs done" in gone_on.stdout
    assert "computed anew" in gone_on.stderr
    assert Path(store, "y/c/1/0").exists()
