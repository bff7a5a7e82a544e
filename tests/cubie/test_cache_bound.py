"""The cache has a bound in size; what was not used for longest goes first."""

import os
import random
import subprocess
import sys
import time
import warnings

import pytest

from cubie import CacheWarning
from cubie.cache import Shelf, bound, private_files, shelf

LIMIT = 400_000
SIZE = 4000  # of an artefact; an entry with it takes a block too


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache with a bound, what is said once is said anew."""
    monkeypatch.setenv("CUBIE_CACHE_LIMIT", str(LIMIT))
    monkeypatch.setattr(shelf, "_said", {})
    return tmp_path / "cache"


def content(number):
    return f"{number:08d}".encode() * (SIZE // 8)


def keep(root, number, age=0.0):
    """Keep an artefact and its entry, as if that was some time ago; return the digest."""
    here = Shelf(root, "kernels", ".o")
    digest, key = here.keep(content(number)), shelf.digest_of(b"key" + content(number))
    here.enter(key, {"code": digest})
    for path in (here.path(digest), root / "kernels" / "index" / f"{key}.json"):
        if age and path.exists():
            os.utime(path, (time.time() - age,) * 2)
    return digest


def size_of(root):
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in root.rglob("*.*"))


def test_it_stays_within_its_bound(cache):
    """Whatever is written: beyond it by little, for a while; and the newest is there."""
    digests, largest = [], 0
    for number in range(400):
        digests.append(keep(cache, number))
        largest = max(largest, size_of(cache))
    assert largest < 1.25 * LIMIT
    assert Shelf(cache, "kernels", ".o").find(digests[-1]) == content(399)
    assert size_of(cache) > LIMIT / 2


def test_what_was_used_last_stays(cache):
    """Reading notes a use: an old artefact that is read outlives newer ones that are not."""
    digests = [keep(cache, number, age=86400.0 * (100 - number)) for number in range(40)]
    here = Shelf(cache, "kernels", ".o")
    assert here.find(digests[3]) is not None
    bound.trim(cache, [("kernels",), ("kernels", "index")], LIMIT // 4)
    left = [number for number, digest in enumerate(digests) if here.path(digest).exists()]
    assert left[0] == 3
    assert left[1:] == list(range(left[1], 40))
    assert size_of(cache) <= LIMIT // 4


def test_a_use_is_noted_once_an_hour(cache):
    """A file that was used lately is not touched: reading stays reading."""
    digest = keep(cache, 1, age=60.0)
    here = Shelf(cache, "kernels", ".o")
    before = here.path(digest).stat().st_mtime
    assert here.find(digest) is not None
    assert here.path(digest).stat().st_mtime == before
    os.utime(here.path(digest), (before - 7200.0,) * 2)
    assert here.find(digest) is not None
    assert here.path(digest).stat().st_mtime > before


def test_files_of_others_are_left_alone(cache):
    """What has another name, or lies elsewhere, is neither counted nor removed."""
    digest = keep(cache, 0, age=1e6)
    others = [cache / "kernels" / "README.txt", cache / "notes.json", cache / "mine" / "a.o"]
    for path in others:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * LIMIT)
    bound.trim(cache, [("kernels",), ("kernels", "index")], LIMIT)
    assert Shelf(cache, "kernels", ".o").path(digest).exists()
    bound.trim(cache, [("kernels",), ("kernels", "index")], 1)
    assert not Shelf(cache, "kernels", ".o").path(digest).exists()
    assert all(path.exists() for path in others)


def test_what_a_dead_process_left_goes_first(cache):
    """A temporary file is removed when nobody can be writing it any more."""
    digest = keep(cache, 0, age=86400.0)
    names = [f"{digest}.o.0123456{i}.tmp" for i in range(2)]
    for name, age in zip(names, (7200.0, 1.0), strict=True):
        (cache / "kernels" / name).write_bytes(b"x" * 100_000)
        os.utime(cache / "kernels" / name, (time.time() - age,) * 2)
    bound.trim(cache, [("kernels",), ("kernels", "index")], 150_000)
    assert [(cache / "kernels" / name).exists() for name in names] == [False, True]
    assert Shelf(cache, "kernels", ".o").path(digest).exists()


WRITER = """
import sys, warnings
from pathlib import Path
from tests.cubie.test_cache_bound import content, keep
from cubie.cache import Shelf
warnings.simplefilter("error")
root, own = Path(sys.argv[1]), int(sys.argv[2])
for number in range(own, own + 120):
    keep(root, number)
    found = Shelf(root, "kernels", ".o").find(keep(root, number % 7))
    assert found in (None, content(number % 7))
"""


def test_processes_may_share_it(cache):
    """Several that write and remove at once disturb each other in nothing."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path])}
    command = [sys.executable, "-c", WRITER, str(cache)]
    running = [
        subprocess.Popen([*command, str(own)], env=environment, stderr=subprocess.PIPE)
        for own in (1000, 2000, 3000)
    ]
    for process in running:
        said = process.communicate(timeout=100)[1]
        assert process.returncode == 0, said.decode()
    assert size_of(cache) < 1.25 * LIMIT


@pytest.mark.parametrize(
    ("given", "allowed"),
    [("", 1 << 30), ("1000", 1000), ("500 MB", 500_000_000), ("1.5GiB", 3 << 29), ("none", None)],
)
def test_bounds_that_can_be_said(monkeypatch, given, allowed):
    """Bytes, numbers with a unit, none, and a default."""
    monkeypatch.setenv("CUBIE_CACHE_LIMIT", given)
    assert bound.limit_bytes() == allowed


@pytest.mark.parametrize("given", ["much", "-5", "1e9", "nan GB", "5 parsecs", "٣", "9" * 30])
def test_no_bound_is_told_once_and_things_are_kept(cache, monkeypatch, given):
    """What is no size is a warning with what is, and the default holds."""
    monkeypatch.setenv("CUBIE_CACHE_LIMIT", given)
    with pytest.warns(CacheWarning, match="CUBIE_CACHE_LIMIT is .*500 MB") as said:
        digest = keep(cache, 1)
    assert len(said) == 1
    assert Shelf(cache, "kernels", ".o").find(digest) is not None


def test_random_numbers_of_a_program_do_not_depend_on_it(cache):
    """When to look is no use of the program's random numbers."""
    random.seed(1)
    expected = random.random()
    random.seed(1)
    keep(cache, 1)
    assert random.random() == expected


@pytest.mark.skipif(not private_files.GUARDED, reason="owners and modes are POSIX's")
def test_nothing_is_removed_where_others_can_write(cache):
    """A directory that is not believed is not cleared either."""
    digest = keep(cache, 1)
    (cache / "kernels").chmod(0o777)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bound.trim(cache, [("kernels",), ("kernels", "index")], 1)
    assert Shelf(cache, "kernels", ".o").path(digest).exists()
