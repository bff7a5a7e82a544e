"""Derivatives against finite differences and SymPy; equations given as text and in SymPy."""

import gc
import re

import attrs
import numpy as np
import pytest
import sympy

from cubie import Solver, solve_ivp
from cubie.solvers.contract import Matrix
from cubie.systems import (
    EquationError,
    RightHandSideError,
    derivatives_of,
    equations,
    trace,
    with_jacobian,
)
from cubie.systems.component import SystemComponent
from cubie.systems.derivatives.by_time import TimeDerivativeComponent
from cubie.systems.derivatives.component import (
    DiagonalComponent,
    JacobianComponent,
    JVPComponent,
)
from cubie.systems.derivatives.rules import sparse_jacobian
from cubie.systems.symbolic.from_trace import to_sympy
from cubie.systems.tracing.expression import Graph
from cubie.systems.uncollected import uncollected
from tests.cubie.bench import Bench, run_bench
from tests.cubie.stiff_systems import SYSTEMS, sample


def dense(found, values):
    """Return the matrix of a Jacobian's entries."""
    n = max(max(position) for position in found.pattern) + 1
    matrix = np.zeros((n, n))
    for position, value in zip(found.pattern, values, strict=True):
        matrix[position] = value
    return matrix


def central_differences(function, y):
    """Return df/dy, (len(f), len(y))."""
    columns = []
    for j in range(len(y)):
        step = np.zeros(len(y))
        step[j] = 6e-6 * max(abs(y[j]), 1e-3)
        above, below = np.asarray(function(y + step)), np.asarray(function(y - step))
        columns.append((above - below) / (2 * step[j]))
    return np.column_stack(columns)


def scaled_rows(n):
    """What rows share depends on what others share, and one of them on no state's size."""
    weights = np.random.default_rng(n).normal(size=(n, n)) / n

    def fun(t, y):
        centred = y - np.mean(y)
        spread = np.sqrt(0.1 + np.sum(centred * centred) / n)
        steps = np.floor(np.sum(y))
        return weights @ np.tanh(centred / spread) - y * steps + np.max(y)

    return fun


def hidden_layer(n):
    """As many shared values as states: each is no better than a state to differentiate by."""
    first, second = np.random.default_rng(n).normal(size=(2, n, n)) / n

    def fun(t, y):
        return second @ np.tanh(first @ y) - y

    return fun


@pytest.mark.parametrize("make", [scaled_rows, hidden_layer])
def test_jacobian_by_way_of_shared_values(make):
    """Chains through means and norms, of each other too, agree with central differences."""
    n, fun = 18, make(18)
    found = derivatives_of(trace(fun, n))
    y, values, parameters = np.sin(np.arange(n)) + 0.3, np.empty(n * n), np.empty(0)
    assert len(found.pattern) == n * n
    common = [np.empty(found.common["jacobian"])] if "jacobian" in found.common else []
    found.module.jacobian(0.2, y, parameters, *common, values, 0)
    want = central_differences(lambda state: fun(0.2, state), y)
    np.testing.assert_allclose(dense(found, values), want, rtol=1e-6, atol=1e-8)


def test_shared_values_are_differentiated_once():
    """Twice the states bring four times the operations, where each row's terms read a mean."""
    counts = []
    for n in (24, 48):
        graph = Graph()
        y = np.array([graph.leaf("y", i) for i in range(n)])
        weights = np.random.default_rng(n).normal(size=(n, n))
        sparse_jacobian([*(weights @ np.tanh(y - np.mean(y)))], y)
        counts.append(len(graph.nodes))
    assert counts[1] < 4.5 * counts[0]


@pytest.mark.parametrize("is_on", [True, False])
def test_the_collector_goes_on_as_it_was(is_on):
    """Whatever ends the work without it; one that is off stays off."""
    before = gc.isenabled()
    try:
        (gc.enable if is_on else gc.disable)()
        with uncollected():
            assert not gc.isenabled()
        assert gc.isenabled() is is_on
        with pytest.raises(KeyError), uncollected():
            {}["nothing"]
        assert gc.isenabled() is is_on
    finally:
        (gc.enable if before else gc.disable)()


@pytest.mark.parametrize("name", SYSTEMS)
def test_jacobian_agrees_with_differences(name):
    """Entries, pattern, diagonal and products agree with central differences."""
    fun, n, args, _ = SYSTEMS[name]
    system = trace(fun, n, args)
    found, products = derivatives_of(system), derivatives_of(system, products=True)
    assert products.pattern == found.pattern
    y, t = sample(name, 1)[0], 0.37
    values, product, diagonal = np.empty(len(found.pattern)), np.empty(n), np.empty(n)
    parameters = np.array(args, dtype=float)
    found.module.jacobian(t, y, parameters, values, 0)
    matrix = dense(found, values)
    want = central_differences(lambda state: fun(t, state, *args), y)
    np.testing.assert_allclose(matrix, want, rtol=1e-6, atol=1e-8 * abs(want).max())
    direction = np.random.default_rng(5).normal(size=n)
    products.module.jvp(t, y, parameters, direction, 0, product, 0)
    np.testing.assert_allclose(product, matrix @ direction, rtol=1e-10)
    products.module.diagonal(t, y, parameters, diagonal, 0)
    np.testing.assert_allclose(diagonal, matrix.diagonal(), rtol=1e-13)


def every_function(t, y, a):
    """Every operation that has a derivative, away from kinks."""
    x, z = y[0], y[1]
    return [
        np.exp(x) * np.log(z) + np.log1p(x * z) / np.expm1(x) - np.sqrt(x + z) + abs(-z) * t,
        np.sin(x * t) + np.cos(z) - np.tan(x / 3) + np.arcsin(x / 4) * np.arccos(z / 5),
        np.arctan(x * z) + np.arctan2(x, z + t) + np.sinh(x) * np.cosh(z) - np.tanh(x - z),
        x**a + z**2.5 + a**x + np.minimum(x, z) * np.maximum(x * x, a) + np.floor(z) * np.ceil(x),
        np.where(x > z, x * z, x - z) + np.cbrt(z) + np.hypot(x, z) + y[3] * y[2] ** -2,
    ]


def test_every_operation_has_its_derivative():
    """State and time derivatives of all traced operations agree with SymPy's."""
    system = trace(every_function, 5, (1.7,))
    assert system.kind == "traced"
    found, symbolic = derivatives_of(system), to_sympy(system)
    y, t = np.array([0.8, 1.3, 1.1, 0.6, 0.9]), 0.45
    at = dict(zip(symbolic.states, y, strict=True)) | {
        symbolic.time: t,
        symbolic.parameters[0]: 1.7,
    }
    values, by_time = np.empty(len(found.pattern)), np.empty(5)
    found.module.jacobian(t, y, [1.7], values, 0)
    found.module.time_derivative(t, y, [1.7], by_time, 0)
    got = dense(found, values)
    numbers = central_differences(lambda state: every_function(t, state, 1.7), y)
    np.testing.assert_allclose(got, numbers, rtol=1e-7, atol=1e-8)
    for i, rate in enumerate(symbolic.derivatives):
        smooth = rate.replace(sympy.floor, lambda a: sympy.Integer(1)).replace(
            sympy.ceiling, lambda a: sympy.Integer(1)
        )
        want = float(sympy.diff(smooth, symbolic.time).subs(at))
        assert by_time[i] == pytest.approx(want, rel=1e-12, abs=1e-14)
    assert not found.autonomous


def other_functions(t, y, a):
    """What has a derivative and jumps, or is not SymPy's."""
    x, z = y[0], y[1]
    return [
        (x * z) % a + (x * x) % -0.3 + a % z + np.fmod(-z, x) + (x / 0.2) // a,
        np.copysign(x * z, -x) + np.log2(z) + np.log10(x * z) + np.exp2(x) + np.sign(x) * z,
        np.arcsinh(x * z) + np.arccosh(1.0 + z) + np.arctanh(x / 3) + np.logaddexp(x, 2 * z),
        np.fmax(x * z, a) + np.fmin(x, z * z) + np.clip(x * z, -1.0, a) + max(x, z, 0.1) * x,
        np.nan_to_num(x * x)
        + (z > 0) * np.sqrt(z)
        + 0.0 * np.log(x)
        + np.interp(x, [0, 2], [1, 5]),
    ]


def test_functions_that_jump_have_the_derivatives_between_jumps():
    """Remainders, choices and their kin agree with differences of the function itself."""
    system = trace(other_functions, 5, (1.7,))
    assert system.kind == "traced"
    found = derivatives_of(system)
    y, values = np.array([0.8, 1.3, 1.1, 0.6, 0.9]), np.empty(len(found.pattern))
    found.module.jacobian(0.45, y, [1.7], values, 0)
    want = central_differences(lambda state: other_functions(0.45, state, 1.7), y)
    np.testing.assert_allclose(dense(found, values), want, rtol=1e-6, atol=1e-7)


def test_shared_parts_are_computed_once():
    """The exponential of the right-hand side appears once in the Jacobian's text."""
    system = trace(lambda t, y: [np.exp(y[0] * y[1]), y[1] * np.exp(y[0] * y[1])], 2)
    text = derivatives_of(system).path.read_text()
    jacobian = text.split("def jacobian")[1].split("def ")[0]
    assert jacobian.count("math.exp") == 1


def test_who_factorises_writes_no_products(tmp_path, monkeypatch):
    """Of a network they are as much text as its matrix: of two modules one is written."""
    monkeypatch.setenv("CUBIE_CACHE_DIR", str(tmp_path))
    fun, n, args, _ = SYSTEMS["hires"]
    for options, functions in (
        ({}, {"jacobian", "time_derivative"}),
        ({"linear_solver": "bicgstab"}, {"jvp", "diagonal"}),
    ):
        Solver(fun, method="sdirk2", backend="cpu", **options).prepare(np.ones(n), args=args)
        texts = [path.read_text() for path in tmp_path.rglob("*.py")]
        written = {name for text in texts for name in re.findall(r"^def (\w+)\(", text, re.M)}
        assert functions <= written
        assert ("jvp" in written) == bool(options)


def test_derivatives_are_found_again(tmp_path, monkeypatch):
    """A second request takes the module from disk without expressions."""
    fun, n, args, _ = SYSTEMS["hires"]
    system = trace(fun, n, args, cache_dir=tmp_path)
    first, products = derivatives_of(system), derivatives_of(system, products=True)
    monkeypatch.setattr("cubie.systems.derivatives.source.write_derivatives", None)
    system = trace(fun, n, args, cache_dir=tmp_path)
    assert derivatives_of(system) == first
    assert derivatives_of(system, products=True) == products
    assert first.digest != products.digest
    assert first.autonomous
    assert first.kind == "exact"


def untraceable(t, y, k):
    """A loop that depends on the states: compiled as it stands."""
    x = y[0]
    while x > 2.0:
        x = x / 2.0
    return [-k * x * y[1] + t, k * y[0] - y[1] * y[1]]


def untraceable_jacobian(t, y, k):
    """Jacobian of `untraceable` for y[0] below 2."""
    return [[-k * y[1], -k * y[0]], [k, -2 * y[1]]]


COMPONENTS = [JacobianComponent, JVPComponent, DiagonalComponent, TimeDerivativeComponent]


def component_value(component_class, system, t, y, parameters, vector, target, lanes, **tolerances):
    """Return what a derivative's component computes on a target, for one run."""
    n, m = system.n_states, system.n_parameters
    component = component_class(SystemComponent(system, "float64"), False, "float64", {})
    by_time, h = component_class is TimeDerivativeComponent, 0.01
    n_out = len(component.derivatives.pattern) if component_class is JacobianComponent else n

    def make_body(bench, context):
        evaluate = bench.child_functions(context, component.name)
        alloc_y, alloc_p = context.allocator("y"), context.allocator("p")

        constant = context.backend.constant
        zero, size, per_size = constant(0.0), constant(h), constant(1 / h)

        def taken(given, y, p):
            for i in range(n):
                y[i] = given[1 + i]
            for i in range(m):
                p[i] = given[1 + 2 * n + i]

        take = context.backend.device(taken)

        def plain(memory, launch, given, kept):
            y, p = alloc_y(memory, None), alloc_p(memory, None)
            take(given, y, p)
            matrix = Matrix(given[0], given[0] * zero + per_size, y, p)
            evaluate(memory, launch, matrix, kept, 0)

        def of_time(memory, launch, given, kept):
            y, p = alloc_y(memory, None), alloc_p(memory, None)
            take(given, y, p)
            evaluate(memory, given[0], given[0] * zero + size, y, p, kept, 0)

        def product(memory, launch, given, kept):
            y, p = alloc_y(memory, None), alloc_p(memory, None)
            take(given, y, p)
            matrix = Matrix(given[0], given[0] * zero + per_size, y, p)
            evaluate(memory, launch, matrix, given, 1 + n, kept, 0)

        return of_time if by_time else product if component_class is JVPComponent else plain

    bench = Bench([(component, "second")], 1 + 2 * n + m, n_out, make_body)
    bench.register_buffer("y", n)
    bench.register_buffer("p", m)
    given = [t, *y, *vector, *parameters]
    return run_bench(bench, given, target, lanes, **tolerances)[0], component


@pytest.mark.parametrize(("target", "lanes"), [("python", None), ("cpu", 1)])
@pytest.mark.parametrize("component_class", COMPONENTS)
def test_what_cannot_be_traced_is_differentiated_by_differences(component_class, target, lanes):
    """Each derivative of a compiled right-hand side agrees with the exact one, and says how."""
    system = trace(untraceable, 2, (1.5,))
    assert system.kind == "compiled"
    y, vector = np.array([1.2, 0.7]), np.array([0.3, -0.8])
    got, component = component_value(component_class, system, 0.5, y, [1.5], vector, target, lanes)
    exact = np.array(untraceable_jacobian(0.5, y, 1.5))
    want = {
        JacobianComponent: exact.T.ravel(),
        JVPComponent: exact @ vector,
        DiagonalComponent: exact.diagonal(),
        TimeDerivativeComponent: [1.0, 0.0],
    }[component_class]
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7)
    assert component.derivatives.kind == "differences"
    assert "by differences" in component.derivatives.note


def test_the_users_jacobian_serves_what_cannot_be_traced():
    """`jac` is traced by rows; only the derivative by time needs differences."""
    system = with_jacobian(trace(untraceable, 2, (1.5,)), untraceable_jacobian, (1.5,))
    found = derivatives_of(system)
    assert found.kind == "given"
    assert found.pattern == ((0, 0), (1, 0), (0, 1), (1, 1))
    y, vector = np.array([1.2, 0.7]), np.array([0.3, -0.8])
    exact = np.array(untraceable_jacobian(0.5, y, 1.5))
    got, _ = component_value(JVPComponent, system, 0.5, y, [1.5], vector, "python", None)
    np.testing.assert_allclose(got, exact @ vector, rtol=1e-14)
    by_time, _ = component_value(
        TimeDerivativeComponent, system, 0.5, y, [1.5], vector, "python", None
    )
    np.testing.assert_allclose(by_time, [1.0, 0.0], atol=1e-7)


def test_a_branch_not_taken_does_not_leak():
    """An infinite derivative in the other branch of a select leaves the result finite."""
    system = trace(lambda t, y: [np.where(y[0] > 0, np.sqrt(y[0]), 2 * y[0])], 1)
    for component_class in (JacobianComponent, JVPComponent):
        got, _ = component_value(component_class, system, 0.0, [-0.0], [], [1.0], "python", None)
        assert got.tolist() == [2.0]


def test_a_jacobian_that_cannot_be_traced_is_said_so():
    """Differences are used, and the note says why."""

    def jac(t, y, k):
        x = y[0]
        while x > 2.0:
            x = x / 2.0
        return [[x, 0.0], [0.0, 1.0]]

    system = with_jacobian(trace(untraceable, 2, (1.5,)), jac, (1.5,))
    assert derivatives_of(system).kind == "differences"
    assert "`jac` is not used" in derivatives_of(system).note
    traced = trace(lambda t, y: [-y[0]], 1)
    assert derivatives_of(with_jacobian(traced, jac)) == derivatives_of(traced)


VAN_DER_POL = ["dx = v", "dv = mu*(1 - x**2)*v - x"]


def test_text_and_sympy_give_the_same_module():
    """All forms of one system are traced to the same names and numbers."""
    x, v, mu, t = sympy.symbols("x v mu t")
    x_of, v_of = sympy.Function("x")(t), sympy.Function("v")(t)
    rate = mu * (1 - x**2) * v - x
    forms = [
        equations(VAN_DER_POL),
        equations("dx/dt = v\nv' = mu*damping*v - x; damping = 1 - x^2  # of the circuit"),
        equations({"x": "v", "v": "mu*(1 - x*x)*v - x"}),
        equations({x: v, v: rate}),
        equations([v, rate], states=[x, v]),
        equations(
            [sympy.Eq(x_of.diff(t), v_of), sympy.Eq(v_of.diff(t), rate.subs({x: x_of, v: v_of}))]
        ),
    ]
    for form in forms:
        assert (form.states, form.parameters) == (("x", "v"), ("mu",))
        assert np.allclose(form.function(0.0, np.array([2.0, 0.5]), 3.0), [0.5, -6.5])
        system = trace(form.function, 2, (3.0,), names=form.states)
        assert (system.kind, system.state_names) == ("traced", ("x", "v"))


def test_solve_takes_equations_with_names():
    """Text goes straight into solve_ivp, y0 and args by name, in any order, swept or not."""
    run = solve_ivp(
        VAN_DER_POL, (0, 2), {"v": 0.0, "x": 2.0}, args={"mu": np.array([1.0, 2.0])}, rtol=1e-8
    )
    plain = solve_ivp(
        lambda t, y, mu: [y[1], mu * (1 - y[0] ** 2) * y[1] - y[0]],
        (0, 2),
        [2.0, 0.0],
        args=(np.array([1.0, 2.0]),),
        rtol=1e-8,
    )
    np.testing.assert_allclose(run.y, plain.y, rtol=1e-12)


def test_equations_with_the_same_names_are_told_apart():
    """The cache sees what the equations say, not only their names."""
    one, two = (equations([f"dx = {k} * x"]) for k in (1, 2))
    assert trace(one.function, 1).digest != trace(two.function, 1).digest


def test_states_may_have_any_name():
    """`y`, `p` and `dy` are as good as other names, and a quantity may begin with a d."""
    system = equations(["dx = y * dose", "dy = p - x", "dose = 2*p"], states=["x", "y"])
    assert system.parameters == ("p",)
    assert system.function(0.0, [1.0, 3.0], 5.0) == [30.0, 4.0]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["dx = y*"], "equation for `x`, `y\\*`, cannot be read"),
        (["dx = foo(x, x)"], "no function `foo`; did you mean `floor`"),
        (["x + 1"], "is no equation: write `dx = ...`"),
        (["dx = 1", "dx = 2"], "two equations for `x`"),
        (["dx = q", "q = r", "r = q"], "defined by itself: q -> r -> q"),
        (["a = 3"], "no equation for a derivative"),
        (["dx = x.real"], "`x.real` is no arithmetic"),
        (["dx = 'a'"], "is no number"),
        (["dx = _exp"], "cannot be the name"),
    ],
)
def test_equations_that_cannot_be_read_say_why(given, says):
    """The message names the equation and the reason."""
    with pytest.raises(EquationError, match=says):
        equations(given)


def test_names_that_do_not_fit_are_named():
    """Missing and unknown names of parameters and states are errors."""
    system = equations(VAN_DER_POL)
    with pytest.raises(EquationError, match="args has `muu`; did you mean `mu`"):
        system.arguments({"muu": 1.0})
    with pytest.raises(EquationError, match="y0 lacks a value for v"):
        system.initial_state({"x": 1.0})
    with pytest.raises(EquationError, match="0 values, but the equations have 1 parameters: mu"):
        system.arguments(())
    with pytest.raises(EquationError, match="`mu` is not defined"):
        equations(VAN_DER_POL, parameters=["nu"])


def test_an_explicit_method_refuses_a_mass_matrix():
    """M y' = f with M not the identity needs an implicit method."""
    with pytest.raises(ValueError, match="choose an implicit method"):
        solve_ivp(lambda t, y: [-y[0]], (0, 1), [1.0], mass_matrix=[[2.0]])


def test_derivative_modules_differ_where_the_system_does():
    """The digest follows the system: nothing stale is compiled."""
    one, two = (trace(f, 1) for f in (lambda t, y: [-y[0]], lambda t, y: [-2 * y[0]]))
    assert derivatives_of(one).digest != derivatives_of(two).digest
    assert attrs.evolve(one).digest == one.digest


@pytest.mark.parametrize(
    "text", ["10**10**10", "(9 + 1)**(10**10)", "(-2)**(9**99)", f"1{400 * '0'}**2"]
)
def test_numbers_too_large_are_refused_at_once(text):
    """Powers of whole numbers are computed as floats, never to their last digit."""
    with pytest.raises((EquationError, RightHandSideError), match=r"too large|out of range"):
        trace(equations([f"dx = {text} * x"]).function, 1)


def test_powers_of_numbers_keep_their_value():
    """A bare base is a float like every other number of a system."""
    system = equations(["dx = 2**-1 * x + 2**3**2 + x**2"])
    assert system.function(0.0, [3.0]) == [1.5 + 512.0 + 9.0]
