"""Lifetimes read off a kernel that is run: phases by barriers, loops, threads, misuse."""

import inspect
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from cubie_planner import check, plan, record
from cubie_planner.declarations.timeline import PhaseInterval
from cubie_planner.explain import explain
from cubie_planner.recording import Origin, Place, RecordingError
from cubie_planner.recording.code_lines import told
from cubie_planner.report.page import html

cuda: Any = None  # numba's: what is recorded stands in for it
TILE = 4


def product(a, b, norms):
    """Multiply two matrices tile by tile, and add up the squares of the result."""
    tile_a = cuda.shared.array((TILE, TILE), "f4")
    tile_b = cuda.shared.array((TILE, TILE), "f4")
    partial = cuda.shared.array(TILE * TILE, "f8")
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    total = 0.0
    for k in range(0, a.shape[1], TILE):
        tile_a[y, x] = a[y, k + x]
        tile_b[y, x] = b[k + y, x]
        cuda.syncthreads()
        for i in range(TILE):
            total += tile_a[y, i] * tile_b[i, x]
        cuda.syncthreads()
    rank = y * TILE + x
    partial[rank] = total * total
    cuda.syncthreads()
    step = TILE * TILE // 2
    while step:
        if rank < step:
            partial[rank] += partial[rank + step]
        cuda.syncthreads()
        step //= 2
    if rank == 0:
        norms[cuda.blockIdx.x] = partial[0]


def recorded(**launch):
    random = np.random.default_rng(0)
    a, b = random.normal(size=(TILE, 12)), random.normal(size=(12, TILE))
    norms = np.zeros(2)
    found = record(product, a, b, norms, block=(TILE, TILE), **launch)
    return found, norms, np.sum((a @ b) ** 2)


def test_a_recorded_phase_is_known_to_exist():
    """Its interval is one that `begin` of allocators takes; others are refused."""
    found, _, _ = recorded()
    last = len(found.phases) - 1
    assert found.point(last) == (last, last + 1)
    assert isinstance(found.point(last), PhaseInterval)
    for odd in (-1, last + 1, "load", True):
        with pytest.raises(RecordingError, match=f"there is no phase {odd!r}: {last + 1} were"):
            found.point(odd)


def test_a_kernel_runs_as_it_is_and_gives_its_lifetimes():
    """Tiles live around their loop, the partial sums behind it; the result is the kernel's."""
    found, norms, expected = recorded(grid=2)
    assert norms == pytest.approx([expected, expected], rel=1e-5)
    lives = {buffer.name: buffer.lifetime for buffer in found.buffers}
    assert lives["tile_a"] == lives["tile_b"] == ((0, 3),)
    assert lives["partial"] == ((3, len(found.phases)),)
    assert [buffer.size_bytes for buffer in found.buffers] == [64, 64, 128]


def test_what_is_recorded_is_planned():
    """Arrays that never live together share bytes, and the checker agrees."""
    problem = recorded()[0].problem()
    answer = plan(problem)
    check(problem, answer)
    assert answer.placements["partial"].offset == 0
    assert {answer.placements[name].offset for name in ("tile_a", "tile_b")} == {0, 64}


def test_the_text_names_files_and_lines():
    """Where phases begin, who writes first, who reads last."""
    text = str(recorded()[0])
    assert "phase 0: the start to " in text
    assert "test_recording.py:" in text
    assert "partial: 128 B, phases" in text


def test_an_explanation_tells_where_lives_begin_and_end():
    """Of what meets at the peak: the lines that write it and read it last, in text and page."""
    found = recorded()[0]
    answer = plan(found.problem())
    told = explain(answer, recorded=found)
    assert told.tiles is not None
    assert told.tiles.origins is not None
    origin = told.tiles.origins["tile_a"]
    source, first = inspect.getsourcelines(product)
    at = {text.strip(): first + number for number, text in enumerate(source)}
    written, read = at["tile_a[y, x] = a[y, k + x]"], at["total += tile_a[y, i] * tile_b[i, x]"]
    assert [place.line for place in origin.written_at] == [written]
    assert [place.line for place in origin.read_at] == [read]
    assert f"test_recording.py:{written}, read last at " in str(told)
    page = html(answer, name="kernel", explanation=told)
    assert "read last at" in page
    assert f"test_recording.py:{read}" in page
    assert "read last at" not in html(answer, name="kernel")


def test_lines_are_those_of_the_phases_that_are_asked_for():
    """What lives in the last phases is written by other lines than what lives in the first."""
    found = recorded()[0]
    last = found.origins([len(found.phases) - 1])
    assert set(found.origins([0])) == {"tile_a", "tile_b"}
    assert set(last) == {"partial"}
    assert set(found.origins()) == {"tile_a", "tile_b", "partial"}
    assert len(found.origins()["partial"].written_at) == 2
    assert found.origins([]) == {}


def test_many_lines_of_a_file_are_told_as_a_range():
    """Up to three are told one by one; a file is named once."""
    places = [Place("<text>", line) for line in (3, 5, 8, 9)] + [Place("other", 1)]
    assert told(places) == "<text>:3 to 9 and other:1"
    assert told(places[:3]) == "<text>:3, 5, 8"
    unread = Origin((Place("<text>", 3),), ())
    assert str(unread) == "written at <text>:3"


def test_a_read_before_a_write_is_an_error():
    """With the line."""

    def early(out):
        scratch = cuda.shared.array(2, "f4")
        out[0] = scratch[1]

    with pytest.raises(RecordingError, match=r"element 1 of `scratch` is read at .*test_recording"):
        record(early, np.zeros(1))


def test_threads_at_different_barriers_are_an_error():
    """Both lines are named."""

    def apart():
        if cuda.threadIdx.x:
            cuda.syncthreads()
        else:
            cuda.syncthreads()

    with pytest.raises(RecordingError, match=r"wait at .*:\d+ and .*:\d+"):
        record(apart, block=2)


def test_what_is_not_recorded_is_refused_by_name():
    """Nothing is left out silently."""

    def shuffled():
        cuda.shfl_sync(0, 1, 2)

    with pytest.raises(RecordingError, match=r"`cuda\.shfl_sync` is not recorded"):
        record(shuffled)


def test_values_are_carried_around_loops():
    """What a later round reads lives in all phases of the loop."""

    def carried(out):
        kept = cuda.shared.array(1, "f4")
        other = cuda.shared.array(1, "f4")
        kept[0] = 0.0
        for k in range(3):
            cuda.syncthreads()
            other[0] = k
            cuda.syncthreads()
            kept[0] = kept[0] + other[0]
        out[0] = kept[0]

    out = np.zeros(1)
    found = {b.name: b.lifetime for b in record(carried, out).buffers}
    assert out[0] == 3.0
    # Phases: before the loop, its first half, its second half, and behind it.
    assert found == {"kept": ((0, 4),), "other": ((1, 4),)}


def test_what_records_comes_when_it_is_asked_for():
    """Importing the planner does not load it; every public name is there, and no other."""
    code = (
        "import sys, cubie_planner\n"
        "assert not [name for name in sys.modules if 'cubie_planner.recording' in name]\n"
        "assert all(getattr(cubie_planner, name) for name in cubie_planner.__all__)\n"
        "assert not hasattr(cubie_planner, 'recorder')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
