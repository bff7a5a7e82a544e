"""Summaries: those of the continuous solution, in every run, whatever is next to it."""

import functools
import html
import itertools
import json
import pickle
import random
import re

import attrs
import numpy as np
import pytest
from benchmarks import driven, summaries_docs
from benchmarks.documents import RESULTS
from scipy.integrate import solve_ivp as scipy_ivp
from scipy.interpolate import CubicSpline

import cubie
from cubie import (
    InvalidOption,
    InvalidProblem,
    RunStatus,
    Solver,
    crossings,
    negative_peaks,
    peaks,
    time_above,
)
from cubie.backend import maximum, minimum, select
from cubie.integrator import ALGORITHMS
from cubie.launch.capacity import kept_of
from cubie.launch.outputs import PerRun, make_outputs
from cubie.run.saving import SaveMode
from cubie.run.summaries.request import SUMMARIES
from cubie.tableaus import all_methods, get_method
from tests.cubie.cli_running import run as command
from tests.cubie.targets import on_targets
from tests.cubie.test_neighbours import BREAK, GROWTH, MU, START, mixed

LEVEL = 0.3
# Of one quantity each, and without a level.
WITHOUT_LEVEL = [n for n in SUMMARIES if n not in ("crossings", "time_above", "lyapunov")]
EVERYTHING = [
    *WITHOUT_LEVEL, crossings(LEVEL), time_above(LEVEL),
]  # fmt: skip


def spiky(t, y, current):
    """FitzHugh and Nagumo's neuron, which fires again and again."""
    v, w = y
    return [v - v**3 / 3.0 - w + current, 0.08 * (v + 0.7 - 0.8 * w)]


def smooth(t, y, rate):
    return [y[1], -rate * rate * y[0]]


def stiff(t, y, mu):
    return [y[1], mu * (1.0 - y[0] ** 2) * y[1] - y[0]]


PROBLEMS = {
    "smooth": (smooth, (0.0, 10.0), [0.1, 1.0], np.array([1.0, 1.7, 3.0]), "tsit5"),
    "spiky": (spiky, (0.0, 100.0), [-1.0, 1.0], np.array([0.4, 0.5, 0.8]), "dormand_prince54"),
    "stiff": (stiff, (0.0, 120.0), [2.0, 0.0], np.array([30.0, 40.0, 50.0]), "radau_iia_5"),
}
# Each is of one kernel: all are asked for once.
OF = {
    "smooth": ["extrema", "derivative_extrema", "mean", "std", "crossings", "peaks"],
    "spiky": EVERYTHING,
    "stiff": ["extrema", "derivative_extrema", "rms", "n_peaks", "negative_peaks", "time_above"],
}
BY_NAME = {"crossings": crossings(LEVEL), "time_above": time_above(LEVEL)}


def expected(q, t, last=None):
    """Return all summaries of values `q` at closely spaced times `t`, by splines."""
    spline = CubicSpline(t, q)
    slope, length = spline.derivative(), t[-1] - t[0]
    turns = slope.roots(extrapolate=False)
    turns = turns[(turns > t[0] + 1e-6) & (turns < t[-1] - 1e-6)]
    at = np.concatenate([t[:1], turns, t[-1:]])
    values = spline(at)
    mean = spline.integrate(t[0], t[-1]) / length
    square = CubicSpline(t, q * q).integrate(t[0], t[-1]) / length
    tops = [(x, v) for x, v in zip(turns, spline(turns), strict=False) if slope(x, 1) < 0]
    troughs = [(x, v) for x, v in zip(turns, spline(turns), strict=False) if slope(x, 1) > 0]
    meets = spline.solve(LEVEL, extrapolate=False)
    bends = slope.derivative().roots(extrapolate=False)
    slopes = slope(np.concatenate([t[[0, -1]], bends]))
    edges = np.concatenate([t[:1], meets, t[-1:]])
    above = sum(b - a for a, b in itertools.pairwise(edges) if spline((a + b) / 2) > LEVEL)
    return {
        "min": values.min(), "max": values.max(), "argmin": at[values.argmin()],
        "argmax": at[values.argmax()], "extrema": (values.min(), values.max()),
        "max_magnitude": abs(values).max(), "mean": mean, "std": np.sqrt(square - mean**2),
        "rms": np.sqrt(square), "integral": mean * length, "final": q[-1],
        "n_peaks": len(tops), "peaks": tops, "negative_peaks": troughs, "crossings": meets,
        "time_above": above, "derivative_min": slopes.min(), "derivative_max": slopes.max(),
        "derivative_extrema": (slopes.min(), slopes.max()),
    }  # fmt: skip


@functools.cache
def reference(problem, run, observe=None):
    """Return closely spaced times, and a quantity there, by SciPy at tight tolerances."""
    fun, span, y0, values, _ = PROBLEMS[problem]
    method = "LSODA" if problem == "stiff" else "DOP853"
    found = scipy_ivp(
        fun, span, y0, method, args=(values[run],), rtol=1e-12, atol=1e-13, dense_output=True
    )
    # Where the solution moves fast the steps of the solver are short.
    parts = [np.linspace(a, b, 40) for a, b in itertools.pairwise(found.t)]
    t = np.unique(np.concatenate(parts))
    y = found.sol(t)
    return t, y[0] if observe is None else observe(t, y, values[run])


def close(got, wanted, scale, tolerance):
    return np.all(np.abs(np.asarray(got) - np.asarray(wanted)) <= tolerance * scale)


def require_summaries(summaries, run, wanted, tolerance, skip=()):
    """Demand that a run has the summaries that it should have."""
    size = max(abs(np.array(wanted["extrema"])))
    steep = max(abs(np.array(wanted["derivative_extrema"])))
    for name, value in wanted.items():
        if name in skip or name not in summaries:
            continue
        got = summaries[name]
        if name in ("peaks", "negative_peaks"):
            n = min(len(value), got.times.shape[1])
            times, values = np.array(value[:n]).T if n else ([], [])
            assert close(got.values[run, :n], values, size, tolerance), name
            assert close(got.times[run, :n], times, 1.0, 1e3 * tolerance), name
            assert np.all(np.isnan(got.times[run, n:])), name
        elif name == "crossings":
            assert got.count[run] == len(value)
            assert close(got.times[run, : len(value)], value[:10], 1.0, 10 * tolerance), name
        elif name.startswith("arg"):
            assert close(got[run], value, 1.0, 1e4 * tolerance), name
        elif name == "n_peaks":
            assert got[run] == value
        else:
            scale = steep * 1e2 if "derivative" in name else size
            assert close(got[run], value, scale, tolerance), (name, got[run], value)


# ---- values -----------------------------------------------------------------------


@pytest.mark.parametrize("problem", PROBLEMS)
def test_they_are_those_of_the_continuous_solution(problem):
    """Every summary equals that of SciPy's solution at tight tolerances."""
    fun, span, y0, values, method = PROBLEMS[problem]
    result = cubie.solve_ivp(
        fun, span, y0, method, args=(values,), rtol=1e-10, atol=1e-11, max_steps=10**6,
        summaries={0: [BY_NAME.get(one, one) for one in OF[problem]]},
    )  # fmt: skip
    assert np.all(result.success)
    for run in range(len(values)):
        t, q = reference(problem, run)
        # Of several peaks as high, which is the highest is for rounding to say.
        skip = ("argmax", "argmin")
        require_summaries(result.summaries[0], run, expected(q, t), 2e-6, skip)


def test_they_beat_those_of_saved_points():
    """Of 500 points, summaries are far worse than those of the solution between them."""
    fun, span, y0, values, method = PROBLEMS["spiky"]
    times = np.linspace(*span, 500)
    options = {"args": (values,), "rtol": 1e-8, "atol": 1e-10}
    names = ["max", "min", "mean", "rms"]
    result = cubie.solve_ivp(fun, span, y0, method, summaries={0: names}, **options)
    points = cubie.solve_ivp(fun, span, y0, method, times, **options).y[:, 0]
    by_points = {
        "max": points.max(1), "min": points.min(1), "mean": points.mean(1),
        "rms": np.sqrt((points**2).mean(1)),
    }  # fmt: skip
    wanted = [expected(reference("spiky", i)[1], reference("spiky", i)[0]) for i in range(3)]
    for name in names:
        right = np.array([w[name] for w in wanted])
        ours = np.abs(result.summaries[0][name] - right).max()
        assert ours < 0.02 * np.abs(by_points[name] - right).max(), name


# One of each kind; steps of one size, of which there are thousands, are taken by compiled code.
ONE_OF_EACH_KIND = ("dop853", "kvaerno5", "radau_iia_9", "rodas5p", "bdf", "auto")
COMPILED = ("rk4", "crank_nicolson", "bdf")


@pytest.mark.parametrize(
    ("name", "backend"), on_targets(ONE_OF_EACH_KIND, compiled=COMPILED, also=all_methods())
)
def test_every_method_follows_its_own_solution(name, backend):
    """Summaries are as good as the states that a method gives, and there are no false peaks."""
    method = get_method(name)
    fun, span, y0, values, _ = PROBLEMS["smooth"]
    given = {"rtol": 1e-5, "atol": 1e-7} if method.has_error_estimate else {"first_step": 0.002}
    result = cubie.solve_ivp(
        fun, span, y0, name, args=(values,), max_steps=10**6, backend=backend, **given,
        summaries={0: ["max", "mean", "n_peaks", "peaks", "final"]},
    )  # fmt: skip
    summaries = result.summaries[0]
    assert np.array_equal(summaries["final"], result.y[:, 0, 0])
    for run, rate in enumerate(values):
        wanted = expected(*reference("smooth", run)[::-1])
        far = abs(result.y[run, 0, 0] - reference("smooth", run)[1][-1])
        allowed = 3.0 * far + 2e-4
        if method.order > 1:
            assert summaries["n_peaks"][run] == wanted["n_peaks"]
        for what in ("max", "mean"):
            assert abs(summaries[what][run] - wanted[what]) < allowed, (what, rate)


# ---- observables --------------------------------------------------------------------


def observed(t, y, rate):
    return {"power": y[0] * y[1], "age": np.cos(y[0]) * t}


AGE = ["extrema", "derivative_extrema", "argmax", "rms", crossings(LEVEL), "peaks"]


def test_summaries_of_observables():
    """They are evaluated along the solution with their own derivatives, by time included."""
    fun, span, y0, values, method = PROBLEMS["smooth"]
    result = cubie.solve_ivp(
        fun, span, y0, method, args=(values,), rtol=1e-10, atol=1e-11, observables=observed,
        summaries={"age": AGE, "power": ["extrema", "derivative_extrema", "mean"], "y1": "max"},
        save_states=False, save_observables=False,
    )  # fmt: skip
    assert result.y is None
    for run in range(len(values)):
        for name in ("age", "power"):
            t, q = reference("smooth", run, lambda t, y, r, name=name: observed(t, y, r)[name])
            require_summaries(result.summaries[name], run, expected(q, t), 5e-6)


# ---- times ------------------------------------------------------------------------


@functools.cache
def oscillators(**options):
    options = {"rtol": 1e-9, "atol": 1e-11, **options}
    return Solver(smooth, summaries={0: ["max", "argmax", "mean", "min", "integral"]}, **options)


@pytest.mark.parametrize("span", [(0.0, 10.0), (1e6, 1e6 + 10.0), (10.0, 0.0)])
@pytest.mark.parametrize("window", [{}, {"window": (2.3, 4.1)}, {"after": 7.7}])
def test_windows_count_part_of_the_time(span, window):
    """Of a window every summary is that of the part inside, whichever way time runs."""
    rates = PROBLEMS["smooth"][3]
    start, direction = span[0], np.sign(span[1] - span[0])
    low, high = window.get("window", (window.get("after", 0.0), 10.0))
    moved = {
        k: start + v if k == "after" else tuple(start + x for x in v) for k, v in window.items()
    }
    if direction < 0:
        moved = window
    result = oscillators().solve(span, [0.1, 1.0], args=(rates,), **moved)
    for run, rate in enumerate(rates):
        begin, end = (low, high) if direction > 0 else (10.0 - high, 10.0 - low)
        t = np.linspace(begin, end, 20001)
        # Backwards from the start state is the solution with the velocity turned round.
        q = 0.1 * np.cos(rate * t) + direction * np.sin(rate * t) / rate
        wanted, summaries = expected(q, t), result.summaries[0]
        for name in ("max", "min", "mean"):
            assert summaries[name][run] == pytest.approx(wanted[name], abs=2e-6)
        along = direction * wanted["integral"]
        assert summaries["integral"][run] == pytest.approx(along, abs=2e-5)
        at = (summaries["argmax"][run] - start) * direction
        assert 0.1 * np.cos(rate * at) + direction * np.sin(rate * at) / rate == pytest.approx(
            wanted["max"], abs=1e-5
        )


def test_how_it_is_saved_changes_nothing():
    """The same with final states, at times, and of single runs; with every step to the bit."""
    rates, solver = PROBLEMS["smooth"][3], oscillators(fastmath=False)  # kernels of their own
    final = solver.solve((0.0, 10.0), [0.1, 1.0], args=(rates,)).summaries[0]
    steps = solver.solve((0.0, 10.0), [0.1, 1.0], args=(rates,), save="steps").summaries[0]
    times = solver.solve((0.0, 10.0), [0.1, 1.0], [1.0, 5.0], args=(rates,)).summaries[0]
    for name, values in final.items():
        assert np.array_equal(values, steps[name]), name
        tolerance = 1e-2 if name == "argmax" else 1e-6
        assert np.allclose(values, times[name], atol=tolerance), name
    for run, rate in enumerate(rates):
        alone = solver.solve((0.0, 10.0), [0.1, 1.0], args=(float(rate),)).summaries[0]
        assert alone["max"] == pytest.approx(final["max"][run], abs=1e-9)
        assert np.ndim(alone["max"]) == 0


def test_results_and_solvers_can_be_pickled():
    """Summaries travel with what they are of."""
    rates = PROBLEMS["smooth"][3]
    result = oscillators().solve((0.0, 10.0), [0.1, 1.0], args=(rates,))
    copied = pickle.loads(pickle.dumps(result))
    again = pickle.loads(pickle.dumps(oscillators())).solve((0.0, 10.0), [0.1, 1.0], args=(rates,))
    for name, values in result.summaries[0].items():
        assert np.array_equal(copied.summaries[0][name], values)
        assert np.array_equal(again.summaries[0][name], values)


# ---- neighbours, targets, placements ---------------------------------------------------


def observed_too(t, y, mu, growth, end):
    return {"sum": y[0] + 0.5 * y[1] + t}


MIXED = {
    0: ["max", "argmin", "std", "integral", "n_peaks", peaks(k=2), crossings(0.0, k=2)],
    "sum": ["mean", time_above(0.5), "derivative_extrema"],
}


def numbers(summaries):
    """Return all numbers of summaries, run by run."""
    columns = []
    for results in summaries.values():
        for value in results.values():
            parts = value if isinstance(value, tuple) else (value,)
            columns += [np.asarray(part, float).reshape(len(part), -1) for part in parts]
    return np.concatenate(columns, axis=1)


def configurations():
    for name, tableau in all_methods().items():
        for dtype in ("float64", "float32"):
            for lanes in (1, 2, 8, None):
                for save in ("final", "times", "steps"):
                    options = {"method": name, "dtype": dtype, "lanes": lanes, "save": save}
                    if not tableau.has_error_estimate:
                        options["first_step"] = 0.01
                    yield options


def kind_of(options):
    return next(kind for kind in ALGORITHMS if isinstance(get_method(options["method"]), kind))


def sample():
    """Return a configuration of each kind of method."""
    chosen, shuffled = {}, list(configurations())
    random.Random(3).shuffle(shuffled)
    for options in shuffled:
        if options["lanes"] != 1:
            chosen.setdefault(kind_of(options), options)
    return list(chosen.values())


def params():
    quick = sample()
    for options in configurations():
        marks = [] if options in quick else [pytest.mark.every_config]
        yield pytest.param(options, marks=marks, id="-".join(map(str, options.values())))


@pytest.mark.parametrize("options", list(params()))
def test_a_run_does_not_depend_on_its_neighbours(options):
    """Not on runs that blow up, turn NaN or end early next to it, nor on its lane or order."""
    options = dict(options)
    times = [0.3, 1.0, 1.7] if options["save"] == "times" else None
    if times:
        del options["save"]
    solver = Solver(
        mixed, observables=observed_too, summaries=MIXED, rtol=1e-3, atol=1e-5, max_steps=400,
        fastmath=False, **options,
    )  # fmt: skip

    def solve(runs):
        args = (MU[runs], GROWTH[runs], BREAK[runs])
        return solver.solve((0.0, 2.0), np.tile(START, (len(runs), 1)), times, args=args)

    everybody = np.arange(len(MU))
    together = solve(everybody)
    assert len(set(together.status.tolist())) > 1
    found = numbers(together.summaries)
    order = np.random.default_rng(7).permutation(len(MU))
    assert np.array_equal(numbers(solve(order).summaries), found[order], equal_nan=True)
    for run in everybody:
        alone = numbers(solve(np.array([run])).summaries)
        assert np.array_equal(alone[0], found[run], equal_nan=True), run


@pytest.mark.parametrize("method", ["tsit5", "kvaerno3", "radau_iia_3", "ros3p"])
def test_no_summary_reads_what_nobody_wrote(method):
    """On the target where every fresh buffer is NaN, results are those of compiled code."""
    options = {"args": (2.0, 0.0, 0.0), "rtol": 1e-4, "fastmath": False}
    solved = [
        cubie.solve_ivp(
            mixed,
            (0.0, 2.0),
            [START],
            method,
            observables=observed_too,
            summaries=MIXED,
            backend=backend,
            **options,
        )
        for backend in ("python", "cpu")
    ]
    first, second = (numbers(one.summaries) for one in solved)
    assert np.allclose(first, second, rtol=1e-9, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("method", ["heun", "ros3p"])
def test_placements_agree_to_the_bit(method):
    """Where the numbers of summaries live changes none of them."""
    found = []
    for places in (
        {"locations": "local"},
        {"locations": "shared"},
        {"state_summary_location": "shared", "observable_summary_location": "local_persistent"},
    ):
        result = cubie.solve_ivp(
            mixed, (0.0, 2.0), np.tile(START, (3, 1)), method, observables=observed_too,
            args=(MU[:3], GROWTH[:3], BREAK[:3]), summaries=MIXED, fastmath=False, **places,
        )  # fmt: skip
        found.append(numbers(result.summaries))
        assert "loop.state_summary" in result.plan.placements
    assert np.array_equal(found[0], found[1], equal_nan=True)
    assert np.array_equal(found[0], found[2], equal_nan=True)


def test_they_compile_for_a_gpu():
    """A kernel with summaries is assembled for sm_90, and its rows of resources can be read."""
    solver = Solver(mixed, method="tsit5", observables=observed_too, summaries=MIXED, backend="cpu")
    solver.prepare(START, args=(2.0, 0.0, 0.0))
    assert solver.kernel.resources((9, 0)).registers > 0


# ---- failures, rounding -------------------------------------------------------------


def test_of_a_run_that_fails_they_are_of_its_time():
    """A run that blows up has the summaries up to where it got, as it has a last state."""
    result = cubie.solve_ivp(
        lambda t, y, k: [k * y[0] ** 2], (0.0, 2.0), [[1.0], [1.0]], args=(np.array([0.1, 1.0]),),
        summaries={0: ["max", "final", "argmax"]},
    )  # fmt: skip
    assert result.status[0] == 0
    assert result.status[1] < 0
    last = result.summaries[0]
    assert last["final"][1] == result.y[1, 0, 0] == last["max"][1]
    assert last["argmax"][1] == pytest.approx(result.t_reached[1])


def test_noise_makes_no_peaks_with_a_prominence():
    """A decay that ends in the noise of the tolerance has no peaks that stand out."""
    solver = Solver(lambda t, y: [-y[0]], rtol=1e-3, atol=1e-3)
    counts = [
        solver.solve((0.0, 200.0), [1.0], summaries={0: {"n": peaks(prominence=p)}}).summaries[0][
            "n"
        ]
        for p in (0.0, 0.01)
    ]
    assert np.all(np.isnan(counts[1].times))


def test_heights_and_counts_of_peaks():
    """Peaks below a height do not count; those beyond the first k are counted only."""
    rates = PROBLEMS["spiky"][3]
    fun, span, y0, _, method = PROBLEMS["spiky"]
    result = cubie.solve_ivp(
        fun, span, y0, method, args=(rates,), rtol=1e-8,
        summaries={0: {"all": peaks(k=1), "high": peaks(height=50.0), "low": negative_peaks(k=2)}},
    )  # fmt: skip
    found = result.summaries[0]
    assert np.all(np.isnan(found["high"].values))
    assert found["all"].times.shape == (3, 1)
    assert np.all(found["low"].values[1:] < -1.5)


def test_single_precision_keeps_what_it_can():
    """Means and integrals over many steps are not worse than single numbers are."""
    rates = np.array([1.0, 1.7, 3.0], np.float32)
    found = [
        cubie.solve_ivp(
            smooth, (0.0, 1000.0), [0.1, 1.0], args=(rates,), dtype=dtype, rtol=1e-5, atol=1e-6,
            summaries={0: ["rms", "max", "integral", "mean"]},
        ).summaries[0]
        for dtype in ("float64", "float32")
    ]  # fmt: skip
    for name in ("rms", "max", "mean"):
        assert np.allclose(found[0][name], found[1][name], atol=2e-2), name


# ---- one's own ----------------------------------------------------------------------


@attrs.frozen
class Swing(cubie.Summary):
    """The difference between the largest and the smallest value."""

    name = "swing"
    n_slots = 2

    def build_start(self, backend):
        def start(slots, at, mask, piece):
            for i in range(2):
                slots[at + i] = select(mask, piece.c0, slots[at + i])

        return start

    def build_update(self, backend):
        def update(slots, at, mask, piece):
            low = minimum(minimum(piece.at_turn1, piece.at_turn2), piece.end)
            high = maximum(maximum(piece.at_turn1, piece.at_turn2), piece.end)
            slots[at] = select(mask, minimum(low, slots[at]), slots[at])
            slots[at + 1] = select(mask, maximum(high, slots[at + 1]), slots[at + 1])

        return update

    def result(self, slots, clock):
        return slots[1] - slots[0]


@pytest.mark.parametrize("backend", ["cpu", "python"])
def test_a_summary_of_ones_own(backend):
    """A class like the built-in ones is all that it takes."""
    rates = PROBLEMS["smooth"][3]
    result = cubie.solve_ivp(
        smooth, (0.0, 10.0), [0.1, 1.0], args=(rates,), backend=backend,
        summaries={0: ["extrema", Swing()]},
    )  # fmt: skip
    extrema = result.summaries[0]["extrema"]
    assert np.array_equal(result.summaries[0]["swing"], extrema[:, 1] - extrema[:, 0])


# ---- bad input -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"v": "max"}, "no state or observable of this name.*There are: y0, y1"),
        ({"y0": "maxx"}, "did you mean 'max'"),
        ({0: ["max", "max"]}, "twice"),
        (["max"], "must be a mapping"),
        ({0: "crossings"}, "needs a level"),
        ({0: crossings}, "needs a level"),
        ({2: "max"}, "numbers from 0 to 1"),
        ({0: []}, "at least one"),
        ({0: 3}, "Give names"),
        ({1.5: "max"}, "names of states or observables"),
    ],
)
def test_what_cannot_be_summarised_is_told(given, message):
    with pytest.raises(InvalidOption, match=message):
        Solver(smooth, summaries=given).solve((0.0, 1.0), [0.1, 1.0], args=(1.0,))


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"window": (3, 2)}, InvalidOption, "must lie after its start"),
        ({"window": 3}, InvalidOption, "two finite numbers"),
        ({"window": (0.1, np.inf)}, InvalidOption, "For all from a time on give after=."),
        ({"after": "x"}, InvalidOption, "a finite number"),
        ({"after": np.inf}, InvalidOption, "For all of a run leave it out."),
        ({"after": 1, "window": (0, 1)}, InvalidOption, "not both"),
        ({"window": (20, 30)}, InvalidProblem, "has nothing"),
        ({"summaries": None, "after": 1}, InvalidOption, "none are asked for"),
    ],
)
def test_windows_that_are_none_are_told(given, error, message):
    with pytest.raises(error, match=message):
        oscillators().solve((0.0, 10.0), [0.1, 1.0], args=(1.0,), **given)


@pytest.mark.parametrize(
    "make",
    [
        lambda: crossings("a"),
        lambda: crossings(float("inf")),
        lambda: crossings(1.0, "upp"),
        lambda: peaks(k=-1),
        lambda: peaks(k=2.5),
        lambda: peaks(prominence=-1.0),
        lambda: peaks(height="high"),
        lambda: time_above(None),
    ],
)
def test_parameters_of_summaries_are_checked(make):
    with pytest.raises(InvalidOption, match="is "):
        make()


def test_without_summaries_there_is_nothing_of_them():
    """No buffer, no stages that are kept, and an empty result."""
    result = cubie.solve_ivp(smooth, (0.0, 1.0), [0.1, 1.0], args=(1.0,))
    assert result.summaries == {}
    assert result.status == RunStatus.SUCCESS
    assert not [name for name in result.plan.placements if "summary" in name]


MODEL = """
equations = ["dx = v", "dv = -k*x", "E = v*v + k*x*x"]
states = ["x", "v"]
observables = ["E"]
summaries = {x = ["max", "crossings(0.5, 'up', k=3)"], E = "mean"}
"""


def test_the_command_plans_them(tmp_path, monkeypatch):
    """Of a model in a file, and of a function by an option; what cannot be is told."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.toml").write_text(MODEL)
    (tmp_path / "model.py").write_text("def fun(t, y, k):\n    return [y[1], -k * y[0]]\n")
    # One number of all, one of each quantity, and those of the summaries.
    by_file = ("model.toml",), 1 + 1 + (1 + 5), 1 + 2
    function = ("model.py:fun", "--states", "2")
    by_option = (*function, "--summary", "y0:argmax", "--summary", "y1:max"), 1 + 2 + (2 + 1), 0
    for words, states, observables in (by_file, by_option):
        plan = json.loads(command(*words, "--format", "json").stdout)
        found = {b["name"]: b["n_elements"] for b in plan["problem"]["buffers"]}
        assert found["loop.state_summary"] == states
        assert found["loop.observable_summary"] == observables
    for wrong, message in (
        ("y0:maximum", "'max'"), ("y5:max", "no state or observable"), ("y0", "quantity:summary"),
        ("y0:crossings(open('x'))", "numbers"), ("y0:max(3)", "max"), ("y0:crossings(", "numbers"),
    ):  # fmt: skip
        told = command("model.py:fun", "--states", "2", "--summary", wrong, status=2)
        assert message in told.output, told.output


def test_the_table_of_the_page_is_what_was_measured():
    """It is the one kept in benchmarks/results, and a small measurement still has such errors."""
    kept = json.loads(next(RESULTS.glob("driven-*.json")).read_text())
    assert driven.table(kept) in (summaries_docs.PICTURE.parents[1] / "summaries.md").read_text()
    scales = np.array([0.5, 1.3])
    right = driven.by_scipy(scales, 1e-9, 1e-9, 50_001)
    errors = driven.errors(driven.summarised(scales), right)
    assert errors["n_peaks"] == 0.0
    assert max(errors[name] for name in ("max", "mean", "rms", "least I_Na")) < 1e-5


def test_the_picture_of_the_page_is_of_these_numbers():
    """Every hundredth of the runs that the picture shows still gives what it shows."""
    found = summaries_docs.sweep(summaries_docs.CURRENTS[::100])
    shown = re.search(r"<dc:description>(.*?)</dc:description>", summaries_docs.PICTURE.read_text())
    for name, values in json.loads(html.unescape(shown.group(1))).items():
        assert found[name] == pytest.approx(
            np.array(values), rel=1e-3, abs=0.5 * (name == "spikes")
        )


# ---- what must hold at the edges -----------------------------------------------------


@pytest.mark.parametrize("method", ["radau_iia_5", "rodas5p", "kvaerno5"])
def test_a_peak_where_two_steps_meet_is_one(method):
    """Interpolants that bend between steps make no second peak there, at loose tolerances."""
    rates = np.linspace(1.0, 3.0, 1000)
    turns = (rates * 20.0 - np.arctan2(1.0 / rates, 0.1)) / (2.0 * np.pi)
    certain = np.abs(turns - np.round(turns)) > 0.05
    result = cubie.solve_ivp(
        smooth, (0.0, 20.0), [0.1, 1.0], method, args=(rates,), rtol=1e-3, atol=1e-5,
        summaries={0: "n_peaks"},
    )  # fmt: skip
    wrong = result.summaries[0]["n_peaks"] != np.floor(turns).astype(int) + 1
    assert not np.any(wrong & certain)


EXTREME = [("float32", 1e21), ("float32", 1e-25), ("float64", 1e170), ("float64", 1e-170)]


@pytest.mark.parametrize(("dtype", "size"), EXTREME)
def test_very_large_and_very_small_quantities_are_summarised(dtype, size):
    """No square overflows or vanishes on the way to a deviation or a turning point."""
    result = cubie.solve_ivp(
        smooth, (0.0, 20.0), [0.1, 1.0], args=(1.0,), rtol=3e-6, atol=1e-8, dtype=dtype,
        observables={"q": lambda t, y, rate: y[0] * size}, summaries={"q": ["max", "std", "rms"]},
    )  # fmt: skip
    found = result.summaries["q"]
    wanted = expected(*reference_of(lambda t: 0.1 * np.cos(t) + np.sin(t), 20.0))
    for name in ("max", "std", "rms"):
        assert found[name] / size == pytest.approx(wanted[name], rel=2e-5), name


def reference_of(function, end):
    t = np.linspace(0.0, end, 20001)
    return function(t), t


def test_long_runs_in_single_precision_keep_their_digits():
    """Steps shorter than the clock's times lie apart neither distort slopes nor lose means."""
    span, n = (0.0, 5000.0), 500_000
    result = cubie.solve_ivp(
        lambda t, y: [y[1], -y[0], 0.0 * y[2] + 1e-3], span, [0.0, 1.0, 100.0], "rk4",
        dtype="float32", first_step=span[1] / n, max_steps=2 * n, save="final",
        summaries={0: ["derivative_extrema", "rms"], 2: "mean"},
    )  # fmt: skip
    low, high = result.summaries[0]["derivative_extrema"]
    assert max(abs(low + 1.0), abs(high - 1.0)) < 5e-3
    assert result.summaries[0]["rms"] == pytest.approx(0.5**0.5, rel=5e-3)
    # As far from the mean of what the state really did as its own rounding explains.
    assert result.summaries[2]["mean"] == pytest.approx(0.5 * (100.0 + result.y[2, -1]), rel=2e-5)


def test_what_is_no_number_has_no_summaries():
    """An observable that was infinite or NaN has no extremes of the rest; others are whole."""
    result = cubie.solve_ivp(
        smooth, (0.0, 10.0), [1.0, 0.0], args=(np.array([1.0, 0.1]),),
        observables={"root": lambda t, y, r: np.sqrt(y[0]), "cos": lambda t, y, r: y[0]},
        summaries={"root": ["max", "mean", "argmin", "n_peaks"], "cos": "min"}, rtol=1e-6,
    )  # fmt: skip
    root = result.summaries["root"]
    for name in ("max", "mean", "argmin"):
        assert np.isnan(root[name]).tolist() == [True, False], name
    assert root["max"][1] == pytest.approx(1.0)
    assert result.summaries["cos"]["min"][0] == pytest.approx(-1.0, abs=1e-4)


def test_many_events_and_many_quantities_compile():
    """Hundreds of times are kept, and tens of states followed, however deep that would nest."""
    n = 12
    result = cubie.solve_ivp(
        lambda t, y: [y[1], -y[0], *(-y[i] for i in range(2, n))], (0.0, 2000.0), [1.0] * n,
        max_step=0.5, rtol=1e-6, method="bogacki_shampine32", max_steps=10**6, save="final",
        summaries={0: peaks(k=500)} | {i: ["max", "mean", "min", "final"] for i in range(1, n)},
    )  # fmt: skip
    found = result.summaries[0]["peaks"]
    assert found.count == 319
    wanted = np.pi / 4.0 + 2.0 * np.pi * np.arange(319)
    assert np.allclose(found.times[:319], wanted, atol=0.05)
    assert np.all(np.isnan(found.times[319:]))
    assert result.summaries[n - 1]["max"] == 1.0


GAIN = 2.0


class Gained(cubie.Summary):
    """The first value, times what a global and an attribute say."""

    name = "gained"

    def __init__(self, own=1.0):
        object.__setattr__(self, "own", own)

    def build_start(self, backend):
        gain, own = backend.constant(GAIN), backend.constant(self.own)

        def start(slots, at, mask, piece):
            slots[at] = select(mask, own * gain * piece.c0, slots[at])

        return start

    def build_update(self, backend):
        def update(slots, at, mask, piece):
            pass

        return update


def test_a_summary_of_ones_own_is_taken_as_it_is(monkeypatch):
    """What it reads may change between two solves: no answer is of what it was before."""
    summary = Gained()
    solver = Solver(lambda t, y: [-y[0]], summaries={0: summary})

    def value():
        return solver.solve((0.0, 1.0), [1.0]).summaries[0]["gained"]

    assert value() == 2.0
    monkeypatch.setitem(globals(), "GAIN", 3.0)
    assert value() == 3.0
    object.__setattr__(summary, "own", 5.0)
    assert value() == 15.0
    assert Solver(lambda t, y: [-y[0]]).solve(
        (0.0, 1.0), [1.0], summaries={0: Gained}
    ).summaries == {0: {"gained": 3.0}}


class Unnamed(Gained):
    name = None


class Slotless(Gained):
    n_slots = 0


class Bare(cubie.Summary):
    name = "bare"


class Needy(Gained):
    def __init__(self, needed):
        super().__init__(needed)


class Unhashable(Gained):
    __hash__ = None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Unnamed(), "Unnamed.*its `name` is None"),
        (Slotless(), "`n_slots` is 0: it must be an int from 1"),
        (Bare(), "no `build_start` and no `build_update`"),
        (Needy, r"give an object, `Needy\(...\)`"),
        (Unhashable(), "cannot be hashed"),
    ],
)
def test_what_a_summary_of_ones_own_lacks_is_told(given, message):
    with pytest.raises(InvalidOption, match=message):
        Solver(smooth, summaries={0: given})


def test_counts_may_be_of_any_integer_type():
    """A number of NumPy's is a number."""
    assert peaks(k=np.int64(3)) == peaks(k=3)


def test_memory_that_summaries_take_is_told():
    """What is too large says how many numbers of each run are those of summaries."""
    kept = kept_of(SaveMode.FINAL, 10**9, (), np.dtype(np.float64))
    with pytest.raises(cubie.OutputsTooLarge, match=r"2,005 numbers of each run for summaries"):
        make_outputs(kept, 1, PerRun(2, 2005))
