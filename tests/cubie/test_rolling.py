"""Equations that repeat a form are loops, and say what straight-line text would say."""

import math
import random

import numpy as np
import pytest

from cubie import Interpolant, Solver
from cubie.systems.derivatives.choice import derivatives_of
from cubie.systems.from_function import trace
from cubie.systems.generated import is_arithmetic
from cubie.systems.rolling import rolled
from cubie.systems.tracing.checking import evaluate_source
from cubie.tableaus import all_methods

NEVER = 10**9


def ring(n):
    """Lorenz-96: two neighbours on one side and one on the other."""

    def fun(t, y):
        return [(y[(i + 1) % n] - y[i - 2]) * y[i - 1] - y[i] + 8.0 for i in range(n)]

    return fun


def brusselator(n):
    def fun(t, y, a, b):
        dy = []
        for i in range(0, n, 2):
            u, v = y[i], y[i + 1]
            left = (y[i - 2], y[i - 1]) if i else (1.0, 3.0)
            right = (y[i + 2], y[i + 3]) if i < n - 2 else (1.0, 3.0)
            dy.append(a + u * u * v - (b + 1.0) * u + 40.0 * (left[0] - 2.0 * u + right[0]))
            dy.append(b * u - u * u * v + 40.0 * (left[1] - 2.0 * v + right[1]))
        return dy

    return fun


def grid(n):
    """Diffusion on a square, whose edges have other equations."""
    side = math.isqrt(n)

    def fun(t, y):
        u = np.reshape(y, (side, side))
        flow = -4.0 * u
        flow[1:] += u[:-1]
        flow[:-1] += u[1:]
        flow[:, 1:] += u[:, :-1]
        flow[:, :-1] += u[:, 1:]
        return (flow + np.sin(t)).ravel()

    return fun


def dense(n):
    matrix = np.random.default_rng(0).normal(size=(n, n)) / n - np.eye(n)

    def fun(t, y):
        return matrix @ y

    return fun


def oscillators(n):
    """Kuramoto's: a sum over all within an expression, each with a parameter of its own."""

    def fun(t, y, omega, coupling):
        return [
            omega[i] + coupling / n * sum(math.sin(y[j] - y[i]) for j in range(n) if j != i)
            for i in range(n)
        ]

    return fun


def network(n, seed=1):
    """Reactions of mass action: rows with other numbers of terms of several kinds."""
    draw = random.Random(seed)
    reactions = [
        (draw.choices(range(n), k=draw.choice((1, 1, 2))), draw.choices(range(n), k=2))
        for _ in range(3 * n)
    ]

    def fun(t, y, rates):
        dy = [0.0] * n
        for (taken, made), rate in zip(reactions, rates * (3 * n // len(rates)), strict=True):
            speed = rate
            for i in taken:
                speed = speed * y[i]
            for i in taken:
                dy[i] = dy[i] - speed
            for i in made:
                dy[i] = dy[i] + speed
        return dy

    return fun


def bounded(x):
    """Like tanh, which has other bits on other numbers of lanes."""
    return x / np.sqrt(1.0 + x * x)


def neurons(n):
    """All rows read a function of all states; the last are coupled to a few."""
    weights = np.random.default_rng(1).normal(size=(n, n)) / n
    weights[-4:, 5:] = 0.0

    def fun(t, y):
        return -y + weights @ bounded(y)

    return fun


def rates(n):
    """Entries of a row of the Jacobian have a long sum in common."""
    weights = np.random.default_rng(2).normal(size=(n, n)) / n

    def fun(t, y, gain):
        return bounded(gain * (weights @ y)) - y

    return fun


def flows(n):
    """What leaves a place comes to the next one; the first and the last have one neighbour."""

    def fun(t, y, k):
        flow = k * bounded(y[:-1] - y[1:])
        dy = -0.1 * y
        dy[:-1] -= flow
        dy[1:] += flow
        return dy

    return fun


def cascade(n):
    """Sums over all before, each of which goes on from the one before it."""

    def fun(t, y):
        total = np.cumsum(np.exp(-y) * np.cos(t))
        return np.sin(total) - y

    return fun


def turns(n):
    """Two recurrences that need each other."""

    def fun(t, y):
        a, b, dy = y[0], y[1] * math.exp(-0.1), []
        for i in range(n):
            a, b = np.sin(b) + y[i], np.cos(a) * y[i]
            dy.append(a - b - y[i])
        return dy

    return fun


def field(n):
    """One number that all rows read, and a form of theirs that is short without."""

    def fun(t, y, strength):
        mean = strength * np.sum(np.sin(y)) / n
        return mean * np.cos(y) - y

    return fun


def centred(n):
    """A mean within a function that rows read: their Jacobian's entries have sums in common."""
    weights = np.random.default_rng(3).normal(size=(n, n)) / n

    def fun(t, y):
        return weights @ bounded(y - np.mean(y)) - y

    return fun


def shares(n):
    """What all rows read is divided by the sum of it, and sums of that are read again."""
    weights = np.random.default_rng(4).normal(size=(n, n)) / n

    def fun(t, y):
        size = 1.5 + bounded(y)
        return weights @ (size / np.sum(size)) - y

    return fun


SYSTEMS = {
    "ring": (ring, ()),
    "brusselator": (brusselator, (1.0, 3.0)),
    "grid": (grid, ()),
    "dense": (dense, ()),
    "oscillators": (oscillators, ([0.1 * i for i in range(38)], 0.7)),
    "network": (network, ([0.3, 0.5, 1.1],)),
}
WITH_COMMON = {
    "neurons": (neurons, ()),
    "rates": (rates, (1.5,)),
    "flows": (flows, (0.8,)),
    "cascade": (cascade, ()),
    "turns": (turns, ()),
    "field": (field, (0.7,)),
    "centred": (centred, ()),
    "shares": (shares, ()),
}


@pytest.fixture
def always(monkeypatch):
    """Have loops wherever there can be any."""
    monkeypatch.setattr(rolled, "LEAST_OPERATIONS", 0)
    monkeypatch.setattr(rolled, "LEAST_IN_LOOP", 2)
    monkeypatch.setattr(rolled, "MOST_COSTS", ((0, math.inf),))
    monkeypatch.setattr(rolled, "MOST_TEXT", math.inf)
    monkeypatch.setattr(rolled, "LEAST_WITH_COMMON", 0)


@pytest.fixture
def keeping(always, monkeypatch):
    """Keep what outputs have in common wherever there is something."""
    monkeypatch.setattr(rolled, "MOST_OF_COST", math.inf)


def as_text(monkeypatch):
    """Have no loops."""
    monkeypatch.setattr(rolled, "LEAST_OPERATIONS", NEVER)


def anew(fun):
    """Return the same function as another one, of which nothing is kept."""

    def again(t, y, *args):
        return fun(t, y, *args)

    return again


def has_loops(fun, n, args):
    return "for i in range(" in trace(fun, n, args).source


def values(system, t, y, parameters):
    """Return what the functions of a system give, in plain Python."""
    n, nan = system.n_states, math.nan
    found = {"rhs": [0.0] * (n + 1)}
    evaluate_source(system.source)(t, y, parameters, found["rhs"], 1)
    derivatives, products = derivatives_of(system), derivatives_of(system, products=True)
    size = len(derivatives.pattern)
    for name in ("jacobian", "diagonal", "time_derivative"):
        out, of = [0.0] * (max(n, size) + 2), products if name == "diagonal" else derivatives
        kept = [[nan] * of.common[name]] if name in of.common else []
        getattr(of.module, name)(t, y, parameters, *kept, out, 2)
        found[name] = out
    found["jvp"] = [0.0] * (n + 3)
    vector = [math.cos(i) for i in range(n + 1)]
    kept = [[nan] * products.common["jvp"]] if "jvp" in products.common else []
    products.module.jvp(t, y, parameters, *kept, vector, 1, found["jvp"], 3)
    return found, derivatives.pattern


def parameters_of(args):
    return [x for arg in args for x in (arg if isinstance(arg, list) else [arg])]


@pytest.mark.parametrize("name", [*SYSTEMS, *WITH_COMMON])
def test_loops_say_what_text_says(name, keeping, monkeypatch, tmp_path):
    """To the bit, where nothing fuses products with sums."""
    make, args = {**SYSTEMS, **WITH_COMMON}[name]
    n, y = 36, [0.5 + math.sin(i) ** 2 for i in range(36)]
    fun = make(n)
    in_loops = trace(fun, n, args, cache_dir=tmp_path / "loops")
    found = values(in_loops, 0.3, y, parameters_of(args))
    assert "for i in range(" in in_loops.source
    assert not in_loops.module.IN_PLACE
    if name in WITH_COMMON:
        assert in_loops.n_common or derivatives_of(in_loops).common
    assert is_arithmetic(in_loops.source)
    as_text(monkeypatch)
    text = trace(make(n), n, args, cache_dir=tmp_path / "text")
    assert "for i in range(" not in text.source
    assert found == values(text, 0.3, y, parameters_of(args))


@pytest.mark.parametrize("seed", range(12))
def test_random_networks_are_alike(seed, always, monkeypatch, tmp_path):
    """Whatever kinds of terms a row has, in whatever order."""
    n, rates = 20, [0.1 * (i + 1) for i in range(60)]
    y = [0.5 + math.sin(i) ** 2 for i in range(n)]
    found = values(trace(network(n, seed), n, (rates,), cache_dir=tmp_path / "a"), 0.0, y, rates)
    as_text(monkeypatch)
    assert found == values(
        trace(network(n, seed), n, (rates,), cache_dir=tmp_path / "b"), 0.0, y, rates
    )


@pytest.mark.parametrize("make", [ring, brusselator, dense])
def test_text_does_not_grow_with_the_number_of_states(make, tmp_path):
    """Three times the states, as many lines: of the right-hand side and of its derivatives."""
    args = (1.0, 3.0) if make is brusselator else ()
    lines = []
    for n in (80, 240) if make is dense else (600, 1800):
        system = trace(make(n), n, args, cache_dir=tmp_path)
        derivatives = derivatives_of(system)
        code = derivatives.path.read_text().partition("def jacobian")[2]
        code = code.partition("def time_derivative")[0]  # so short that it stays text
        lines.append((system.source.count("\n"), code.count("\n")))
    assert lines[0] == lines[1]
    assert lines[0][0] < 60


@pytest.mark.parametrize(("n", "loops"), [(60, False), (140, True)])
def test_long_text_of_cheap_operations_is_loops(n, loops, tmp_path):
    """Twice the additions, but code and values that stay near the processor: they are faster."""
    rates = [0.1 * (i + 1) for i in range(3 * n)]
    system = trace(network(n, 1), n, (rates,), cache_dir=tmp_path)
    assert ("for i in range(" in system.source) == loops


@pytest.mark.parametrize("make", [centred, shares])
def test_sums_that_need_sums_are_loops(make, tmp_path):
    """A sum, what is divided by it, and sums of that for each row: one loop after another."""
    code = derivatives_of(trace(make(36), 36, cache_dir=tmp_path)).path.read_text()
    jacobian = code.partition("def jacobian")[2].partition("def time_derivative")[0]
    assert jacobian.count("for i in range(") >= 5
    assert jacobian.count("\n") < 200


def test_names_of_states_do_not_meet_those_of_loops(always, tmp_path):
    names = ["i", "k", "range", "table", "_at_0", "_value_1", "_total_2", "x0", "dy", "at"]
    names += [f"y{k}" for k in range(10, 60)]

    def fun(t, y):
        total = y[0] * 1.5
        for k in range(1, 60):
            total = total + (k + 0.25) * y[k]
        return [
            total * y[0] - y[7],
            *(y[k - 1] * y[k] - 2.0 * y[(7 * k) % 60] for k in range(1, 60)),
        ]

    system = trace(fun, 60, names=names, cache_dir=tmp_path)
    y, found = [0.5 + math.sin(i) ** 2 for i in range(60)], [0.0] * 60
    assert "for k in range(" in system.source
    evaluate_source(system.source)(0.0, y, [], found, 0)
    assert found == fun(0.0, y)


def test_a_few_states_stay_text(tmp_path):
    """What compiles soon is not made loops of."""
    assert "for " not in trace(ring(20), 20, cache_dir=tmp_path).source


def test_calls_of_drivers_are_no_operations_of_loops(always, tmp_path):
    """What loops compute is numbered anew, from below the numbers of calls."""
    u = Interpolant([0.0, 1.0, 2.0], [0.5, 1.5, 1.0])

    def fun(t, y):
        dy = []
        for value in y:
            total = value * u(t)
            for _ in range(20):
                total = np.cos(total) * value
            dy.append(total)
        return dy

    system = trace(fun, 8, cache_dir=tmp_path)
    assert system.kind == "traced", system.note
    assert "for i in range(8)" in system.source


def ways_to_solve():
    """Yield a method of each family, and linear solvers that ask for other derivatives."""
    for method in ("tsit5", "rosenbrock23", "kvaerno3", "radau_iia_5", "bdf", "auto"):
        yield {"method": method}
    yield {"method": "kvaerno3", "linear_solver": "minimal_residual", "preconditioner": "jacobi"}
    yield {"method": "rosenbrock23", "linear_solver": "bicgstab"}
    yield {"method": "bdf", "linear_solver": "gmres", "preconditioner": "banded"}


@pytest.mark.parametrize("options", list(ways_to_solve()), ids=lambda one: "-".join(one.values()))
def test_what_is_kept_lives_as_long_as_it_is_read(options, keeping, monkeypatch):
    """To the bit as text, wherever the memory lies, with all that nobody owns overwritten."""
    fun = neurons(8)

    def solve(fun, **changes):
        solver = Solver(fun, backend="python", rtol=1e-3, atol=1e-5, **options, **changes)
        return solver, solver.solve((0.0, 0.3), np.linspace(0.2, 1.0, 8), [0.1, 0.3])

    solver, kept = solve(fun)
    assert solver.plan.placements["loop.common_values"].n_elements == 8
    for location in ("shared", "local_persistent"):
        moved = solve(fun, common_values_location=location)[1]
        assert np.array_equal(kept.y, moved.y)
    as_text(monkeypatch)
    solver, text = solve(anew(fun))
    assert solver.plan.placements["loop.common_values"].size_bytes == 0
    assert text.success
    if "linear_solver" in options:  # text is of the product and its scaling at once
        assert np.allclose(kept.y, text.y, rtol=1e-4)
    else:
        assert np.array_equal(kept.y, text.y)
        assert kept.n_steps == text.n_steps


@pytest.mark.parametrize("method", ["bosh3", "rosenbrock23"])
@pytest.mark.parametrize("breaks", [False, True])
def test_drivers_and_breaks_go_with_what_is_kept(method, breaks, keeping, monkeypatch):
    """What a right-hand side is given beside its state holds all of them."""
    u = Interpolant([0.0, 0.1, 0.3], [0.5, 1.5, 1.0], "previous" if breaks else "linear")
    weights = np.random.default_rng(1).normal(size=(6, 6))

    def fun(t, y):
        return weights @ np.tanh(y) + u(t) * y * u(0.1 + 0.1 * y[0])

    def solve(fun):
        solver = Solver(fun, method=method, backend="python", rtol=1e-3, atol=1e-5)
        return solver, solver.solve((0.0, 0.3), np.linspace(0.2, 1.0, 6), [0.1, 0.3])

    solver, kept = solve(fun)
    assert solver.plan.placements["loop.common_values"].n_elements == 6
    as_text(monkeypatch)
    text = solve(anew(fun))[1]
    assert text.success
    assert np.array_equal(kept.y, text.y)


def cases_of_methods():
    """Yield names of systems, methods and dtypes."""
    methods = sorted(all_methods(), key=lambda name: (name != "tsit5", name))
    for dtype in ("float64", "float32"):
        for method in methods:
            for name in ("neurons", "ring", "network", "rates", "dense", "oscillators", "flows"):
                yield name, method, dtype


@pytest.mark.parametrize(("name", "method", "dtype"), list(cases_of_methods()))
def test_compiled_loops_are_right_in_any_company(name, method, dtype, always, monkeypatch):
    """Near text, to the bit the same over lanes and beside others."""
    make, args = {**SYSTEMS, **WITH_COMMON}[name]
    # Four rows are added up together, and two are left.
    n = 22
    y0 = np.random.default_rng(3).uniform(0.5, 1.0, (11, n))
    tolerance = 1e-6 if dtype == "float64" else 1e-4
    options = {"rtol": tolerance, "atol": 0.01 * tolerance, "dtype": dtype}
    if not all_methods()[method].has_error_estimate:
        options = {"dt": 0.01, "dtype": dtype}

    def solve(y0, lanes, fun):
        solver = Solver(fun, method=method, backend="cpu", lanes=lanes, **options)
        return solver.solve((0.0, 0.2), y0, args=args)

    fun = make(n)
    assert has_loops(fun, n, args)
    together = solve(y0, 8, fun)
    assert (together.status == 0).all()
    other = solve(y0, 16 if dtype == "float32" else 4, fun)
    assert np.array_equal(together.y, other.y)
    assert np.array_equal(together.n_steps, other.n_steps)
    alone = solve(y0[7:8], 8, fun)
    assert np.array_equal(together.y[7], alone.y[0])
    as_text(monkeypatch)
    text_of_it = anew(fun)
    assert not has_loops(text_of_it, n, args)
    text = solve(y0, 8, text_of_it)
    assert np.allclose(together.y, text.y, rtol=20 * tolerance, atol=0.2 * tolerance)


def test_a_gpu_gets_loops_too():
    """Of text the code would be 18,000 lines."""
    solver = Solver(ring(320), method="tsit5", device="sm_90", verify=False, locations="local")
    solver.prepare(np.ones((64, 320)))
    assert len(solver.resources().ptx.splitlines()) < 9000
