"""Stores that others use, replace, fill up or take away while a sweep writes to them."""

import contextlib
import os
import pickle
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
import xarray
import zarr

import cubie
from cubie.sweeps import StoreError, SweepFailed
from cubie.sweeps.store import ZarrStore
from tests.cubie.sweeps.decays import bytes_of, decays, done_in, environment, written


@pytest.fixture(scope="module")
def wanted():
    """All that is kept of a sweep of eight chunks."""
    return bytes_of(decays(chunks=8).run(progress=False))


@pytest.mark.parametrize("there", [False, True])
def test_begun_by_two_at_once(tmp_path, wanted, there):
    """Whoever makes the store later goes on with the one that is there, and its chunks."""
    store = tmp_path / "runs.zarr"
    if there:
        store.mkdir()
    first = decays(store, 8, chunk=32)
    second = decays(store, 8, chunk=None)
    first.run(progress=False)
    before = written(store)
    assert bytes_of(second.run(progress=False)) == wanted
    assert written(store) == before


def test_another_sweep_began_there_meanwhile(tmp_path):
    """It is told in what they differ, and nothing of either is lost."""
    first, second = decays(tmp_path / "runs.zarr", 2), decays(tmp_path / "runs.zarr", 3)
    first.run(progress=False)
    with pytest.raises(cubie.sweeps.OtherSweep, match="holds another sweep"):
        second.run(progress=False)
    assert len(first.to_xarray().k) == 128


def test_two_processes_run_one_store(tmp_path, wanted):
    """They write the same bytes; what one has done the other does not compute."""
    store = tmp_path / "runs.zarr"
    first, second = decays(store, 8), decays(store, 8)
    first.peek()
    second.peek()
    kernels = []

    def other_half(progress):
        if progress.chunks_done == 3:
            second.run(progress=lambda p: kernels.append(p.chunks_done))
            before.update(written(store))

    before = {}
    first.run(progress=other_half)
    assert written(store) == before
    assert bytes_of(first) == bytes_of(second) == wanted


def test_two_threads_run_one_store_at_the_same_time(tmp_path, wanted):
    """In whatever order they come to the chunks, the same bytes are there in the end."""
    store = tmp_path / "runs.zarr"
    decays(store, 8).peek()
    sweeps = [cubie.Sweep.resume(store) for _ in range(2)]
    threads = [threading.Thread(target=s.run, kwargs={"progress": False}) for s in sweeps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert all(bytes_of(sweep) == wanted for sweep in sweeps)


def test_who_is_late_undoes_nothing(tmp_path):
    """A worker that was given up, and stores what it had before others repeated it, is too late."""
    sweep = decays(tmp_path / "runs.zarr", 1, max_steps=500).run(progress=False)
    keeper, names = sweep._keeper, [v.name for v in sweep._layout.variables]
    late = keeper.read(0, names)
    sweep.retry(max_steps=10**5, progress=False)
    repeated = bytes_of(sweep)
    keeper.write(0, late, 1)
    assert bytes_of(sweep) == repeated


def on_chunk(number, action):
    """Return a watcher of progress that acts once so many chunks are done."""

    def tell(progress):
        if progress.chunks_done == number:
            action()

    return tell


def test_deleted_under_way(tmp_path):
    """That ends it, in words, and no store comes into being that is none."""
    store = tmp_path / "runs.zarr"
    sweep = decays(store, 8)
    with pytest.raises(SweepFailed, match=r"is gone, or was emptied"):
        sweep.run(progress=on_chunk(3, lambda: shutil.rmtree(store)))
    assert not list(store.rglob("*"))
    with pytest.raises(StoreError, match=r"gone.* Begin anew by cubie\.sweep"):
        sweep.run(progress=False)
    with pytest.raises(StoreError, match="no sweep in"):
        cubie.Sweep.resume(store)


def test_replaced_under_way(tmp_path):
    """A sweep does not write into the store of another one of the same name."""
    store = tmp_path / "runs.zarr"
    sweep = decays(store, 8)

    def replace():
        shutil.rmtree(store)
        decays(store, 8, max_steps=500).peek()

    with pytest.raises(SweepFailed, match="was replaced by another"):
        sweep.run(progress=on_chunk(3, replace))
    assert not done_in(store)
    status = cubie.Sweep.resume(store).peek().status.values
    assert (status == -128).all()


@pytest.fixture
def small_disk(tmp_path):
    """Give a disk of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=1m", "cubie-test", str(folder)]
    if os.name != "posix" or subprocess.run(mounted, capture_output=True, check=False).returncode:
        pytest.skip("only the administrator may mount a disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk(small_disk, wanted):
    """What is done stays; once there is room it goes on, here and in another process."""
    store = small_disk / "runs.zarr"
    sweep = decays(store, 8)
    sweep.peek()

    def fill():
        with open(small_disk / "other", "wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))

    with pytest.raises(SweepFailed, match=r"Chunk [34] failed: OSError: .*No space left") as told:
        sweep.run(progress=on_chunk(3, fill))
    done = len(done_in(store))
    assert done in (3, 4)
    assert told.value.__notes__ == [
        f"{done} of 8 chunks are done and kept: run() of this sweep goes on, and so does "
        f"cubie.Sweep.resume({str(store)!r}).run()."
    ]
    os.truncate(small_disk / "other", 0)
    before = {one: at for one, at in written(store).items() if one.parts[-1] in ("0", "1", "2")}
    assert bytes_of(sweep.run(progress=False)) == wanted
    assert before.items() <= written(store).items()


def test_a_disk_that_is_full_from_the_beginning(small_disk):
    """No store is made, nothing is left, and the system's words are told."""
    (small_disk / "other").write_bytes(bytes(1000 * 1024))
    with pytest.raises(StoreError, match=r"cannot be made in .*No space left"):
        decays(small_disk / "runs.zarr", 8, memory=None)._begin()
    assert [one.name for one in small_disk.iterdir()] == ["other"]


def test_a_disk_that_has_room_for_what_is_left(tmp_path, monkeypatch):
    """Of a sweep that goes on what is done needs no room any more."""
    sweep = decays(tmp_path / "runs.zarr", 8)
    free = sweep.plan.kept_bytes // 2
    with pytest.raises(KeyboardInterrupt):
        sweep.run(progress=on_chunk(6, lambda: interrupt()))
    monkeypatch.setattr("cubie.sweeps.running.disk_free", lambda _: free)
    assert sweep.plan.left_bytes < free < sweep.plan.kept_bytes
    sweep.run(progress=False)


def interrupt():
    """Raise what Ctrl-C raises."""
    raise KeyboardInterrupt


def test_made_read_only_under_way(small_disk, wanted):
    """A disk that nobody may write to any more is told of; afterwards it goes on."""
    store = small_disk / "runs.zarr"
    sweep = decays(store, 8)

    def remount(how):
        subprocess.run(["mount", "-o", f"remount,{how}", str(small_disk)], check=True)

    with pytest.raises(SweepFailed, match="Read-only file system"):
        sweep.run(progress=on_chunk(3, lambda: remount("ro")))
    assert len(cubie.Sweep.resume(store).peek().k) == 8 * 64  # to look needs no right to write
    remount("rw")
    assert bytes_of(sweep.run(progress=False)) == wanted


def test_a_store_in_memory(wanted):
    """It is this process's alone: workers hand results back to it."""
    for workers in (None, 2):
        store = zarr.storage.MemoryStore()
        sweep = decays(store, 8).run(workers=workers, progress=False)
        assert bytes_of(sweep) == wanted
        assert bytes_of(cubie.Sweep.resume(store)) == wanted


def test_what_is_done_is_read_as_zarr_reads_it(tmp_path):
    """The bytes of the marks are those of the array, also where some are not there."""
    sweep = decays(tmp_path / "runs.zarr", 8)
    with pytest.raises(KeyboardInterrupt):
        sweep.run(progress=on_chunk(3, interrupt))
    keeper = sweep._keeper
    assert isinstance(keeper, ZarrStore)
    done = keeper.done()
    assert np.array_equal(done, zarr.open_group(tmp_path / "runs.zarr")["cubie/done"][:])
    assert 3 <= done.sum() < 8
    assert [keeper.times(k) for k in range(8)] == done.tolist()


def test_a_worker_that_sees_another_folder(tmp_path):
    """Who does not see the store, as on a machine that does not share it, says so."""
    program = (
        "import pickle, sys\n"
        "keeper = pickle.load(open(sys.argv[1], 'rb'))\n"
        "try: keeper.write(0, {}, 1)\n"
        "except OSError as error: print(error)\n"
    )
    sweep = decays(tmp_path / "runs.zarr", 2)
    sweep.peek()
    (tmp_path / "keeper").write_bytes(pickle.dumps(sweep._keeper))
    os.rename(tmp_path / "runs.zarr", tmp_path / "elsewhere.zarr")
    found = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "keeper")],
        capture_output=True, text=True, check=True, env=environment(),
    )  # fmt: skip
    assert "a worker on another machine does not see it" in found.stdout
    assert not (tmp_path / "runs.zarr").exists()


def test_a_path_stays_where_it_was_given(tmp_path, monkeypatch):
    """A relative path is of the folder where the sweep was begun; homes and addresses are known."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    over = cubie.grid(rate=[1.0, 2.0])

    def decay(t, y, rate):
        return [-rate * y[0]]

    def begun(store):
        return cubie.sweep(
            lambda t, y, rate: [-rate * y[0]], (0.0, 1.0), [1.0], over=over, store=store
        )

    made = begun("a.zarr")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    made.run()
    assert (tmp_path / "a.zarr" / "zarr.json").exists()
    begun("~/b.zarr").run()
    begun(f"file://{tmp_path}/c.zarr").run()
    for name in ("home/b.zarr", "c.zarr"):
        assert cubie.Sweep.resume(tmp_path / name).counts() == {0: 2}


def test_more_retries_than_a_byte_can_count(tmp_path):
    """Each is counted."""
    over = cubie.grid(rate=[1.0, 2.0])
    made = cubie.sweep(
        lambda t, y, rate: [-rate * y[0]], (0.0, 1.0), [1.0], over=over, store=tmp_path / "a.zarr"
    )
    made.run()
    made._keeper.write(0, made._keeper.read(0, ["status"]), 301)
    assert cubie.Sweep.resume(tmp_path / "a.zarr")._done().tolist() == [301]


def test_attributes_tell_of_retries(tmp_path):
    """Whoever opens a store sees which runs were computed with other limits than it says."""

    def decay(t, y, rate):
        return [-rate * y[0]]

    made = cubie.sweep(
        decay, (0.0, 1.0), [1.0], over=cubie.grid(rate=[1.0, 200.0]), max_steps=50,
        store=tmp_path / "a.zarr",
    )  # fmt: skip
    assert "retries" not in made.run().to_xarray().attrs
    made.retry("TOO_MANY_STEPS", max_steps=5000, rtol=1e-2)
    told = ["runs that ended with TOO_MANY_STEPS: again with max_steps=5000, rtol=0.01"]
    assert made.to_xarray().attrs["retries"] == told
    assert xarray.open_zarr(tmp_path / "a.zarr").attrs["retries"] == told
    assert cubie.Sweep.resume(tmp_path / "a.zarr").to_xarray().attrs["retries"] == told
