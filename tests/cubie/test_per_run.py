"""Runs with spans, times to save at, tolerances and step sizes of their own.

Each gives, to the bit, what it gives when it is solved by itself with the same numbers.
"""

import numpy as np
import pytest

from cubie import Interpolant, InvalidProblem, Solver, solve_ivp
from cubie.launch.breaks import Breaks
from cubie.launch.inputs import make_inputs
from cubie.launch.some_runs import inputs_of_range, inputs_of_runs
from cubie.launch.stops import lay_out_stops
from cubie.status import RunStatus
from cubie.systems import BatchShapeError
from cubie.tableaus import all_methods
from tests.cubie.pretended import PretendedPython, pretend
from tests.cubie.test_own_stops import random_case
from tests.oracle.stops import fields_of_runs

# Forwards and backwards, far from zero, and one of length zero.
START = np.array([0.0, 1.0, -2.0, 3.0, 100.0])
END = np.array([0.8, -0.5, 0.0, 3.0, 100.7])
N_RUNS = len(START)
RTOL = np.array([1e-2, 1e-4, 1e-3, 1e-3, 1e-5])[:, None]
ATOL = np.array([1e-3, 1e-5, 1e-4, 1e-6, 1e-6])[:, None] * np.array([1.0, 0.3])
FIRST, LARGEST = np.array([0.1, 0.2, 0.05, 0.3, 0.03]), np.array([np.inf, 0.15, 0.2, 1.0, 0.4])
RATE, Y0 = np.linspace(0.1, 0.5, N_RUNS), np.array([1.0, 0.2])
REPORTED = ("status", "n_steps", "n_rejected", "nfev", "n_newton", "t_reached")
SAVES = ("final", "steps", "times", "exact times")


def swinging(t, y, rate):
    return [y[1], rate * np.cos(t) * y[1] - y[0]]


def rows_of_times():
    """Return as many times as a run has a number of, some of them its start or its end."""
    rows = np.full((N_RUNS, 4), np.nan)
    for run, (start, end) in enumerate(zip(START, END, strict=True)):
        inside = np.linspace(start, end, 6)[[0, 2, 3, 5]] if start != end else [start]
        rows[run, : len(inside)] = inside
    rows[1] = [*rows[1, 1:], np.nan]
    rows[4, 2:] = np.nan
    return rows


TIMES = rows_of_times()


def same_as_alone(solver, save, y0=Y0, rates=RATE, **own):
    """Solve the batch, and each run by itself with its own numbers; return the batch."""
    more, times = {}, None
    if save in ("final", "steps"):
        more["save"] = save
    else:
        more["t_eval_exact"], times = save == "exact times", TIMES
    every = solver.solve((START, END), y0, times, args=(rates,), **own, **more)
    for run in range(N_RUNS):
        of_run = {name: given[run] for name, given in own.items()}
        for name, given in of_run.items():
            of_run[name] = given if np.size(given) > 1 else float(np.ravel(given)[0])
        own_times = None if times is None else times[run][~np.isnan(times[run])]
        span = float(START[run]), float(END[run])
        alone = solver.solve(span, y0, own_times, args=(float(rates[run]),), **of_run, **more)
        told = {name: getattr(every, name)[run] for name in REPORTED}
        assert told == {name: getattr(alone, name) for name in REPORTED}, run
        n_points = alone.t.size
        np.testing.assert_array_equal(every.y[run][:, :n_points], alone.y)
        np.testing.assert_array_equal(every.t[run][:n_points], alone.t)
        if times is not None:
            assert np.isnan(every.y[run][:, n_points:]).all()
    assert every.success.all()
    assert every.n_steps[3] == 0
    assert len(set(every.n_steps.tolist())) > 3
    return every


def of_method(method):
    """Return what each run has of its own, of a method."""
    steps = {"first_step": FIRST, "max_step": LARGEST}
    return {**steps, "rtol": RTOL, "atol": ATOL} if method.has_error_estimate else steps


@pytest.mark.parametrize("name", all_methods())
def test_a_run_is_what_it_is_alone(name):
    """By every method, in one mode of saving and one precision each."""
    number = list(all_methods()).index(name)
    dtype = ("float64", "float32")[number // 4 % 2]
    solver = Solver(swinging, method=name, backend="python", dtype=dtype, fastmath=False)
    same_as_alone(solver, SAVES[number % 4], **of_method(all_methods()[name]))


@pytest.mark.parametrize(
    ("method", "save", "lanes"),
    [
        ("tsit5", "times", 1), ("tsit5", "steps", 4), ("tsit5", "exact times", 4),
        ("euler", "final", 1), ("euler", "exact times", 4), ("rodas5p", "final", 4),
        ("bdf", "times", 4),
    ],
)  # fmt: skip
def test_a_compiled_run_is_what_it_is_alone(method, save, lanes):
    """In groups of lanes that take runs from a queue, and one by one."""
    solver = Solver(swinging, method=method, backend="cpu", lanes=lanes, fastmath=False)
    same_as_alone(solver, save, **of_method(all_methods()[method]))


@pytest.mark.parametrize("name", ["t_span", "t_eval", "steps", "rtol", "atol"])
@pytest.mark.parametrize("exact", [False, True])
def test_one_thing_of_its_own_makes_a_batch(name, exact):
    """Whatever it is, with all else of all runs; steps of a given size, too."""
    span, times = (0.0, 0.8), np.linspace(0.0, 0.8, 5)
    own = {"t_eval": np.where(np.arange(5) < np.arange(2, 7)[:, None], times, np.nan)}
    own |= {"t_span": (0.0, END + 5.0), "rtol": RTOL, "atol": ATOL[:, :1]}
    own["steps"] = FIRST
    solver = Solver(swinging, method="tsit5", backend="python", t_eval_exact=exact)
    given = {"t_span": span, "t_eval": times, "rtol": 1e-3, "atol": 1e-6, "first_step": 0.04}
    key = "first_step" if name == "steps" else name
    every = solver.solve(y0=Y0, args=(0.3,), **given | {key: own[name]})
    assert every.y.shape == (N_RUNS, 2, 5)
    assert every.t.shape == ((N_RUNS, 5) if name == "t_eval" else (5,))
    for run in range(N_RUNS):
        one = own[name][run] if name != "t_span" else (0.0, own[name][1][run])
        if name == "t_eval":
            one = one[~np.isnan(one)]
        one = one if name in ("t_span", "t_eval") else float(np.ravel(one)[0])
        alone = solver.solve(y0=Y0, args=(0.3,), **given | {key: one})
        np.testing.assert_array_equal(every.y[run][:, : alone.t.size], alone.y)
        assert every.n_steps[run] == alone.n_steps


def test_complex_states_have_tolerances_of_their_own():
    """Of each complex state, as they have of all runs."""
    atol = np.array([1e-3, 1e-5, 1e-4])[:, None] * np.array([1.0, 0.1])

    def cavity(t, y):
        return [1j * y[0] - 0.1 * y[1], (0.2 - 2j) * y[1]]

    solver = Solver(cavity, method="tsit5", backend="python", rtol=1e-4)
    y0, ends = [1.0 + 0.5j, 0.3j], np.array([2.0, 1.0, -1.0])
    every = solver.solve((0.0, ends), y0, atol=atol)
    assert every.y.shape == (3, 2, 1)
    for run in range(3):
        alone = solver.solve((0.0, float(ends[run])), y0, atol=atol[run], save="final")
        np.testing.assert_array_equal(every.y[run], alone.y)
        assert every.n_steps[run] == alone.n_steps


@pytest.mark.parametrize("save", ["final", "steps", "times"])
def test_breakpoints_lie_in_spans_of_their_own(save):
    """Of all runs, or of each; a run lands on those within its own span."""
    solver = Solver(swinging, method="tsit5", backend="python", rtol=1e-3)
    more = {"save": save} if save != "times" else {"t_eval": TIMES}
    rows = np.array([[0.3, 0.5], [0.2, 7.0], [-1.0, -1.0], [3.0, 3.0], [100.1, 0.0]])
    for given in (rows, rows.reshape(-1)):
        every = solver.solve((START, END), Y0, args=(RATE,), breakpoints=given, **more)
        for run in range(N_RUNS):
            own = more | {"breakpoints": given if given.ndim == 1 else given[run]}
            if save == "times":
                own["t_eval"] = TIMES[run][~np.isnan(TIMES[run])]
            span = float(START[run]), float(END[run])
            alone = solver.solve(span, Y0, args=(float(RATE[run]),), **own)
            told = {name: getattr(every, name)[run] for name in REPORTED}
            assert told == {name: getattr(alone, name) for name in REPORTED}
            np.testing.assert_array_equal(every.y[run][:, : alone.t.size], alone.y)


@pytest.mark.parametrize("seed", range(60))
def test_stops_are_those_of_one_run_after_the_other(seed):
    """Of spans, times to save at, step sizes and breaks of their own."""
    random = np.random.default_rng(seed)
    cases = [random_case(random) for _ in range(4)]
    dtype, exact = np.dtype(float), random.random() < 0.7
    saved = random.random() < 0.8
    spans, fields = [], []
    most = max(1 if case[1] is None else len(case[1]) for case in cases)
    times = np.full((4, most), np.nan)
    steps, breaks = np.zeros(4), np.full((4, 12), np.nan)
    for run, (span, points, step, _, rows) in enumerate(cases):
        points = np.array([span[1]]) if points is None else points
        spans.append(span)
        times[run, : len(points)] = points
        steps[run] = step or abs(span[1] - span[0]) / 3.0
        breaks[run, : rows.shape[1]] = rows[0]
        own = points if saved else None
        of_run = fields_of_runs(span, own, steps[run] if exact else None, dtype, breaks[[run]])
        fields.append(of_run)
    starts, ends = np.array(spans).T
    found = lay_out_stops(
        (starts, ends), times if saved else None, steps if exact else None, dtype, False,
        Breaks.given(breaks), own=True,
    )  # fmt: skip
    width = max(len(counts) for _, counts in fields)
    assert found.fields.shape[1] == width
    for run, (of_run, counts) in enumerate(fields):
        n = len(counts)
        np.testing.assert_array_equal(found.fields[:, :n, run], of_run[..., 0])
        np.testing.assert_array_equal(
            found.fields[:, n:, run], of_run[:, -1:, 0].repeat(width - n, 1)
        )
        np.testing.assert_array_equal(found.counts[:n, run], counts[:, 0])


def observed(t, y, rate):
    return {"phase": t * y[0]}


def test_observables_and_summaries_read_the_time_of_their_run():
    """Windows, too, are of the users' time: a run that has nothing of one is NaN."""
    solver = Solver(
        swinging, method="tsit5", backend="python", observables=observed,
        summaries={"y0": ["mean", "max", "argmax"], "phase": ["mean"]}, window=(-1.5, 0.5),
    )  # fmt: skip
    every = solver.solve((START, END), Y0, args=(RATE,))
    for run in range(N_RUNS):
        found = {(q, s): v[run] for q, of in every.summaries.items() for s, v in of.items()}
        if run in (3, 4):
            assert np.isnan(list(found.values())).all()
            continue
        span = float(START[run]), float(END[run])
        alone = solver.solve(span, Y0, args=(float(RATE[run]),), save="final")
        assert found == {(q, s): v for q, of in alone.summaries.items() for s, v in of.items()}
        assert every.observables["phase"][run] == alone.observables["phase"]
    with pytest.raises(InvalidProblem, match="of which t_span has nothing in any run"):
        solver.solve((START, END), Y0, args=(RATE,), window=(50.0, 60.0))


@pytest.mark.parametrize("extend", ["hold", "periodic"])
def test_inputs_have_their_jumps_in_spans_of_their_own(extend):
    """With tables of all runs and of each; of periods only those that a run meets are laid out."""
    times, start = np.array([0.0, 0.25, 0.7, 1.0]), np.array([0.1, 1e6 + 0.3, -3.0, 2.0])
    end = start + np.array([1.5, 2.0, -1.2, 0.0])
    tables = np.array([[0.0, 1.0, 0.5, 0.0], [1.0, 1.0, 2.0, 1.0], [0.0, 0.0, 3.0, 0.0], times])
    solver = Solver(lambda t, y, u: [u(t) - y[0]], method="tsit5", backend="python", rtol=1e-4)
    for samples in (tables[0], tables):
        u = Interpolant(times, samples, "previous", extend)
        every = solver.solve((start, end), [0.2], args=(u,), save="steps")
        assert extend == "hold" or every.n_steps.min(initial=99, where=start != end) > 5
        for run in range(len(start)):
            own = Interpolant(
                times, samples if samples.ndim == 1 else samples[run], "previous", extend
            )
            span = float(start[run]), float(end[run])
            alone = solver.solve(span, [0.2], args=(own,), save="steps")
            np.testing.assert_array_equal(every.t[run], alone.t)
            np.testing.assert_array_equal(every.y[run], alone.y)
    u = Interpolant(times, tables[0], "previous", "periodic")
    with pytest.raises(InvalidProblem, match=r"holds 1e\+08 periods of .* in run 1, each with"):
        solver.solve((0.0, np.array([1.0, 1e8])), [0.2], args=(u,))


def test_a_run_that_leaves_the_samples_of_an_input_ends_for_itself():
    """Whether it does is a matter of its own span."""
    u = Interpolant([0.0, 1.0, 2.0], [0.0, 1.0, 0.5], "cubic", "error")
    ends = np.array([1.5, 2.5, -0.5, 2.0])
    result = solve_ivp(
        lambda t, y, u: [u(t) - y[0]], (0.5, ends), [0.1], args=(u,), backend="python"
    )
    codes = np.array([0, int(RunStatus.DRIVER_OUT_OF_RANGE)])
    np.testing.assert_array_equal(result.status, codes[[0, 1, 1, 0]])


@pytest.mark.parametrize("save", ["final", "steps"])
def test_events_happen_in_spans_of_their_own(save):
    """Found in the time of each run, and some of them end it."""

    def crossing(t, y, rate):
        return y[0]

    def late(t, y, rate):
        return t - 0.7

    late.terminal = True
    solver = Solver(swinging, method="tsit5", backend="python", events=[crossing, late], save=save)
    start, end = START - 0.5, END + 3.0
    every = solver.solve((start, end), Y0, args=(RATE,), first_step=FIRST)
    assert set(every.status.tolist()) == {0, 1}
    for run in range(N_RUNS):
        span = float(start[run]), float(end[run])
        alone = solver.solve(span, Y0, args=(float(RATE[run]),), first_step=float(FIRST[run]))
        assert (every.status[run], every.t_reached[run]) == (alone.status, alone.t_reached)
        np.testing.assert_array_equal(every.t[run], alone.t)
        np.testing.assert_array_equal(every.y[run], alone.y)
        for times, given in zip(every.t_events, alone.t_events, strict=True):
            np.testing.assert_array_equal(times[run][: len(given)], given)


def test_a_start_that_misses_the_equations_is_that_of_its_run():
    """Algebraic equations that read the time are looked at where each run starts."""
    solver = Solver(
        lambda t, y: [-y[0], y[1] - np.cos(t)], method="rodas5p", backend="python",
        mass_matrix=np.diag([1.0, 0.0]), rtol=np.full((3, 1), 1e-3),
    )  # fmt: skip
    start = np.array([0.0, 1.0, 2.0])
    y0 = np.stack([np.ones(3), np.cos(start)], axis=1)
    assert solver.solve((start, 3.0), y0).notes == ()
    y0[1, 1] += 0.5
    notes = solver.solve((start, 3.0), y0).notes
    assert "inconsistent in 1 of the runs: in run 1 the algebraic equation 1" in notes[0]


def test_what_is_shown_of_times_of_runs():
    """A line, without the NaN that fills rows up."""
    shown = repr(
        solve_ivp(swinging, (0.0, np.array([1.0, 4.0])), Y0, t_eval=[[0.5, 1.0], [3.0, NAN]],
                  args=(0.3,), backend="python")
    )  # fmt: skip
    assert "t: (2, 2), within 0.5 and 3\n" in shown


def test_a_span_of_length_zero_reads_the_time():
    """As it does elsewhere it ends at once, where its equations read the time, too."""
    result = solve_ivp(lambda t, y: [t], (1.0, 1.0), [2.0], backend="python")
    assert (result.status, result.t.tolist(), result.y.tolist()) == (0, [1.0], [[2.0]])


def test_min_step_is_a_bound_of_its_own():
    """Zero is none; a run that needs smaller steps ends, and others do not."""
    solver = Solver(swinging, method="tsit5", backend="python", rtol=1e-8, first_step=0.4)
    least = np.array([0.0, 0.3, 1e-6])
    every = solver.solve((0.0, 5.0), Y0, args=(RATE[:3],), min_step=least)
    assert every.status.tolist() == [0, -1, 0]
    for run in range(3):
        alone = solver.solve(
            (0.0, 5.0), Y0, args=(float(RATE[run]),), min_step=float(least[run]), save="final"
        )
        assert every.t_reached[run] == alone.t_reached
        np.testing.assert_array_equal(every.y[run], alone.y)


def test_portions_have_what_is_of_their_runs(monkeypatch):
    """A device that takes a few runs at a time gives what it gives of all."""
    whole = Solver(swinging, method="tsit5", backend="python")
    own = {"rtol": RTOL, "atol": ATOL, "first_step": FIRST, "max_step": LARGEST}
    for exact in (False, True):
        every = whole.solve((START, END), Y0, TIMES, args=(RATE,), t_eval_exact=exact, **own)
        with monkeypatch.context() as patch:
            driver = pretend(patch, PretendedPython)
            driver.total_bytes = 1
            some = Solver(swinging, method="tsit5").solve(
                (START, END), Y0, TIMES, args=(RATE,), t_eval_exact=exact, **own
            )
        np.testing.assert_array_equal(some.y, every.y)


@pytest.mark.parametrize("inside", [False, True])
def test_inputs_of_some_runs_are_those_of_a_batch_of_them(inside):
    """Whichever they are: consecutive ones, and any."""

    def inputs(runs):
        n = len(runs)
        return make_inputs(
            np.tile(Y0, (n, 1)).T, RATE[None, runs], (START[runs], END[runs]), float,
            rtol=RTOL[runs] * np.ones((n, 2)), atol=ATOL[runs], first_step=FIRST[runs],
            max_step=LARGEST[runs], save_times=TIMES[runs], inside=inside, own_clock=n,
        )  # fmt: skip

    every = inputs(np.arange(N_RUNS))
    for found, runs in (
        (inputs_of_range(every, N_RUNS, 1, 4), [1, 2, 3]),
        (inputs_of_runs(every, N_RUNS, np.array([4, 0, 1])), [4, 0, 1]),
    ):
        wanted = inputs(np.array(runs))
        for name, array in wanted._asdict().items():
            given = getattr(found, name).reshape(-1)
            n = array.size - int(name == "parameters")  # the last one of these is anything
            # All of a part may have more attempts than all of the batch; runs have their own.
            first = int(name == "limits")
            np.testing.assert_array_equal(given[first:n], array[first:n], err_msg=name)


SPANS = {"t_span": (np.zeros(3), np.array([1.0, -1.0, 2.0]))}
NAN = float("nan")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"t_span": (np.zeros(2), np.ones(3))},
            "`t_span` has 2 starts and 3 ends: give one time for each run, or a number for all "
            "runs.",
        ),
        (
            {"t_span": (0.0, np.array([1.0, NAN]))},
            "`t_span` is (0.0, nan) in run 1, but both must be finite, or the end infinite "
            "where an event ends the run.",
        ),
        ({"t_span": (0.0, np.zeros(0))}, "`t_span` is an empty array, but must hold a number"),
        ({"t_span": (0.0, [1.0, 2.0])}, "for a span of each run give arrays"),
        ({"t_span": np.ones((2, 2))}, "it has shape (2, 2); for a span of each run give arrays"),
        (
            SPANS | {"t_eval": [[0.1, 0.2], [-0.2, -0.1], [0.1, NAN]]},
            "`t_eval` must strictly decrease from the start to the end of t_span = (0.0, -1.0) of "
            "run 1, but -0.2 is followed by -0.1.",
        ),
        (
            SPANS | {"t_eval": [[0.1, 0.2], [-0.2, -1.5], [0.1, NAN]]},
            "`t_eval` contains -1.5, which is not within t_span = (0.0, -1.0) of run 1.",
        ),
        (
            SPANS | {"t_eval": [0.5]},
            "`t_eval` contains 0.5, which is not within t_span = (0.0, -1.0) of run 1. For times "
            "of each run give a row for each, (n_runs, n_points), NaN after the last.",
        ),
        (
            SPANS | {"t_eval": [[0.1], [NAN], [0.1]]},
            "`t_eval` has no time in run 1: NaN may only follow the last time of a run, and each "
            "has at least one.",
        ),
        (
            SPANS | {"t_eval": [[0.1, 0.2], [-0.1, NAN], [NAN, 0.1]]},
            "`t_eval` has a time after NaN in run 2: NaN may only",
        ),
        (SPANS | {"t_eval": np.ones((2, 1))}, "`t_eval` has 2 rows, and t_span is of 3 runs"),
        (
            SPANS | {"first_step": np.array([0.1, 0.2])},
            "`t_span` is of 3 runs, and first_step of 2",
        ),
        (
            SPANS | {"first_step": np.array([0.1, -0.2, 0.1])},
            "`first_step` is -0.2 in run 1, but must be a positive number.",
        ),
        (
            SPANS | {"first_step": np.array([0.1, 1.5, 0.1])},
            "`first_step` is 1.5 in run 1, longer than t_span, which is 1.0.",
        ),
        (SPANS | {"max_step": np.array([0.1, NAN, 0.1])}, "`max_step` is nan in run 1, but must"),
        (
            {"first_step": [0.1, 0.2]},
            "`first_step` is [0.1, 0.2], but must be a positive number. For one of each run give "
            "an array: np.array([0.1, 0.2]).",
        ),
        (
            SPANS | {"min_step": np.array([0.0, 0.5, 0.1]), "max_step": 0.2},
            "`min_step` is 0.5 in run 1, longer than max_step, which is 0.2.",
        ),
        (
            SPANS | {"rtol": np.full(3, 1e-3)},
            "`rtol` has shape (3,), but must be a number or have shape (2,). For one of each run "
            "give shape (n_runs, 1), for those of its components (n_runs, 2).",
        ),
        (
            SPANS | {"atol": np.array([[1e-3], [-1.0], [1e-3]])},
            "`atol` is -1.0 in run 1, but must be finite and not negative.",
        ),
        (
            SPANS | {"atol": np.full((3, 4), 1e-3)},
            "`atol` has shape (3, 4), but with a row for each run it must be (n_runs, 1) or "
            "(n_runs, 2).",
        ),
        ({"atol": np.full((3, 1), 1e-3), "rtol": np.full((2, 1), 1e-3)}, "`atol` is of 3 runs"),
        (
            SPANS | {"rtol": np.array([[1e-3], [0.0], [0.0]]), "atol": 0.0},
            "`rtol` is zero in run 1 with an atol of zero, which no error can be below",
        ),
    ],
)
def test_what_is_wrong_is_told_of_its_run(given, told):
    """With its number, and what would do."""
    with pytest.raises(InvalidProblem) as caught:
        solve_ivp(swinging, **{"t_span": (0.0, 1.0), "y0": Y0, "args": (0.3,), **given})
    assert told in str(caught.value)


def test_numbers_of_runs_that_disagree_are_told():
    """Of the states, of args, and of what else has a run axis."""
    with pytest.raises(BatchShapeError, match=r"y0 has shape \(3, 2\).* are of 5 runs"):
        solve_ivp(swinging, (START, END), np.ones((3, 2)), args=(0.3,))
    with pytest.raises(BatchShapeError, match=r"args\[0\] has shape \(4,\), and t_span, .* 5 runs"):
        solve_ivp(swinging, (START, END), Y0, args=(RATE[:4],))


def test_times_that_a_dtype_cannot_tell_apart_are_told_of_their_run():
    """Counted from the start of the run; and where it reads the time, all of its span."""
    ends = np.array([1.0, 1.0 + 1e-7])
    with pytest.raises(InvalidProblem, match=r"`t_span` is \(1.0, 1.0000001\) in run 1, where"):
        solve_ivp(swinging, (1.0, ends), Y0, args=(0.3,), dtype="float32", backend="python")


def test_tolerances_too_small_in_one_run_are_told():
    """As they are where they are of all runs."""
    rtol = np.array([[1e-3], [1e-20]])
    with pytest.warns(UserWarning, match="At least one element of `rtol` is too small"):
        solve_ivp(swinging, (0.0, 1.0), Y0, args=(0.3,), rtol=rtol, backend="python")


def test_equal_clocks_keep_the_kernel():
    """Times read inside steps, and tolerances, are no reason for another clock."""
    solver = Solver(swinging, method="tsit5", backend="python")
    solver.solve((0.0, 0.8), Y0, np.tile(np.linspace(0.0, 0.8, 3), (5, 1)), args=(RATE,), rtol=RTOL)
    assert not solver.kernel.integrator.loop.system.own_clock
    solver.solve((0.0, END + 3.0), Y0, args=(RATE,))
    assert solver.kernel.integrator.loop.system.own_clock
    solver.solve((0.0, 0.8), Y0, args=(RATE,))
    assert not solver.kernel.integrator.loop.system.own_clock


@pytest.mark.parametrize("method", ["tsit5", "euler", "rodas5p", "bdf"])
def test_clocks_of_runs_cost_a_gpu_little(method):
    """Compiled for sm_90: no more stack, and hardly more registers, than with one clock for all."""
    given = {"first_step": 0.01} if method == "euler" else {}
    own = {name: np.full(N_RUNS, number) for name, number in given.items()}
    own |= {} if method == "euler" else {"max_step": LARGEST, "rtol": RTOL}
    needs = []
    for options in (given, given | own):
        solver = Solver(
            swinging, method=method, backend="cuda", device="H100", verify=False,
            locations="local", **options,
        )  # fmt: skip
        solver.prepare(np.ones((N_RUNS, 2)), args=(0.3,))
        assert solver.kernel.integrator.loop.system.own_clock == (options is not given)
        needs.append(solver.resources())
    shared, of_runs = needs
    assert (of_runs.stack_bytes, of_runs.spill_load_bytes) == (shared.stack_bytes, 0)
    assert of_runs.registers <= shared.registers + 16


def test_prepare_is_of_spans_of_runs_too():
    """The kernel that is planned for is that of the solve, which has clocks of its own."""
    solver = Solver(swinging, backend="python")
    y0 = np.tile(Y0, (N_RUNS, 1))
    solver.prepare(y0, (RATE,))
    alike = solver.kernel
    solver.prepare(y0, (RATE,), t_span=(START, END))
    prepared = solver.kernel
    assert prepared is not alike
    solver.solve((START, END), y0, args=(RATE,))
    assert solver.kernel is prepared
    with pytest.raises(InvalidProblem, match="t_span"):
        solver.prepare(y0, (RATE,), t_span=(0.0, np.nan))
    with pytest.raises(BatchShapeError, match="t_span"):
        solver.prepare(y0, (RATE,), t_span=(START[:3], END[:3]))
