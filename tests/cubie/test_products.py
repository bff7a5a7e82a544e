"""Products of constant matrices that are kept whole, against a term for each entry of them."""

import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from cubie import Solver
from cubie.systems import derivatives_of, trace
from cubie.systems.derivatives.scaled import scaled_module
from cubie.systems.drivers.interpolant import Interpolant
from cubie.systems.generated import is_arithmetic
from cubie.systems.symbolic.from_trace import expressions
from cubie.systems.tracing import products
from cubie.systems.tracing.expression import Graph

N = 13


def matrix(rows=N, columns=N, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, columns)) / columns


def linear(t, y):
    return matrix() @ y


def inside(t, y):
    return matrix() @ np.tanh(y) - y


def outside(t, y, slope):
    return slope * np.tanh(matrix() @ y + t) - y


def mirrored(t, y):
    return np.dot(matrix(), y[::-1]) - y @ matrix(seed=1)


def two_vectors(t, y):
    both = matrix()
    return both @ np.sin(y) * (both @ np.cos(y))


def bordered(t, y):
    """Vectors with numbers in them, and with entries of two states or of none that changes."""
    ends = np.concatenate([[0.5], y[1:] * y[:-1], [t]])
    return matrix(N, N + 1) @ ends


def of_few(t, y):
    """Rows of no product, and states that are in none."""
    dy = np.zeros_like(y)
    dy[3:11] = matrix(8, 9) @ np.sqrt(1.0 + y[2:11] ** 2)
    dy[11:] = dy[5] * y[0]
    return dy - np.mean(y)


def layers(t, y):
    return matrix(N, 7, 1) @ np.tanh(matrix(7, N) @ y + t) - y


def linear_layers(t, y):
    return matrix(N, 7, 1) @ (matrix(7, N) @ y)


def layers_of_few(t, y):
    """Columns of the Jacobian that are not full."""
    dy = -1.0 * y
    dy[:6] = matrix(6, 7, 1) @ np.tanh(matrix(7, 8) @ y[5:])
    return dy


def centred(t, y):
    return matrix() @ (y - np.mean(y))


SYSTEMS = {
    each.__name__: each
    for each in (
        *(linear, inside, outside, mirrored, two_vectors, bordered, of_few, layers, linear_layers),
        *(layers_of_few, centred),
    )
}
OF_LAYERS = {"layers", "linear_layers", "layers_of_few", "centred"}


@pytest.fixture
def of_any_size(monkeypatch):
    """Keep products of small matrices whole, too."""
    monkeypatch.setattr(products, "LEAST_ENTRIES", 2)


def args_of(name):
    return (0.7,) if name == "outside" else ()


def traced(name, tmp_path):
    return trace(SYSTEMS[name], N, args_of(name), cache_dir=tmp_path)


def evaluated(system, t=0.3):
    """Return what each function of a system gives, the Jacobian as a matrix."""
    y, p, nan = [math.sin(i + 1.0) for i in range(N)], [0.7] * system.n_parameters, math.nan
    derivatives = derivatives_of(system)
    vector = [math.cos(i) for i in range(N + 1)]
    found = {"rhs": [0.0] * (N + 1)}
    system.rhs(t, y, p, *([[nan] * system.n_common] if system.n_common else []), found["rhs"], 1)
    entries = [nan] * (len(derivatives.pattern) + 2)
    for name, given, out, at in (
        ("jacobian", (), entries, 2),
        ("diagonal", (), found.setdefault("diagonal", [nan] * (N + 1)), 1),
        ("time_derivative", (), found.setdefault("by time", [nan] * N), 0),
        ("jvp", (vector, 1), found.setdefault("jvp", [nan] * N), 0),
    ):
        of = derivatives_of(system, products=name in ("jvp", "diagonal"))
        kept = [[nan] * of.common[name]] if name in of.common else []
        getattr(of.module, name)(t, y, p, *kept, *given, out, at)
    found["jacobian"] = np.zeros((N, N))
    for place, value in zip(derivatives.pattern, entries[2:], strict=True):
        found["jacobian"][place] = value
    return found, derivatives


@pytest.mark.parametrize("name", [*SYSTEMS])
def test_products_say_what_their_terms_say(name, of_any_size, monkeypatch, tmp_path):
    """The function to the bit, derivatives to rounding; and what is known of them."""
    whole = traced(name, tmp_path / "whole")
    assert "PRODUCTS = " in whole.source
    assert whole.n_common
    assert is_arithmetic(whole.source)
    found, derivatives = evaluated(whole)
    assert is_arithmetic(derivatives.path.read_text())
    monkeypatch.setattr(products, "LEAST_ENTRIES", math.inf)
    apart = traced(name, tmp_path / "apart")
    assert "PRODUCTS" not in apart.source
    expected, others = evaluated(apart)
    assert found["rhs"] == expected["rhs"]
    for key, values in expected.items():
        np.testing.assert_allclose(found[key], values, rtol=1e-13, atol=1e-14, err_msg=key)
    assert derivatives.pattern == others.pattern
    assert derivatives.autonomous == others.autonomous
    assert derivatives.constant == others.constant


@pytest.mark.parametrize("name", [*SYSTEMS])
def test_expressions_of_products_are_those_of_their_terms(name, of_any_size, monkeypatch, tmp_path):
    """Whoever reads a system as expressions sees sums, unless products are asked for."""
    whole = traced(name, tmp_path / "whole")
    monkeypatch.setattr(products, "LEAST_ENTRIES", math.inf)
    apart, graph = traced(name, tmp_path / "apart"), Graph()
    outputs = [expressions(each, graph)[1] for each in (whole, apart)]
    assert all(a is b for a, b in zip(*outputs, strict=True))
    keeping = Graph()
    keeping.keeps_products = True
    kept = expressions(whole, keeping)[1]
    assert [len(products.products_in(values)) > 0 for values in (kept, *outputs)] == [1, 0, 0]
    written = [
        scaled_module(each, {(i, i): 1.0 for i in range(N)}, True) for each in (whole, apart)
    ]
    out = [[0.0] * N, [0.0] * N]
    for module, values in zip(written, out, strict=True):
        y = [math.sin(i + 1.0) for i in range(N)]
        module.product(3.0, 0.3, y, [0.7], [math.cos(i) for i in range(N)], 0, values, 0)
    assert out[0] == out[1]


@pytest.mark.parametrize("n", [64, 400])
@pytest.mark.parametrize("make", ["inside", "layers"])
def test_nothing_grows_with_the_entries_of_a_matrix(make, n, tmp_path):
    """Lines are as many for any size; nodes are a few for each state, not for each entry."""
    first, second = np.random.default_rng(1).normal(size=(2, n, n)) / n

    def inside(t, y):
        return first @ np.tanh(y) - y

    def layers(t, y):
        return second @ np.tanh(first @ y) - y

    system = trace({"inside": inside, "layers": layers}[make], n, cache_dir=tmp_path)
    graph = Graph()
    graph.keeps_products = True
    expressions(system, graph)
    assert len(graph.nodes) < 8 * n
    derivatives = derivatives_of(system)
    assert len(derivatives.pattern) == n * n
    text = derivatives.path.read_text().rpartition('"""\nAUTONOMOUS')[2]
    text = text.partition("def time_derivative")[0]  # so short that it stays text
    assert system.source.count("\n") < 70
    assert text.count("\n") < 150


@pytest.mark.parametrize(
    "given",
    [
        matrix() * (np.random.default_rng(2).uniform(size=(N, N)) < 0.4),  # few entries
        matrix() + np.inf,
        matrix() + 1j,
        matrix() > 0.0,
        matrix(1, 1),
    ],
    ids=["sparse", "infinite", "complex", "of conditions", "small"],
)
def test_other_matrices_are_as_before(given, monkeypatch):
    """What is no dense matrix of numbers is a term for each entry."""
    monkeypatch.setattr(products, "LEAST_ENTRIES", N)
    graph = Graph()
    graph.keeps_products = True
    entries = np.empty(given.shape[1], object)
    entries[:] = [graph.leaf("y", i) for i in range(given.shape[1])]
    assert products.matrix_product(given, entries) is None
    assert products.matrix_product(matrix(), np.ones(N)) is None
    assert products.matrix_product(matrix(2, N), np.stack([entries] * N)) is None


@pytest.mark.parametrize(
    ("method", "name"),
    [("rosenbrock23", "inside"), ("bosh3", "outside"), ("radau_iia_5", "layers_of_few")],
)
def test_runs_are_right_in_any_company(method, name, of_any_size):
    """Alone and beside eight others, to the bit; and as SciPy has them."""
    start = np.sin(np.arange(9.0)[:, None] + np.arange(N))
    options, args = {"rtol": 1e-6, "atol": 1e-9, "save": "final"}, args_of(name)
    solver = Solver(SYSTEMS[name], method=method, backend="cpu", **options)
    together = solver.solve((0.0, 1.0), start, args=args).y[4, :, -1]
    alone = solver.solve((0.0, 1.0), start[4:5], args=args).y[0, :, -1]
    np.testing.assert_array_equal(together, alone)
    reference = solve_ivp(SYSTEMS[name], (0.0, 1.0), start[4], args=args, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(together, reference.y[:, -1], rtol=1e-4, atol=1e-5)
    plain = Solver(SYSTEMS[name], method=method, backend="python", **options)
    plain = plain.solve((0.0, 1.0), start[4:5], args=args).y[0, :, -1]
    np.testing.assert_allclose(plain, together, rtol=1e-4, atol=1e-5)


def test_drivers_beside_products_are_terms(of_any_size):
    """What a driver is called with may need any of them."""
    force = Interpolant(np.linspace(0.0, 2.0, 9), np.linspace(0.0, 1.0, 9) ** 2)

    def fun(t, y, u):
        return matrix() @ y + u(t) - y

    y0 = np.ones(N)
    solver = Solver(fun, method="rosenbrock23", backend="python")
    assert solver.solve((0.0, 1.0), y0, args=(force,)).success


@pytest.mark.parametrize(
    "line",
    ["product_1(y, 0, dy, at)", "rhs(t, y, p, dy, at)", "print(y)", "_value_0(y, 0, dy, at)"],
)
def test_modules_call_what_is_theirs_alone(line, of_any_size, tmp_path):
    """A text that calls anything but a function before it is no generated module."""
    source = traced("linear", tmp_path).source
    call = next(each for each in source.splitlines() if each.startswith("    product_0("))
    assert is_arithmetic(source)
    assert not is_arithmetic(source.replace(call, f"    {line}"))
