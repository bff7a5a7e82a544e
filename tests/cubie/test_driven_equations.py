"""Equations given as text or in SymPy that call drivers: inputs that depend on time."""

import pickle

import numpy as np
import pytest
import sympy
from scipy.integrate import solve_ivp as scipy_solve_ivp
from scipy.interpolate import CubicSpline

from cubie import Interpolant, InvalidProblem, Solver, solve_ivp
from cubie.systems import EquationError, derivatives_of, equations, trace

TIMES = np.linspace(0.0, 5.0, 26)
SAMPLES = np.random.default_rng(20240311).normal(size=26)
U = Interpolant(TIMES, SAMPLES, "cubic", "hold")

TEXT = """
leak = g*v
dv = (I(t) - leak)/C
dw = I(t - 0.25) - w + 0.1*I(v)
dz = v*I(0.5*t) + 0.1*I(t, 1)
"""
ARGS = {"C": 1.5, "g": 1.3, "I": U}
Y0 = {"v": 1.0, "w": 0.0, "z": 0.5}


def driven(t, y, g, I, C):  # noqa: E741
    """Compute what `TEXT` says."""
    v, w, _ = y
    leak = g * v
    return [(I(t) - leak) / C, I(t - 0.25) - w + 0.1 * I(v), v * I(0.5 * t) + 0.1 * I(t, 1)]


def in_sympy():
    """Return `TEXT` as equations of SymPy, `I` an undefined function there."""
    t, g, c = sympy.symbols("t g C")
    v, w, z, current = map(sympy.Function, ("v", "w", "z", "I"))
    late, tenth = current(t - sympy.Rational(1, 4)), sympy.Rational(1, 10)
    return [
        sympy.Eq(v(t).diff(t), (current(t) - g * v(t)) / c),
        sympy.Eq(w(t).diff(t), late - w(t) + tenth * current(v(t))),
        sympy.Eq(z(t).diff(t), v(t) * current(t / 2) + tenth * current(t).diff(t)),
    ]


METHODS = ["tsit5", "rodas5p", "radau_iia_5", "kvaerno5"]


def solve(fun, y0, args, method="tsit5", **options):
    """Solve without compiling."""
    options = {"backend": "python", "rtol": 1e-5, "save": "final", **options}
    return solve_ivp(fun, (0.0, 2.0), y0, method, args=args, **options)


@pytest.mark.parametrize("method", METHODS)
def test_text_that_calls_drivers_is_what_the_same_function_is(method):
    """To the bit, of every kind of method: one look-up, one derivative by time, one Jacobian."""
    text = solve(TEXT, Y0, ARGS, method)
    function = solve(driven, list(Y0.values()), (1.3, U, 1.5), method)
    np.testing.assert_array_equal(text.y, function.y)
    assert text.nfev == function.nfev
    one, two = (trace(fun, 3, (1.3, U, 1.5)) for fun in (equations(TEXT).function, driven))
    for name in ("JACOBIAN", "JVP", "TIME_DERIVATIVE"):
        of_one, of_two = (
            derivatives_of(system, products=name == "JVP").module for system in (one, two)
        )
        facts = [getattr(module, f"{name}_CALLS") for module in (of_one, of_two)
                 if hasattr(module, f"{name}_CALLS")]  # fmt: skip
        assert facts[:1] == facts[1:]


@pytest.mark.parametrize(
    ("form", "backend"), [(TEXT, "cpu"), (in_sympy, "python")], ids=["text", "sympy"]
)
def test_driven_equations_are_solved_as_by_scipy(form, backend):
    """With the function that they stand for, called in plain Python."""
    form = equations(form() if callable(form) else form)
    theirs = scipy_solve_ivp(
        form.function, (0.0, 2.0), list(Y0.values()), "DOP853", rtol=1e-12, atol=1e-13,
        max_step=0.05, args=form.arguments(ARGS),
    )  # fmt: skip
    ours = solve(form, Y0, ARGS, "tsit5", rtol=1e-8, atol=1e-10, backend=backend)
    np.testing.assert_allclose(np.ravel(ours.y), theirs.y[:, -1], rtol=2e-6)


def test_drivers_are_entries_of_args_like_others():
    """In the order of first use, or that of `parameters`; those left out come last."""
    form = equations(TEXT)
    assert (form.parameters, form.drivers) == (("g", "I", "C"), ("I",))
    form = equations(TEXT, parameters=["C", "I", "g"])
    assert (form.parameters, form.drivers) == (("C", "I", "g"), ("I",))
    form = equations(TEXT, parameters=["C", "g"], drivers=["J", "I"])
    assert (form.parameters, form.drivers) == (("C", "g", "J", "I"), ("J", "I"))
    assert equations(in_sympy(), drivers=[sympy.Function("I")]).drivers == ("I",)
    copy = pickle.loads(pickle.dumps(form))
    assert copy == form
    np.testing.assert_array_equal(solve(TEXT, Y0, ARGS).y, solve(TEXT, Y0, (1.3, U, 1.5)).y)


def test_slopes_in_sympy_are_slopes():
    """At the time, and at an argument, where SymPy writes a substitution."""
    t, x, u = sympy.Symbol("t"), sympy.Function("x"), sympy.Function("u")
    rate = u(t).diff(t, 2) + u(x(t)).diff(t).subs(x(t).diff(t), 3) + u(t / 3).diff(t)
    form = equations([sympy.Eq(x(t).diff(t), rate)])
    found = form.function(1.2, [0.7], U)[0]
    assert found == pytest.approx(U(1.2, 2) + 3 * U(0.7, 1) + U(0.4, 1) / 3, rel=1e-13)


def test_each_run_has_its_own_driver_and_parameters():
    """Samples of each run, beside a parameter that sweeps."""
    each = Interpolant(TIMES, np.stack([SAMPLES, 2.0 * SAMPLES]), "linear", "hold")
    result = solve("dx = u(t) - k*x", {"x": 1.0}, {"u": each, "k": [0.5, 1.0]})
    for run, k in enumerate((0.5, 1.0)):
        alone = Interpolant(TIMES, (run + 1.0) * SAMPLES, "linear", "hold", "none")
        one = solve("dx = u(t) - k*x", {"x": 1.0}, {"u": alone, "k": k}, rtol=1e-9)
        np.testing.assert_allclose(np.ravel(result.y[run]), np.ravel(one.y), rtol=1e-4)


def test_other_samples_of_equations_compile_nothing():
    """They are data, as those of functions are."""
    solver = Solver("dx = u(t) - k*x", backend="cpu")
    ends = []
    for factor in (1.0, 3.0):
        u = Interpolant(TIMES, factor * SAMPLES, "cubic", "hold")
        ends.append(float(solver.solve((0.0, 2.0), [0.0], args={"u": u, "k": 1.0}).y[0, -1]))
    assert solver.builds["kernel"] == 1
    assert ends[1] == pytest.approx(3.0 * ends[0], rel=1e-2)


def test_observables_call_the_drivers_of_equations():
    """Those that equations call, and those declared for them; nothing else."""
    form = equations("dx = u(t) - x", drivers=["u", "w"])
    w = Interpolant(TIMES, SAMPLES**2, "pchip", "hold")
    result = solve_ivp(
        form, (0.0, 2.0), [1.0], t_eval=[0.5, 1.5], args={"u": U, "w": w}, backend="python",
        observables={"late": "w(t - 0.25) + late_u", "late_u": "x*u(t, 1)"},
    )  # fmt: skip
    late_u = result.y[0] * U(np.array([0.5, 1.5]), 1)
    np.testing.assert_allclose(result.observables["late_u"], late_u, rtol=1e-12)
    wanted = w(np.array([0.25, 1.25])) + late_u
    np.testing.assert_allclose(result.observables["late"], wanted, rtol=1e-12)
    assert not result.notes


def test_a_driver_that_nobody_calls_is_told():
    """Of equations by its name, of functions by its place."""
    told = "is a driver that neither the right-hand side nor observables call"
    result = solve(equations("dx = -x", drivers=["u"]), [1.0], {"u": U})
    assert any(f"args['u'] {told}" in note for note in result.notes)
    result = solve(lambda t, y, k, u: [-k * y[0]], [1.0], (2.0, [U]))
    assert not solve(lambda t, y, u: [u[0](t)], [1.0], ([U],)).notes
    assert any(f"args[1][0] {told}" in note for note in result.notes)


def test_other_functions_of_one_number_are_drivers_too():
    """An interpolator of SciPy's is looked up, a function is traced."""
    spline = CubicSpline(TIMES, SAMPLES)
    found = solve("dx = u(t) - x", [1.0], {"u": spline}, rtol=1e-8)
    wanted = solve("dx = u(t) - x", [1.0], {"u": U}, rtol=1e-8)
    np.testing.assert_allclose(found.y, wanted.y, rtol=1e-6)
    found = solve("dx = u(t) - x", [1.0], {"u": lambda t: t * t})
    np.testing.assert_array_equal(found.y, solve("dx = t*t - x", [1.0], ()).y)


T, X = sympy.Symbol("t"), sympy.Function("x")

REFUSED = {
    "called and not": (("dx = u(x) + u",), "calculates with `u`, which is a driver: write `u(t)`"),
    "called elsewhere": (("dx = u(t); dy = u",), "equation for `y` calculates with `u`"),
    "declared": (("dx = u", None, None, ["u"]), "calculates with `u`, which is a driver"),
    "the time": (("dx = t(x)",), "calls `t`, which is a number"),
    "a state": (("dx = x(t - 1)",), "calls `x`, which is a number: write `x`"),
    "a quantity": (("dx = q(t); q = x",), "calls `q`, which is a number"),
    "a constant": (("dx = pi(t)",), "no function `pi`"),
    "three arguments": (("dx = clip(x, 0, 1)",), "A driver is called as `clip(t)`"),
    "no argument": (("dx = u()",), "A driver is called as `u(t)`"),
    "order of a derivative": (("dx = u(t, x)",), "its derivatives as `u(t, 1)`"),
    "negative order": (("dx = u(t, -1)",), "its derivatives as `u(t, 1)`"),
    "unknown": (("dx = inn(t)", None, None, ["inp"]), "no function or driver `inn`; did you mean"),
    "not listed": (("dx = u(t)", None, ["k"]), "there is no function or driver `u`"),
    "a function's name": (("dx = exp(t)", None, None, ["exp"]), "`exp` cannot be a driver"),
    "a state's name": (("dx = u(t)", None, None, ["u", "x"]), "`x` is listed twice"),
    "keyword": (("dx = exp(x, out=2)",), "names an argument"),
    "starred": (("dx = u(*t)",), "is no arithmetic"),
    "delay in sympy": (([sympy.Eq(X(T).diff(T), X(T - 1))],), "known at the time `t` itself"),
    "a rate in sympy": (([sympy.Eq(X(T).diff(T), X(T).diff(T, 2))],), "plain numbers"),
    "two arguments in sympy": (
        ([sympy.Eq(X(T).diff(T), sympy.Function("u")(X(T), T))],), "no function `u`",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_calls_that_mean_nothing_are_refused(case):
    """With what was called, in which equation, and what can be written."""
    given, says = REFUSED[case]
    with pytest.raises(EquationError) as caught:
        equations(*given)
    assert says in str(caught.value)


VALUES = {
    "none": (None, EquationError, "lacks an Interpolant for u, which the equations call."),
    "only others": ({"k": 1.0}, EquationError, "lacks an Interpolant for u"),
    "misspelt": ({"k": 1.0, "uu": U}, EquationError, "args has `uu`; did you mean `u`?"),
    "a number": ({"k": 1.0, "u": 2.0}, InvalidProblem, "must be an Interpolant"),
    "a list": ({"k": 1.0, "u": [1.0, 2.0]}, InvalidProblem, "must be an Interpolant"),
    "for a number": ({"k": U, "u": U}, InvalidProblem, "the equations do not call `k`"),
}


@pytest.mark.parametrize("case", VALUES)
def test_values_that_are_no_drivers_are_refused(case):
    """What is called needs a driver, and nothing else has one."""
    args, error, says = VALUES[case]
    with pytest.raises(error) as caught:
        solve("dx = u(t) - k*x", [1.0], args)
    assert says in str(caught.value)


def test_misspelt_functions_are_told_when_there_is_no_driver_either():
    """A name that is called and has no value may be one."""
    with pytest.raises(EquationError, match="no function of that name; did you mean `sin`"):
        solve("dx = sni(x)", [1.0], None)
    with pytest.raises(EquationError, match="there is no function or driver `w`"):
        solve("dx = u(t)", [1.0], {"u": U}, observables={"late": "w(t)"})
    with pytest.raises(EquationError, match="`observables` names `u`, which is a driver"):
        solve("dx = u(t)", [1.0], {"u": U}, observables=["u"])
    with pytest.raises(EquationError, match="calculates with `u`, which is a driver"):
        solve("dx = u(t)", [1.0], {"u": U}, observables={"late": "2*u"})
