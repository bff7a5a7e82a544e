"""A sweep that is killed or interrupted goes on where it was, and ends as if it never had been."""

import contextlib
import os
import random
import shutil
import time

import pytest
from zarr.storage import _local

import cubie
from cubie import RunStatus
from cubie.sweeps import StoreError
from cubie.sweeps.codec import to_json
from cubie.sweeps.creating import UNFINISHED
from cubie.sweeps.retries import read_round
from tests.cubie.sweeps.decays import Runner, bytes_of, decay, decays, done_in, refused, written

pytestmark = pytest.mark.skipif(os.name != "posix", reason="processes are forked, and killed")


@pytest.fixture(scope="module")
def undisturbed():
    """All that is kept of the sweep, computed in one go in memory."""
    return bytes_of(decays().run(progress=False))


@pytest.mark.parametrize(("kills", "workers"), [(6, 0), (6, 2), (20, 0), (20, 2)])
def test_killed_at_random_moments(tmp_path, undisturbed, kills, workers):
    """Every value is that of a sweep nobody disturbed, and what was done is not computed again."""
    rng, left, stores = random.Random(18 + workers), kills, 0
    while left:  # where a sweep is done before it was killed so often, another one begins
        store, stores = tmp_path / f"runs{stores}.zarr", stores + 1
        now_left, done = _killed(store, workers, left, rng)
        assert now_left < left, "not disturbed"
        left = now_left
        sweep = cubie.Sweep.resume(store).run(progress=False)
        there = written(store)
        assert all(there[one] == at for one, at in done.items()), "computed twice"
        assert bytes_of(sweep) == undisturbed
        assert not list(store.rglob("*.partial")), "what killed processes left"


def _killed(store, workers, left, rng):
    """Kill a sweep at random moments until it is done; return how often is left, and its files."""
    decays(store).peek()
    alone, done = set(written(store)), {}  # what is there from the beginning
    with Runner(store, workers) as runner:
        while left:
            number = runner.begin()
            # From the first chunk on, or from the beginning.
            if left % 3 and runner.told() == "end":
                break
            time.sleep(rng.uniform(0, 0.15 if left % 3 else 0.6))
            if runner.kill(number):
                break
            left -= 1
            now, there = done_in(store), written(store)
            assert all(there[one] == at for one, at in done.items()), "computed twice"
            done = {one: at for one, at in there.items() if one in alone or chunk_of(one) in now}
    return left, done


def chunk_of(file):
    """Return the chunk that a file of results belongs to."""
    parts = file.parts
    return int(parts[parts.index("c") + 1])


class Died(BaseException):
    """What a process does not survive."""


@contextlib.contextmanager
def killed_at(monkeypatch, number):
    """Let this process seem to be killed while it writes its file of a number, half of which stays.

    Nothing that it would clear away is cleared away.
    """
    files, real = [], _local._put

    def put(path, value, exclusive=False):
        if len(files) == number:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_suffix(".half.partial").write_bytes(bytes(value.as_buffer_like())[:7])
            raise Died
        files.append(path)
        return real(path, value, exclusive)

    with monkeypatch.context() as patched:
        patched.setattr(_local, "_put", put)
        patched.setattr(shutil, "rmtree", lambda *_, **__: None)
        with contextlib.suppress(Died):
            yield files


PARTS = 5  # of the files that a process may be killed at: every so many-th belongs to one


@pytest.mark.parametrize("part", range(PARTS))
def test_killed_at_any_file_of_a_chunk(tmp_path, monkeypatch, part):
    """A chunk that is not written whole is not done, and is the same in the end."""
    wanted = bytes_of(decays(chunks=3).run(progress=False))
    with killed_at(monkeypatch, None) as files:
        decays(tmp_path / "all.zarr", 3).run(progress=False)
    first = next(i for i, one in enumerate(files) if one.parts[-4] == "y")
    for number in range(first + part, len(files), PARTS):
        store = tmp_path / f"{number}.zarr"
        with killed_at(monkeypatch, number):
            decays(store, 3).run(progress=False)
        assert len(done_in(store)) == sum(one.parts[-3] == "done" for one in files[:number])
        assert bytes_of(cubie.Sweep.resume(store).run(progress=False)) == wanted
        assert not list(store.rglob("*.partial"))


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("there", [False, True])
def test_killed_while_the_store_is_made(tmp_path, monkeypatch, there, part):
    """A store that is not whole is no store: it is begun anew."""
    with killed_at(monkeypatch, None) as files:
        decays(tmp_path / "all.zarr", 2).peek()
    for number in range(part, len(files), PARTS):
        store = tmp_path / f"{number}.zarr"
        if there:  # an empty folder, which is made use of as it is
            store.mkdir()
        with killed_at(monkeypatch, number):
            decays(store, 2).peek()
        with pytest.raises(StoreError, match="no sweep in"):
            cubie.Sweep.resume(store)
        # Another one, of which nothing of the first may stay.
        sweep = cubie.sweep(decay, (0, 1), [1.0, 0.0], over={"k": [1.0]}, store=store, method="rk4",
                            first_step=0.1)  # fmt: skip
        assert set(sweep.peek().variables) == {
            "y", "n_steps", "n_rejected", "nfev", "t_reached", "status", "k", "component"
        }  # fmt: skip


def test_what_a_killed_process_left_beside_is_removed(tmp_path, monkeypatch):
    """Stores that nobody finished are removed by the next who makes one, once they are old."""
    with killed_at(monkeypatch, 5):
        decays(tmp_path / "runs.zarr", 2).peek()
    (left,) = (one for one in tmp_path.iterdir() if one.name.endswith(UNFINISHED))
    decays(tmp_path / "runs.zarr", 2).peek()
    assert left.exists(), "it might still be written"
    shutil.rmtree(tmp_path / "runs.zarr")
    os.utime(left, (0, 0))
    decays(tmp_path / "runs.zarr", 2).peek()
    assert [one.name for one in tmp_path.iterdir()] == ["runs.zarr"]


@pytest.mark.parametrize("part", range(PARTS))
def test_killed_at_any_file_of_a_retry(tmp_path, monkeypatch, part):
    """Runs that are computed once more are so whatever came between, as often as they should."""
    changes = {"max_steps": 700}, {"max_steps": 10**5}
    whole = refused(chunks=2).run(progress=False)
    for changed in changes:
        whole.retry(progress=False, **changed)
    wanted = bytes_of(whole)
    refused(tmp_path / "first.zarr", 2).run(progress=False)

    def begun(name):
        shutil.copytree(tmp_path / "first.zarr", tmp_path / name)
        return cubie.Sweep.resume(tmp_path / name)

    with killed_at(monkeypatch, None) as files:
        begun("all.zarr").retry(progress=False, **changes[0])
    for number in range(part, len(files), PARTS):
        sweep, store = begun(f"{number}.zarr"), tmp_path / f"{number}.zarr"
        with killed_at(monkeypatch, number):
            sweep.retry(progress=False, **changes[0])
        sweep = cubie.Sweep.resume(store)
        if not sweep._rounds:  # it was not noted yet
            sweep.retry(progress=False, **changes[0])
        assert bytes_of(sweep.retry(progress=False, **changes[1])) == wanted


@pytest.mark.parametrize("part", range(PARTS))
def test_rounds_that_come_together_are_kept_one_by_one(tmp_path, monkeypatch, part):
    """A run that a later round ends as an earlier one begins is not computed by that again."""
    refused(tmp_path / "first.zarr", 1).run(progress=False)
    rounds = (("TOO_MANY_STEPS", {"max_steps": 10**5}), ("SUCCESS", {"max_steps": 600}))
    found = set()
    for number in [None, *range(part, 20, PARTS)]:
        store = tmp_path / f"{number}.zarr"
        shutil.copytree(tmp_path / "first.zarr", store)
        sweep = cubie.Sweep.resume(store)
        for status, changes in rounds:
            sweep._keeper.add_round(to_json(read_round(status, changes, sweep._whole.model)))
        with killed_at(monkeypatch, number):
            sweep.run(progress=False)
        sweep = cubie.Sweep.resume(store).run(progress=False)
        found.add(tuple(bytes_of(sweep).values()))
        assert sweep.counts() == {RunStatus.TOO_MANY_STEPS: 64}
    assert len(found) == 1
