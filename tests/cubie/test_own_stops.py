"""Each run has the stops of its own tables and breakpoints, whoever its neighbours are."""

import numpy as np
import pytest

from cubie import Interpolant, InvalidProblem, Solver, solve_ivp
from cubie.errors import OutOfMemory
from cubie.launch import capacity
from cubie.launch.breaks import Breaks, breaks_within
from cubie.launch.stops import lay_out_stops, size_of
from tests.oracle.stops import fields_of_runs

KINDS = ("linear", "cubic", "pchip", "akima", "previous")
EXTENSIONS, STOPS = ("error", "hold", "periodic", "zero"), ("auto", "kinks", "jumps", "none")
TIMES = np.array([0.0, 0.2, 0.45, 0.5, 0.8, 1.1, 1.3, 1.4, 1.75, 2.0])
REPORTED = ("status", "n_steps", "n_rejected", "nfev", "t_reached")


def tables(seed):
    """Return samples of runs of every sort, (n_runs, n_samples).

    Smooth and constant ones, some with few kinks or jumps, tiny and huge ones, some that end as
    they begin and some that do not.
    """
    random = np.random.default_rng(seed)
    rows = [np.zeros(len(TIMES)), np.ones(len(TIMES)), TIMES, random.normal(size=len(TIMES))]
    pulse = np.where((TIMES > 0.4) & (TIMES < 1.0), 3.0, 0.0)
    rows += [pulse, 1e-12 * pulse, 1e9 * pulse, np.where(TIMES > 1.2, 1.0, -1.0)]
    closed = random.normal(size=len(TIMES))
    closed[-1] = closed[0]
    return np.stack([*rows, closed, np.sin(np.pi * TIMES).round(12)])


def driven(t, y, u, rate):
    return [u(t) - rate * y[0], y[0] - 0.1 * y[1]]


def same_as_alone(solver, samples, kind, extend, stops, save):
    """Solve a mixed batch, another order of it, and each run as a batch of one."""
    n_runs, y0 = len(samples), np.array([1.0, 0.0])
    rates = np.linspace(0.5, 3.0, n_runs)
    span = (0.0, 2.0) if extend in ("error", "hold") else (-0.3, 2.9)
    more = {"t_eval": np.linspace(*span, 4)} if save == "times" else {"save": save}

    def solve(runs):
        u = Interpolant(TIMES, samples[runs], kind, extend, stops)
        y = np.tile(y0, (len(runs), 1))
        return solver.solve(span, y, args=(u, rates[runs]), **more)

    every = solve(np.arange(n_runs))
    order = np.random.default_rng(3).permutation(n_runs)
    shuffled = solve(order)
    for place, run in enumerate(order):
        alone = solve(np.array([run]))
        wanted = told_of(every, run, save)
        for other in (told_of(shuffled, place, save), told_of(alone, 0, save)):
            for one, two in zip(wanted, other, strict=True):
                np.testing.assert_array_equal(one, two)
    return every


def told_of(result, run, save):
    """Return all that is told of one run of a batch."""
    told = [np.asarray(getattr(result, name))[run] for name in REPORTED]
    if save == "steps":
        told.append(result.t[run])
    return [*told, np.asarray(result.y[run])]


@pytest.mark.parametrize("extend", EXTENSIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_has_the_steps_that_it_has_alone(kind, extend):
    """Bit for bit, among any neighbours in any order, whichever stops are asked for."""
    number = EXTENSIONS.index(extend) + KINDS.index(kind)
    stops, save = STOPS[number % 4], ("final", "steps", "times")[number % 3]
    solver = Solver(driven, method="tsit5", rtol=1e-4, backend="python", max_steps=30)
    same_as_alone(solver, tables(number)[[0, 4, 7, 8, 9]], kind, extend, stops, save)


@pytest.mark.parametrize(
    ("kind", "extend", "save", "lanes"),
    [
        ("previous", "zero", "final", 8),
        ("linear", "periodic", "steps", 8),
        ("cubic", "hold", "times", 8),
        ("linear", "periodic", "final", 1),
    ],
)
def test_compiled_runs_have_the_steps_that_they_have_alone(kind, extend, save, lanes):
    """In groups of lanes as in one: the smooth tables have no stops, and a kernel without."""
    solver = Solver(
        driven, method="tsit5", rtol=1e-5, backend="cpu", fastmath=False, lanes=lanes, max_steps=40
    )
    for seed, stops in enumerate(STOPS):
        every = same_as_alone(solver, tables(seed), kind, extend, stops, save)
    assert len(set(np.asarray(every.n_steps).tolist())) > 2


def test_a_quiet_run_takes_no_steps_for_a_neighbour():
    """One that calls a constant next to one with eight jumps: as few steps as alone."""
    samples = np.stack([np.ones(len(TIMES)), np.arange(len(TIMES)) % 2.0])
    u = Interpolant(TIMES, samples, "previous", "hold")
    result = solve_ivp(
        lambda t, y, u: [u(t) - y[0]], (0.0, 2.0), [1.0], args=(u,), rtol=1e-3, backend="python"
    )
    assert result.n_steps[0] < 9 < result.n_steps[1]


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_a_run_ends_where_it_ends_after_a_shorter_one(order):
    """Steps of one size, counted: the count of a run is not that of the one before in its lane."""
    rows = np.array([[5.0] * 6, [0.11, 0.22, 0.33, 0.44, 0.55, 0.66]])[order]
    solver = Solver(lambda t, y: [1.0], method="euler", first_step=0.1, backend="cpu", lanes=1)
    result = solver.solve((0.0, 1.0), np.zeros((2, 1)), breakpoints=rows)
    np.testing.assert_allclose(result.y[:, 0, -1], 1.0)
    assert result.n_steps.tolist() == np.array([10, 16])[order].tolist()


def test_breakpoints_of_another_number_of_runs_are_refused_again():
    """A solver that solved as many runs as there are rows looks at others as at the first ones."""
    solver = Solver(
        lambda t, y: [1.0], method="tsit5", backend="python", breakpoints=[[0.3], [0.6]]
    )
    for _ in range(2):
        assert solver.solve((0.0, 1.0), np.zeros((2, 1))).success.all()
        with pytest.raises(InvalidProblem, match="there are 4 runs"):
            solver.solve((0.0, 1.0), np.zeros((4, 1)))


@pytest.mark.parametrize("save", ["final", "steps", "times"])
def test_attempts_of_a_run_are_its_own(save):
    """A run that uses all its steps up makes as many as alone, whoever has more breaks."""
    more = {"t_eval": [0.7, 1.0]} if save == "times" else {"save": save}
    given = np.full((3, 40), 0.5)
    given[1] = np.linspace(0.01, 0.99, 40)
    given[2] = 7.0
    solver = Solver(
        lambda t, y, w: [w * y[1], -w * y[0]], method="tsit5", rtol=1e-6, max_steps=20,
        backend="python", 
    )  # fmt: skip
    frequency = np.array([300.0, 0.1, 300.0])
    every = solver.solve((0.0, 1.0), [1.0, 0.0], args=(frequency,), breakpoints=given, **more)
    assert list(every.status != 0) == [True, False, True]
    for run in range(3):
        rows = given[run : run + 1]
        alone = solver.solve(
            (0.0, 1.0), [[1.0, 0.0]], args=(frequency[run : run + 1],), breakpoints=rows, **more
        )
        for one, two in zip(told_of(every, run, save), told_of(alone, 0, save), strict=True):
            np.testing.assert_array_equal(one, two)
    without = solver.solve((0.0, 1.0), [[1.0, 0.0]], args=(300.0,), breakpoints=None, **more)
    for one, two in zip(told_of(every, 2, save), told_of(without, 0, save), strict=True):
        np.testing.assert_array_equal(one, two)


def random_case(random):
    """Return span, times to save at, step, dtype and breaks (R, B), many of them close together."""
    dtype = np.dtype(str(random.choice(["float32", "float64"])))
    start = float(random.choice([0.0, 1.0, -3.0, 1e6, 1.7e9]))
    spacing = float(np.spacing(dtype.type(abs(start) + 1.0)))
    length = float(random.choice([1.0, 10.0, spacing * 2**12]))
    ends = (start, start + length)
    times = random.uniform(*ends, int(random.integers(1, 6)))
    times = np.unique(np.concatenate([times, random.choice(ends, 1)]))
    backwards = random.random() < 0.5
    times = times[::-1] if backwards else times
    anchors = np.concatenate([ends, times, random.uniform(*ends, 3)])
    shape = int(random.choice([1, 3, 40])), int(random.integers(0, 12))
    apart = random.choice([0, 0.5, 1, 2, 3, 3.5, 4, 4.5, 5, 8, 17, 40, 1e3], shape)
    close = random.choice(anchors, shape) + spacing * apart * random.choice([-1, 1], shape)
    rows = np.where(
        random.random(shape) < 0.4, random.uniform(ends[0] - 1.0, ends[1] + 1.0, shape), close
    )
    rows[random.random(shape) < 0.1] = np.nan
    step = None if random.random() < 0.5 else length / random.uniform(1.0, 30.0)
    span = ends[::-1] if backwards else ends
    return span, None if random.random() < 0.3 else times, step, dtype, rows


@pytest.mark.parametrize("seed", range(300))
def test_stops_are_those_of_one_run_after_the_other(seed):
    """Of breaks close to each other, to times to save at and to both ends; equal rows are one."""
    random = np.random.default_rng(seed)
    span, times, step, dtype, rows = random_case(random)
    try:
        found = lay_out_stops(span, times, step, dtype, False, Breaks.given(rows))
    except InvalidProblem:  # times to save at that float32 cannot tell apart
        with pytest.raises(InvalidProblem):
            lay_out_stops(span, times, step, dtype)
        return
    fields, counts = fields_of_runs(span, times, step, dtype, rows)
    assert found.columns in (1, len(rows))
    np.testing.assert_array_equal(np.broadcast_to(found.fields, fields.shape), fields)
    np.testing.assert_array_equal(np.broadcast_to(found.counts, counts.shape), counts)


def test_equal_stops_are_shared():
    """Given as rows, in another order, or found in tables that differ outside of the span."""
    rows = np.array([[0.3, 0.7, 0.7], [0.3, 0.3, 0.7], [0.7, 0.3, 5.0]])
    own = lay_out_stops((0.0, 1.0), None, None, np.dtype(float), False, Breaks.given(rows))
    shared = lay_out_stops((0.0, 1.0), None, None, np.dtype(float), False, Breaks.given(rows[0]))
    assert own.columns == shared.columns == 1
    np.testing.assert_array_equal(own.fields, shared.fields)
    samples = np.array([[0.0, 1.0, 1.0, 1.0], [0.0, 2.0, 2.0, 3.0]])
    u = Interpolant([0.0, 1.0, 2.0, 3.0], samples, "previous", "hold")
    assert breaks_within((0.0, 2.5), None, [u]).columns == 1
    assert breaks_within((0.0, 3.5), None, [u]).columns == 2


@pytest.mark.parametrize("backwards", [False, True])
def test_a_run_ends_at_its_end_where_breaks_lie_around_it(backwards):
    """Though one within rounding beyond it is not the nearest."""
    spacing = np.spacing(1.0)
    span = (1.0, 0.5) if not backwards else (0.5, 1.0)
    inwards = 1.0 if span[1] < span[0] else -1.0
    given = span[1] + inwards * spacing * np.array([-3.5, 1.0])
    result = solve_ivp(
        lambda t, y: [1.0], span, [0.0], breakpoints=given, backend="python", save="steps"
    )
    assert result.t[-1] == span[1]


def test_stops_that_no_memory_holds_are_refused(monkeypatch):
    """Before they are laid out, with what they take and what to do."""
    rows = np.random.default_rng(1).uniform(0.0, 1.0, (2000, 600))
    monkeypatch.setattr(capacity, "free_bytes", lambda: 70_000_000)
    with pytest.raises(OutOfMemory) as caught:
        lay_out_stops((0.0, 1.0), None, None, np.dtype(float), False, Breaks.given(rows))
    assert str(caught.value) == (
        "To lay out the stops of 2,000 runs with breaks of their own, up to 601 of each, takes "
        "81.7 MB, and 70 MB of memory can be had. Solve fewer runs at once (cubie.sweep), give "
        "fewer breakpoints, or interpolants with stops='jumps' or 'none', or take dtype='float32'."
    )
    # Runs with fewer repeat one: that takes nothing.
    rows[:, 300:] = rows[:, :1]
    stops = lay_out_stops((0.0, 1.0), None, None, np.dtype(float), False, Breaks.given(rows))
    assert size_of(len(stops.counts), 2000, np.dtype(float)) < 45_000_000
    monkeypatch.setattr(capacity, "free_bytes", lambda: None)
    with pytest.raises(OutOfMemory, match="10 MB on the device"):
        lay_out_stops(
            (0.0, 1.0), None, None, np.dtype("float32"), False,
            Breaks.given(np.random.default_rng(1).uniform(0.0, 1.0, (4000, 600))),
            on_device=lambda: 10_000_000,
        )  # fmt: skip
