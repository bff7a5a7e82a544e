"""Right-hand sides as people write them: the traced form must give what the function gives."""

import ast
import functools
import math
import math as m
from math import exp, sqrt

import numpy as np
import numpy as numerics
import pytest
from numpy import array, cos, empty, where, zeros_like
from scipy.special import expit

from cubie.systems import trace
from cubie.systems.tracing.checking import evaluate_source

RATES = {"slow": 0.04, "fast": 3e7}
MATRIX = np.random.default_rng(1).normal(size=(4, 4))
TABLE_TIMES = np.array([0.0, 1.0, 2.0, 4.0])
TABLE_VALUES = [0.0, 2.0, -1.0, 0.5]


def lorenz(t, state, sigma, rho, beta):
    x, y, z = state
    return sigma * (y - x), x * (rho - z) - y, x * y - beta * z


def lotka_volterra(t, z, a, b, c, d):
    return [a * z[0] - b * z[0] * z[1], -c * z[1] + d * z[0] * z[1]]


def lorenz96_roll(t, x, forcing):
    return (np.roll(x, -1) - np.roll(x, 2)) * np.roll(x, 1) - x + forcing


def lorenz96_comprehension(t, x, forcing):
    n = len(x)
    return [(x[(i + 1) % n] - x[i - 2]) * x[i - 1] - x[i] + forcing for i in range(n)]


def lorenz96_loop(t, x, forcing, n):
    d = np.zeros(n)
    for i in range(n):
        d[i] = (x[(i + 1) % n] - x[i - 2]) * x[i - 1] - x[i] + forcing
    return d


def robertson(t, y):
    a, b = RATES["slow"], RATES["fast"]
    return np.array(
        [
            -a * y[0] + 1e4 * y[1] * y[2],
            a * y[0] - 1e4 * y[1] * y[2] - b * y[1] ** 2,
            b * y[1] ** 2,
        ]
    )


def van_der_pol(t, y, mu):
    return [y[1], mu * (1 - y[0] ** 2) * y[1] - y[0]]


def pleiades(t, state):
    """Seven stars: slices, broadcasting, a power and sums."""
    x, y, vx, vy = state[:7], state[7:14], state[14:21], state[21:]
    masses = np.arange(1, 8)
    dx = x[:, None] - x[None, :]
    dy = y[:, None] - y[None, :]
    cubed = (dx**2 + dy**2 + np.eye(7)) ** 1.5
    ax = -np.sum(masses * dx / cubed, axis=1)
    ay = -(masses * dy / cubed).sum(axis=1)
    return np.concatenate((vx, vy, ax, ay))


def brusselator(t, state, a, b, alpha):
    u, v = state.reshape(2, -1)
    spread = alpha * (len(u) + 1) ** 2
    left, right = np.concatenate(([1.0], u[:-1])), np.append(u[1:], 1.0)
    du = a + u**2 * v - (b + 1) * u + spread * (left - 2 * u + right)
    dv = b * u - u**2 * v
    dv[1:-1] += spread * np.diff(v, 2)
    return np.hstack([du, dv])


def heat(t, u, kappa):
    d = np.empty_like(u)
    d[0] = d[-1] = 0
    d[1:-1] = kappa * (u[2:] - 2 * u[1:-1] + u[:-2])
    return d


def linear(t, y):
    return MATRIX @ y


def linear_dot(t, y, a):
    return np.dot(a, y) - a.T.dot(y) / 3


def einsum(t, y):
    return np.einsum("ij,j->i", MATRIX, y)


def thermostat(t, y, on):
    return [np.where(y[0] < on, 1.0, -y[0]), where((y[0] > 0) & (y[1] < 1) | ~(t > 1), y[1], 0)]


def imported_names(t, y):
    d = empty(3)
    d[0] = exp(-y[0]) + m.tanh(y[1])
    d[1], d[2] = sqrt(abs(y[2])), cos(t) * math.pi
    out = zeros_like(d, dtype=float)
    out[1] = np.zeros(3, dtype=float)[0] + np.asarray(y, dtype=np.float64)[0]
    out += d
    return array(out)


def forced(t, y, amplitude, period):
    phase = t % period / period
    return [y[1], -y[0] + amplitude * math.sin(2 * math.pi * phase) * (t > 1)]


def vector_argument(t, y, k):
    return [-k[0] * y[0], k[0] * y[0] - k[1] * y[1], k[-1] * y[1]]


def dictionary_argument(t, y, constants):
    return [-constants["k"] * y[0], constants["v"][1] * y[1]]


def mode_argument(t, y, mode, power, flag):
    if mode == "decay":
        return [-(y[0] ** power) if flag else 0.0]
    return [y[0]]


def integer_switch(t, y, kind, weights):
    if kind == 2:
        return weights[kind] * y
    return [y[kind], 0]


def branches(t, y, limit):
    rate = 1.0
    if y[0] > limit and t < 2:
        rate = 2.0
    elif 0 < y[1] <= 0.5 or not y[0] < 0:
        rate = math.log1p(abs(y[1]))
    return [rate * y[0], max(y[0], y[1], 0.1) - min(y)]


def store_where(t, y):
    d = np.sin(y)
    d[y < 0] = 0.25
    return d.tolist()


def interpolated_table(t, y):
    return [np.interp(y[0], TABLE_TIMES, TABLE_VALUES, left=-1.0, right=9.0), np.clip(t, 0, 1)]


def many_functions(t, y):
    a, b = y
    one = np.hypot(a, b) + np.cbrt(a) + np.arctan2(a, b) + np.sign(b) + np.heaviside(a, 0.5)
    two = math.log(abs(a) + 1) + math.log10(abs(b) + 1) + math.log2(2 + a * a) + math.log(3, 2)
    three = np.arcsinh(a) + math.atanh(math.tanh(b)) + np.arccosh(1 + a * a) + expit(b)
    four = np.fmod(a, 0.3) + a // 0.4 + math.fmod(b, 0.7) + math.copysign(a, b) + math.trunc(3 * a)
    five = np.logaddexp(a, b) + np.clip(a, -0.5, None) + np.exp2(b) + np.expm1(a) + math.hypot(a, b)
    six = np.linalg.norm(y) + np.linalg.norm([a, b, 1.0]) + np.mean(y) + np.prod(y) + np.max(y)
    seven = (
        np.reciprocal(2 + a * a) + np.square(b) + np.sinc(a) + np.deg2rad(b) + np.float_power(3, a)
    )
    return [one + two + three + four, five + six + seven]


def powers(t, y, n):
    x = abs(y[0]) + 0.1
    return [x**2 + x**5 + x**-3 + x**0.5 + x**-1.5 + x**2.2 + x**n / (1 + x**n) + 2**x + x**0, 0.0]


def cumulative(t, y):
    d = np.cumsum(y) - np.flip(y) + np.outer(y, y).sum(axis=0) + np.tile(y[:2], 2)
    return d + np.vstack([y, y]).T.mean(axis=1) + np.stack([y, -y], axis=1).max(axis=1) + y.dot(y)


def numpy_loop(t, y, n):
    out = numerics.zeros((n, 2))
    for i, (a, b) in enumerate(zip(y[:n], y[n:], strict=True)):
        out[i, 0] = a * b
        out[i, 1] = a - b
    return out.ravel()


def helper(x, *, scale=2.0):
    return math.exp(-scale * x * x)


def with_helper(t, y):
    def local(v):
        return helper(v) + helper(v, scale=0.5)

    return [local(v) for v in y]


def recursive_power(x, n):
    return x if n == 1 else x * recursive_power(x, n - 1)


def with_recursion(t, y):
    return [recursive_power(y[0], 4)]


def typed(t, y, k):
    if isinstance(k, float) and not isinstance(y[0], str):
        return [-float(k) * y[0]]
    raise TypeError(k)


def mutating(t, y):
    y *= 2
    y[0] = 1.0
    return y


def keywords(t, y, /, k=2.0, *, gain=3.0):
    return {"d": [gain * k * y[0]]}["d"]


def variadic(t, y, *coefficients):
    return [sum(c * y[0] ** i for i, c in enumerate(coefficients))]


def generator_sum(t, y):
    return [math.fsum(v * v for v in y), math.prod(y), math.dist(y[:2], [0.0, 1.0])]


def scalar_result(t, y, k):
    return -k * y[0]


class Pendulum:
    """A model with parameters as attributes and methods that call one another."""

    def __init__(self, length):
        self.length = length

    @property
    def stiffness(self):
        return 9.81 / self.length

    def torque(self, angle):
        return -self.stiffness * math.sin(angle)

    def rhs(self, t, y):
        return [y[1], self.torque(y[0])]

    __call__ = rhs


class Slotted:
    """A model without a dictionary."""

    __slots__ = ("rate",)

    def __init__(self, rate):
        self.rate = rate

    @staticmethod
    def shape(x):
        return math.exp(x)

    def rhs(self, t, y):
        return [self.rate * self.shape(y[0])]


def closure(rate, matrix):
    table = [math.sin, math.cos, helper]

    def rhs(t, y):
        return matrix @ y * rate + [f(v) for f, v in zip(table, y, strict=True)]

    return rhs


def add_constant(constant, t, y, gain):
    return gain * y + constant


ZOO = {
    "lorenz": (lorenz, 3, (10.0, 28.0, 8 / 3)),
    "lotka_volterra": (lotka_volterra, 2, (1.5, 1, 3, 1.0)),
    "lorenz96_roll": (lorenz96_roll, 7, (8.0,)),
    "lorenz96_comprehension": (lorenz96_comprehension, 7, (8,)),
    "lorenz96_loop": (lorenz96_loop, 6, (8.0, 6)),
    "robertson": (robertson, 3, ()),
    "van_der_pol": (van_der_pol, 2, (1000,)),
    "pleiades": (pleiades, 28, ()),
    "brusselator": (brusselator, 20, (1.0, 3.0, 0.02)),
    "heat": (heat, 9, (0.5,)),
    "linear": (linear, 4, ()),
    "linear_dot": (linear_dot, 4, (MATRIX,)),
    "einsum": (einsum, 4, ()),
    "thermostat": (thermostat, 2, (0.3,)),
    "imported_names": (imported_names, 3, ()),
    "forced": (forced, 2, (1.5, 0.7)),
    "vector_array": (vector_argument, 3, (np.array([1.0, 2.0, 3.0]),)),
    "vector_list": (vector_argument, 3, ([1.0, 2.0, 3.0],)),
    "vector_tuple": (vector_argument, 3, ((1, 2.0, 3),)),
    "dictionary": (dictionary_argument, 2, ({"k": 2.0, "v": [1.0, -1.0]},)),
    "mode": (mode_argument, 1, ("decay", 3, True)),
    "integer_switch": (integer_switch, 2, (1, [1.0, 2.0, 3.0])),
    "integer_index": (integer_switch, 2, (2, np.array([1.0, 2.0, 3.0]))),
    "branches": (branches, 2, (0.2,)),
    "store_where": (store_where, 3, ()),
    "interpolated_table": (interpolated_table, 2, ()),
    "many_functions": (many_functions, 2, ()),
    "powers": (powers, 2, (4,)),
    "cumulative": (cumulative, 4, ()),
    "numpy_loop": (numpy_loop, 6, (3,)),
    "with_helper": (with_helper, 3, ()),
    "with_recursion": (with_recursion, 1, ()),
    "typed": (typed, 1, (2.5,)),
    "mutating": (mutating, 3, ()),
    "keywords": (keywords, 1, (0.5,)),
    "variadic": (variadic, 1, (1.0, 2.0, 3.0)),
    "generator_sum": (generator_sum, 3, ()),
    "scalar_result": (scalar_result, 1, (0.5,)),
    "lambda": (lambda t, y, k: [k * t * y[0]], 1, (2.0,)),
    "partial": (functools.partial(add_constant, 2.5), 2, (3.0,)),
    "partial_keyword": (functools.partial(keywords, gain=7.0), 1, ()),
    "method": (Pendulum(2.0).rhs, 2, ()),
    "callable_object": (Pendulum(0.5), 2, ()),
    "slotted": (Slotted(3.0).rhs, 1, ()),
    "closure": (closure(0.5, MATRIX[:3, :3]), 3, ()),
}
# Squares of sums and the user's own order of operations round alike; these use another formula.
REFORMULATED = {
    "many_functions",
    "powers",
    "pleiades",
    "interpolated_table",
    "forced",
    "brusselator",
}


@pytest.fixture(params=ZOO)
def specimen(request, tmp_path):
    """A right-hand side, its size and arguments, and its system."""
    fun, n_states, args = ZOO[request.param]
    return request.param, fun, args, trace(fun, n_states, args, cache_dir=tmp_path)


def evaluate(system, t, y, args):
    """Run the generated source on plain numbers, with room before and after the results."""
    dy = np.full(system.n_states + 5, np.nan)
    parameters = system.parameters(args)[:, 0]
    evaluate_source(system.source)(np.float64(t), y, parameters, dy, 3)
    assert np.isnan(dy[:3]).all()
    assert np.isnan(dy[-2:]).all()
    return dy[3:-2]


def test_traced_form_agrees(specimen):
    """At random points the generated code gives the function's own values, mostly to the bit."""
    name, fun, args, system = specimen
    assert system.kind == "traced", system.note
    random = np.random.default_rng(7)
    for t in (0.0, 0.7, 1.5, 3.0):
        y = random.normal(0.3, 1.0, system.n_states)
        expected = np.asarray(fun(np.float64(t), y.copy(), *args), dtype=float).reshape(
            system.n_states
        )
        tolerance = 1e-12 if name in REFORMULATED else 3e-16
        np.testing.assert_allclose(evaluate(system, t, y, args), expected, tolerance, 1e-15)


ALLOWED = (
    *(ast.Module, ast.FunctionDef, ast.arguments, ast.arg, ast.Import, ast.ImportFrom, ast.alias),
    *(ast.Assign, ast.Expr, ast.Constant, ast.Name, ast.Load, ast.Store, ast.Subscript, ast.Call),
    *(ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.BitAnd, ast.BitOr, ast.UnaryOp),
    *(ast.USub, ast.Invert, ast.Compare, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq),
    ast.Attribute,
)


def test_source_is_straight_line(specimen):
    """Generated code is what vector lanes can run: no `if`, no `and`, no chained comparison."""
    _, _, _, system = specimen
    tree = ast.parse(system.source)
    for node in ast.walk(tree):
        assert isinstance(node, ALLOWED), ast.dump(node)
        if isinstance(node, ast.Compare):
            assert len(node.ops) == 1
        if isinstance(node, ast.Attribute):
            assert isinstance(node.value, ast.Name)
            assert node.value.id == "math"


def test_numbers_are_floats(specimen):
    """Every constant is a float, except the places in buffers."""
    _, _, _, system = specimen
    places = set()
    for node in ast.walk(ast.parse(system.source)):
        if isinstance(node, ast.Subscript):
            places |= {id(inner) for inner in ast.walk(node.slice)}
        if isinstance(node, ast.Constant) and not isinstance(node.value, str):
            assert isinstance(node.value, float) or id(node) in places
