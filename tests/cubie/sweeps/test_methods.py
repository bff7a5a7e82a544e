"""Runs of a sweep are those of `solve_ivp`, to the last bit: of every method, however swept."""

import itertools

import numpy as np
import pytest

import cubie
from cubie.tableaus import all_methods, get_method
from tests.cubie.sweeps.alone import grid_rows, require_same

# What is swept, and in which range: in `cases` two names, of which the first may be an axis alone.
RANGES = {
    "a": (0.5, 1.5), "k[2]": (0.1, 0.4), "k[-2]": (0.3, 0.8), "p['b']": (0.2, 0.6),
    "p['c'][1]": (0.9, 1.4), "m[1, 0]": (0.1, 0.3), "y0[0]": (0.5, 1.0), "y1": (-0.2, 0.3),
    "t_start": (0.0, 0.2), "t_end": (0.8, 1.0),
}  # fmt: skip
PAIRS = {
    "numbers and entries": ("a", "k[2]"), "entries from the end": ("k[-2]", "k[2]"),
    "dictionaries": ("p['b']", "p['c'][1]"), "arrays": ("m[1, 0]", "p['b']"),
    "states": ("y0[0]", "y1"), "times": ("t_start", "t_end"), "all kinds": ("y1", "a"),
    "an end and a state": ("t_end", "y0[0]"),
}  # fmt: skip
FACTORS = {
    "swept": tuple(PAIRS),
    "space": ("grid", "zipped", "table", "sampled", "product"),
    "saved": ("final", "times", "exact times"),
    "more": ("nothing", "summaries", "observables", "events"),
    "dtype": ("float64", "float32"),
    "linear_solver": ("lu", "bicgstab", "gmres"),
    "n_a_chunk": (1, 2, 5, 100),
}
TIMES = np.array([0.25, 0.5, 0.75])


def swinging(t, y, a, k, p, m):
    force = p["b"] * np.cos(t) + p["c"][1] * m[1, 0]
    return [k[0] * y[1] + 0.1 * force, -a * y[0] - k[2] * y[1] + k[1] * force]


def crossing(t, y, a, k, p, m):
    return y[0] - 0.6 * a


def energy(t, y, a, k, p, m):
    return {"energy": y[1] * y[1] + a * y[0] * y[0], "work": p["b"] * y[1]}


def covering(factors, methods):
    """Return cases in which all values of any two factors meet, and every method once."""
    names = list(factors)
    numbers = {name: range(len(factors[name])) for name in names}
    left = {
        ((a, i), (b, j))
        for a, b in itertools.combinations(names, 2)
        for i in numbers[a]
        for j in numbers[b]
    }
    random, cases = np.random.default_rng(0), []
    while left or len(cases) < len(methods):
        tried = []
        for _ in range(50):
            chosen = tuple((name, int(random.integers(len(numbers[name])))) for name in names)
            tried.append((len(left & set(itertools.combinations(chosen, 2))), chosen))
        _, chosen = max(tried)
        left -= set(itertools.combinations(chosen, 2))
        case = {name: factors[name][i] for name, i in chosen}
        cases.append({"method": methods[len(cases) % len(methods)], **case})
    return cases


CASES = covering(FACTORS, list(all_methods()))


def space_and_rows(kind, names):
    """Return what is swept, and the values of each run."""
    first, second = ({name: np.linspace(*RANGES[name], n) for name in names} for n in (3, 2))
    grids = {names[0]: first[names[0]], names[1]: second[names[1]]}
    if kind == "grid":
        return cubie.grid(grids), grid_rows(**grids)
    if kind == "product":
        space = cubie.grid({names[0]: grids[names[0]]}) * cubie.zipped({names[1]: grids[names[1]]})
        return space, grid_rows(**grids)
    if kind == "sampled":
        space = cubie.sampled(5, {name: RANGES[name] for name in names}, by="halton", seed=3)
        drawn = space.of_runs(np.arange(5))
        return space, [{name: float(drawn[name][run]) for name in names} for run in range(5)]
    rows = np.stack([RANGES[name][0] + np.array([0.0, 0.2, 0.1, 0.05]) for name in names], axis=1)
    told = [dict(zip(names, map(float, row), strict=True)) for row in rows]
    if kind == "table":
        return cubie.table(rows, names), told
    return cubie.zipped({name: rows[:, i] for i, name in enumerate(names)}), told


def run_of(values):
    """Return (t_span, y0, args) of the run that has these values."""
    get = {**dict.fromkeys(RANGES), **values}.get

    def given(name, usual):
        value = get(name)
        return usual if value is None else value

    k = [0.9, given("k[-2]", 0.5), given("k[2]", 0.2)]
    p = {"b": given("p['b']", 0.4), "c": [1.0, given("p['c'][1]", 1.1)]}
    m = np.array([[1.0, 2.0], [given("m[1, 0]", 0.2), 4.0]])
    span = given("t_start", 0.0), given("t_end", 1.0)
    y0 = [given("y0[0]", 1.0), given("y1", 0.0)]
    return span, y0, (given("a", 1.0), k, p, m)


def options_of(case, backend):
    """Return the options, and the times to keep, of a case."""
    method = get_method(case["method"])
    options = {"method": case["method"], "dtype": case["dtype"], "backend": backend,
               "rtol": 1e-3, "atol": 1e-4}  # fmt: skip
    if not method.has_error_estimate:
        options["first_step"] = 0.1
    if method.implicit:
        options["linear_solver"] = case["linear_solver"]
    options |= {
        "nothing": {},
        "summaries": {"summaries": {"y0": ["max", "mean"], 1: ["min", "extrema"]}},
        "observables": {"observables": energy},
        "events": {"events": crossing, "max_events": 2},
    }[case["more"]]
    if case["saved"] == "exact times":
        options["t_eval_exact"] = True
    return options, None if case["saved"] == "final" else TIMES


def require_case(case, backend, together):
    """Compare a sweep with its runs."""
    space, rows = space_and_rows(case["space"], PAIRS[case["swept"]])
    options, times = options_of(case, backend)
    span, y0, args = run_of({})
    sweep = cubie.sweep(
        swinging, span, y0, over=space, args=args, t_eval=times, chunk=case["n_a_chunk"], **options
    )
    sweep.run(progress=False)
    runs = [run_of(row) for row in rows]
    require_same(sweep, runs, swinging, t_eval=times, together=together, **options)


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case.values())))
def test_runs_are_those_of_solve_ivp(case):
    """Whatever is swept, of every method: what is kept is, to the bit, what a run alone gives."""
    require_case(case, "python", together=True)


def test_all_values_of_any_two_factors_meet():
    """The cases leave out no method, and no two values of different factors."""
    assert {case["method"] for case in CASES} == set(all_methods())
    for a, b in itertools.combinations(FACTORS, 2):
        met = {(case[a], case[b]) for case in CASES}
        assert met == set(itertools.product(FACTORS[a], FACTORS[b]))


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case.values())))
def test_compiled_runs_are_those_of_solve_ivp(case):
    """The same of compiled kernels, whose lanes take runs together."""
    require_case(case, "cpu", together=True)
