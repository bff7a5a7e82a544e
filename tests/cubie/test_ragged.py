"""Runs saved at every step: each has its own points, in as much memory as they need."""

import pickle

import numpy as np
import pytest

from cubie import OutputsTooLarge, RaggedArray, RunStatus, Solver
from cubie.backend import Interrupted, OutputBlock
from cubie.launch import steps
from cubie.launch.kernel import BatchSolverKernel
from cubie.launch.steps import Room

SPAN, Y0 = (0.0, 6.0), [2.0, 0.0]
OPTIONS = {"rtol": 1e-4, "atol": 1e-6, "save": "steps"}
TARGETS = {"python": {"backend": "python"}, "one_lane": {"lanes": 1}, "lanes": {"lanes": 4}}


def van_der_pol(t, y, mu):
    return y[1], mu * (1.0 - y[0] ** 2) * y[1] - y[0]


MU = np.linspace(0.5, 4.0, 24)
OUTLIER = 17
MU[OUTLIER] = 60.0  # some ten times as many steps as the others


def solver_of(**options):
    return Solver(van_der_pol, **{"backend": "cpu"} | OPTIONS | options)


@pytest.fixture
def launches(monkeypatch):
    """Numbers of runs, and of points there was room for, of each launch from now on."""
    seen, launch = [], BatchSolverKernel.launch

    def watched(kernel, n_runs, inputs, outputs):
        seen.append((n_runs, outputs.layout.counts.times))
        return launch(kernel, n_runs, inputs, outputs)

    monkeypatch.setattr(BatchSolverKernel, "launch", watched)
    return seen


def room_at_first(monkeypatch, n_points):
    monkeypatch.setattr(steps, "FIRST_ROOM", n_points)
    monkeypatch.setattr(steps, "LEAST_FIRST_ROOM", n_points)


def assert_same_runs(result, expected):
    """All that is reported of each run is equal, to the bit."""
    for name in ("status", "n_steps", "n_rejected", "nfev", "t_reached"):
        np.testing.assert_array_equal(result[name], expected[name], err_msg=name)
    for name in ("t", "y"):
        for own, other in zip(result[name], expected[name], strict=True):
            np.testing.assert_array_equal(own, other)


# --- what a run has -------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
def test_a_run_has_its_own_steps_and_no_more(target):
    """By its number a run is what it is when solved alone, without any NaN."""
    solver = solver_of(**TARGETS[target])
    result = solver.solve(SPAN, Y0, args=(MU[:20],))
    assert len(result.y) == len(result.t) == 20
    for run in (0, OUTLIER, -1):
        alone = solver.solve(SPAN, Y0, args=(MU[:20][run : run + 1 or None],))
        assert result.y[run].shape == (2, result.n_steps[run] + 1)
        np.testing.assert_array_equal(result.y[run], alone.y[0])
        np.testing.assert_array_equal(result.t[run], alone.t[0])
        assert result.t[run][-1] == result.t_reached[run] == SPAN[1]
        assert np.shares_memory(result.y[run], result.y[run])
    assert np.shares_memory(result.y[OUTLIER][:, 5], result.y[OUTLIER])


def test_the_rectangular_array_is_made_when_asked_for():
    """`padded` fills up with NaN; NumPy's functions take it; runs may be chosen before."""
    result = solver_of().solve(SPAN, Y0, args=(MU,))
    y, longest = result.y, result.n_steps.max() + 1
    assert isinstance(y, RaggedArray)
    assert (y.shape, y.ndim, y.dtype) == ((24, 2, longest), 3, np.float64)
    assert (result.t.shape, result.t.ndim) == ((24, longest), 2)
    array = np.asarray(y)
    np.testing.assert_array_equal(array, y.padded())
    np.testing.assert_array_equal(np.isfinite(result.t).sum(axis=1), y.lengths)
    for run in range(24):
        assert np.all(np.isnan(array[run, :, y.lengths[run] :]))
        np.testing.assert_array_equal(array[run, :, : y.lengths[run]], y[run])
    assert y.nbytes == 16 * y.lengths.sum()
    some = y[[3, 5]]
    assert isinstance(some, RaggedArray)
    assert some.shape == (2, 2, max(result.n_steps[[3, 5]]) + 1)
    np.testing.assert_array_equal(some[1], y[5])
    np.testing.assert_array_equal(y[MU > 4.0][0], y[OUTLIER])
    np.testing.assert_array_equal(y[2:4][-1], y[3])
    np.testing.assert_array_equal(y[3, 0, -1], y[3][0, -1])
    assert repr(y) == f"RaggedArray(24 runs x 2 x {y.lengths.min()} to {longest} points, float64)"


def test_an_index_that_means_no_run_is_refused():
    """A time of all runs would be NaN for most of them: the error says what to write."""
    y = solver_of(backend="python").solve(SPAN, Y0, args=(MU[:3],)).y
    with pytest.raises(IndexError, match=r"y\[run\]\[0, -1\].*y.padded\(\)"):
        y[:, 0, -1]
    with pytest.raises(IndexError, match="There is no run 3: there are 3"):
        y[3]
    with pytest.raises(IndexError, match="does not choose runs"):
        y[None]
    with pytest.raises(ValueError, match="always a copy"):
        np.array(y, copy=False)


def test_the_rectangular_array_is_refused_where_it_does_not_fit(monkeypatch):
    """One long run makes it large: the error names it, and what to use instead."""
    result = solver_of().solve(SPAN, Y0, args=(MU,))
    monkeypatch.setattr("cubie.launch.ragged.free_for", lambda n_bytes: 1000)
    with pytest.raises(OutputsTooLarge, match=rf"the longest run, {OUTLIER}, has") as caught:
        result.y.padded()
    error = caught.value
    assert (error.n_runs, error.n_points) == (24, result.n_steps.max() + 1)
    assert (error.longest_run, error.free_bytes) == (OUTLIER, 1000)
    assert error.n_bytes == 24 * 2 * error.n_points * 8
    assert "`y[run]`" in str(error)
    assert isinstance(error, MemoryError)


def test_a_result_takes_little_more_than_its_points():
    """Room that a run did not use is given back, and not sent to other processes."""
    result = solver_of(fastmath=False).solve(SPAN, Y0, args=(MU,))
    sent = pickle.dumps(result)
    bare = pickle.dumps(solver_of(save="final", fastmath=False).solve(SPAN, Y0, args=(MU,)))
    assert len(sent) < len(bare) + 1.6 * 24 * (result.n_steps.sum() + 24)
    assert_same_runs(pickle.loads(sent), result)
    assert_same_runs(pickle.loads(pickle.dumps(pickle.loads(sent))), result)


# --- how much room --------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
def test_only_runs_that_had_too_little_room_are_solved_again(monkeypatch, launches, target):
    """All once, the outlier once more, with as much room as it needs."""
    ample = solver_of(**TARGETS[target]).solve(SPAN, Y0, args=(MU,))
    usual = int(np.delete(ample.n_steps, OUTLIER).max()) + 1
    room_at_first(monkeypatch, usual)
    launches.clear()
    result = solver_of(**TARGETS[target]).solve(SPAN, Y0, args=(MU,))
    assert launches == [(24, 24 * usual), (1, ample.n_steps[OUTLIER] + 1)]
    assert_same_runs(result, ample)


def test_one_long_run_makes_no_room_for_all(monkeypatch, launches):
    """Room in all launches together is what the runs need, and a little more."""
    room_at_first(monkeypatch, 32)
    mu = np.full(500, 1.0)
    mu[123] = 500.0
    result = solver_of().solve(SPAN, Y0, args=(mu,))
    needed = result.y.lengths.sum()
    assert result.y.lengths.max() > 30 * np.median(result.y.lengths)
    assert sum(points for _, points in launches) < 1.5 * needed
    assert sum(runs for runs, _ in launches) <= 501


@pytest.mark.parametrize("states", [Y0, np.array(Y0) + np.arange(24.0)[:, None] / 100])
def test_several_launches_give_what_one_gives(monkeypatch, launches, states):
    """A batch that takes more than a launch should is solved in parts, to the same bits."""
    whole = solver_of().solve(SPAN, states, args=(MU,))
    room_at_first(monkeypatch, 80)
    monkeypatch.setattr(steps, "LAUNCH_BYTES", 80 * 24 * 5)  # five runs
    monkeypatch.setattr(steps, "ENOUGH_DEPTH", 0)
    monkeypatch.setattr(steps, "DEEP_QUEUE", 10**9)
    launches.clear()
    parts = solver_of().solve(SPAN, states, args=(MU,))
    assert len(launches) > 5
    assert launches[0] == (5, 400)
    assert_same_runs(parts, whole)


def test_a_deep_queue_is_looked_at_first(monkeypatch, launches):
    """With nothing known, a few of many runs tell what room the others need."""
    monkeypatch.setattr(steps, "DEEP_QUEUE", 0)
    monkeypatch.setattr(steps, "DEPTH_OF_LOOK", 1)
    monkeypatch.setattr("cubie.backend.base.Backend.runs_at_once", 4)
    room_at_first(monkeypatch, 8)
    result = solver_of().solve(SPAN, Y0, args=(MU,))
    assert launches[0] == (4, 32)
    assert len(launches) == 3  # the look, the others, and those of the look and the outlier
    monkeypatch.undo()
    assert_same_runs(result, solver_of().solve(SPAN, Y0, args=(MU,)))


def test_the_next_solve_knows_the_room(monkeypatch, launches):
    """A solver that solved runs alike needs one launch."""
    room_at_first(monkeypatch, 8)
    solver = solver_of()
    first = solver.solve(SPAN, Y0, args=(MU,))
    assert len(launches) == 2
    launches.clear()
    assert_same_runs(solver.solve(SPAN, Y0, args=(MU,)), first)
    assert [runs for runs, _ in launches] == [24]
    launches.clear()
    longer = solver.solve((0.0, 60.0), Y0, args=(MU,))
    assert len(launches) == 2
    assert_same_runs(longer, solver_of().solve((0.0, 60.0), Y0, args=(MU,)))


def test_steps_of_given_size_have_the_room_they_need(launches):
    """Their number is known before: no run is solved twice, no point is reserved in vain."""
    solver = solver_of(method="rk4", first_step=0.002)
    result = solver.solve(SPAN, Y0, args=(MU[:5],))
    assert launches == [(5, 5 * 3001)]
    assert result.y.shape == (5, 2, 3001)
    launches.clear()
    alone = solver.solve(SPAN, Y0, args=(1.0,), max_steps=100)
    assert launches == [(1, 101)]
    assert alone.y.shape == (2, 101)


def test_room_is_learnt_without_outliers():
    """The longest few, that take little of all steps, do not count."""
    room = Room()
    assert not room.known
    room.learn(np.array([100] * 999 + [1000]))
    assert room.known
    assert room._points == int(100 * steps.SLACK) + steps.SPARE_POINTS
    room.learn(np.array([100] * 990 + [1000] * 10))  # a tenth of the steps: worth having
    assert room._points > 1000
    room.learn_one(40)
    assert room._points == int(40 * steps.SLACK) + steps.SPARE_POINTS


# --- what does not fit ----------------------------------------------------------------


def fits(monkeypatch, free):
    """Let so many bytes be free, and each be asked for."""
    for module in ("capacity", "steps"):
        monkeypatch.setattr(f"cubie.launch.{module}.free_bytes", lambda: free)
    monkeypatch.setattr("cubie.launch.capacity.ALWAYS_THERE", 0)


REFUSED = {
    "final": (
        {"save": "final"},
        "To keep the last point of 24 runs of 2 states in float64 takes {size} KB, and 1 KB "
        "of memory can be had. Ask for a sweep in chunks, on disk (cubie.sweep), or numbers of "
        "half the size (dtype='float32').",
    ),
    "times": (
        {"save": None, "t_eval": np.linspace(0.0, 6.0, 100)},
        "To keep 100 points of 24 runs of 2 states in float64 takes {size} KB, and 1 KB of memory "
        "can be had. Ask for fewer times in `t_eval`, the last states (save='final' without "
        "`t_eval`), a sweep in chunks, on disk (cubie.sweep), or numbers of half the size "
        "(dtype='float32').",
    ),
    "steps": (
        {"method": "rk4", "first_step": 0.01, "dtype": "float32"},
        "To keep 601 points of 24 runs of 2 states in float32 takes {size} KB, and 1 KB of memory "
        "can be had. Ask for only the points you need (`t_eval=`), the last states "
        "(save='final'), or fewer runs at once.",
    ),
}


@pytest.mark.parametrize("mode", REFUSED)
def test_outputs_beyond_memory_are_refused_before_launch(monkeypatch, launches, mode):
    """With runs, points, bytes and remedy; one run fits where a batch does not."""
    options, message = REFUSED[mode]
    solver = solver_of(backend="python", **{k: v for k, v in options.items() if k != "t_eval"})
    fits(monkeypatch, 1000)
    with pytest.raises(OutputsTooLarge) as caught:
        solver.solve(SPAN, Y0, options.get("t_eval"), args=(MU,))
    size = caught.value.n_bytes  # of points, counters, statuses; at least that of the states
    assert str(caught.value) == message.format(size=f"{size / 1000:.3g}")
    assert caught.value.n_runs == 24
    assert size > caught.value.free_bytes == 1000
    numbers = 2 * 24 * (1 if mode == "final" else caught.value.n_points)
    assert 0 < size - numbers * (4 if options.get("dtype") == "float32" else 8) < 0.5 * size + 1000
    assert launches == []


def test_memory_that_the_system_refuses_is_told_alike(monkeypatch):
    """An allocation that fails gives the same exception, with the same remedy."""

    def fail(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr(OutputBlock, "unwritten", fail)
    with pytest.raises(OutputsTooLarge, match="which the system does not give"):
        solver_of(backend="python").solve(SPAN, Y0, args=(MU,))


def test_the_run_that_does_not_fit_is_named(monkeypatch):
    """Where one run has most of the steps, it is told by its number, with those of the next."""
    lengths = solver_of(backend="python").solve(SPAN, Y0, args=(MU,)).y.lengths
    usual = int(np.delete(lengths, OUTLIER).max())
    room_at_first(monkeypatch, usual)
    solver = solver_of(backend="python")
    fits(monkeypatch, 24 * int(lengths[OUTLIER]) - 1)
    with pytest.raises(OutputsTooLarge) as caught:
        solver.solve(SPAN, Y0, args=(MU,))
    error = caught.value
    assert (error.longest_run, error.n_points) == (OUTLIER, lengths[OUTLIER])
    assert f"The longest run is {OUTLIER} with {lengths[OUTLIER]:,} points" in str(error)
    assert f"the next has {usual:,}." in str(error)
    assert "(`t_eval=`)" in str(error)


def test_what_will_not_fit_is_refused_early(monkeypatch, launches):
    """Runs from everywhere in the batch tell what all take: no hours until memory is full."""
    monkeypatch.setattr(steps, "LAUNCH_BYTES", 100 * 24 * 8)
    monkeypatch.setattr(steps, "ENOUGH_DEPTH", 0)
    room_at_first(monkeypatch, 100)
    solver = solver_of(backend="python")
    fits(monkeypatch, 5000)
    with pytest.raises(OutputsTooLarge, match=r"judged by the first \d+ solved"):
        solver.solve(SPAN, Y0, args=(MU,))
    assert len(launches) == 1


# --- what was solved before a signal --------------------------------------------------


def called_off_at(monkeypatch, number, n_written):
    """Let the launch of a number be called off after it wrote so many of its runs."""
    launch, seen = BatchSolverKernel.launch, []

    def interrupted(kernel, n_runs, inputs, outputs):
        seen.append(n_runs)
        seconds = launch(kernel, n_runs, inputs, outputs)
        if len(seen) == number:
            outputs.arrays.saved[n_written:] = 0
            raise Interrupted(KeyboardInterrupt(), n_written)
        return seconds

    monkeypatch.setattr(BatchSolverKernel, "launch", interrupted)


@pytest.mark.parametrize(
    ("number", "n_written", "n_ended"),
    [(1, 24, 23), (1, 20, 19), (1, 0, 0), (2, 1, 24), (2, 0, 23)],
)
def test_what_was_solved_before_a_signal_is_right(monkeypatch, number, n_written, n_ended):
    """Runs that ended and had room have all of their points; the others say that they have not."""
    whole = solver_of().solve(SPAN, Y0, args=(MU,))
    room_at_first(monkeypatch, int(np.delete(whole.y.lengths, OUTLIER).max()))
    called_off_at(monkeypatch, number, n_written)
    with pytest.raises(KeyboardInterrupt) as caught:
        solver_of().solve(SPAN, Y0, args=(MU,))
    partial = caught.value.result
    assert len(partial.y) == len(partial.t) == 24
    ended = partial.status != RunStatus.INTERRUPTED
    assert np.count_nonzero(ended) == n_ended
    for run in range(24):
        n_points = partial.y.lengths[run]
        assert n_points == (partial.n_steps[run] + 1 if n_points else 0)
        np.testing.assert_array_equal(partial.y[run], whole.y[run][:, :n_points])
        np.testing.assert_array_equal(partial.t[run], whole.t[run][:n_points])
        if ended[run]:
            assert n_points == whole.y.lengths[run]
        elif n_points:
            assert partial.t_reached[run] == partial.t[run][-1]


def test_what_was_solved_in_other_launches_is_right(monkeypatch):
    """Of several launches those that ended, and of the latest one what it wrote."""
    whole = solver_of().solve(SPAN, Y0, args=(MU,))
    room_at_first(monkeypatch, 80)
    monkeypatch.setattr(steps, "LAUNCH_BYTES", 80 * 24 * 5)  # five runs
    monkeypatch.setattr(steps, "ENOUGH_DEPTH", 0)
    monkeypatch.setattr(steps, "DEEP_QUEUE", 10**9)
    called_off_at(monkeypatch, 2, 3)
    with pytest.raises(KeyboardInterrupt) as caught:
        solver_of().solve(SPAN, Y0, args=(MU,))
    partial = caught.value.result
    ended = np.flatnonzero(partial.status != RunStatus.INTERRUPTED)
    assert len(ended) == 5 + 3
    for run in ended:
        np.testing.assert_array_equal(partial.y[run], whole.y[run])
    for run in np.setdiff1d(np.arange(24), ended):
        assert partial.y[run].shape == (2, 0)
        assert partial.n_steps[run] == 0
