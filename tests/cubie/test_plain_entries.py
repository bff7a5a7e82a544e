"""Entries of a Jacobian that are there already are read where they are, with the same bits."""

import numpy as np
import pytest

from cubie import Solver
from cubie.systems import trace
from cubie.systems.derivatives.choice import derivatives_of
from cubie.systems.derivatives.component import JacobianComponent
from cubie.systems.derivatives.plain_entries import PlainEntry, plain_entries, without_entries
from cubie.systems.generated import load_module
from tests.cubie.stiff_systems import lorenz96

FACTORS = "loop.algorithm.newton.linear_solver.lu_factors"


def lorenz(t, y, sigma, rho, beta):
    """Rows of parameters, states, a constant, and a difference."""
    return [sigma * (y[1] - y[0]), y[0] * (rho - y[2]) - y[1], y[0] * y[1] - beta * y[2]]


def chain(t, y, rate):
    """Diffusion: what stands beside the diagonal is constant."""
    n = len(y)
    beside = [y[max(i - 1, 0)] + y[min(i + 1, n - 1)] for i in range(n)]
    return [4.0 * (beside[i] - 2.0 * y[i]) - rate * y[i] * y[i] for i in range(n)]


def swinging(t, y, length):
    """A mass matrix that couples states; one of its entries is where the Jacobian has one."""
    return [y[1] - y[0], -length * y[0] - y[1] * y[2], y[0] - y[2]]


MASS = np.array([[1.0, 0.25, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 1.0]])
PROBLEMS = {
    "lorenz": (lorenz, [1.0, 2.0, 20.0], (10.0, 28.0, 8.0 / 3.0), {}),
    "chain": (chain, np.linspace(0.0, 1.0, 6), (3.0,), {}),
    "lorenz96": (lorenz96, np.linspace(1.0, 3.0, 7), (8.0,), {}),
    "swinging": (swinging, [1.0, 0.5, 0.0], (3.0,), {"mass_matrix": MASS}),
}
METHODS = ("kvaerno5", "bdf", "sdirk2", "radau_iia_5", "gauss_legendre_4", "rodas5p")
# The first stage of kvaerno5 is explicit: it takes no mass matrix.
PAIRS = [(m, p) for m in METHODS for p in PROBLEMS if (m, p) != ("kvaerno5", "swinging")]


def test_constants_states_and_parameters_are_plain():
    """Whatever their sign; differences and products are not."""
    text = derivatives_of(trace(lorenz, 3, (10.0, 28.0, 3.0))).text
    pattern = derivatives_of(trace(lorenz, 3, (10.0, 28.0, 3.0))).pattern
    found = {pattern[k]: entry for k, entry in plain_entries(text).items()}
    assert found == {
        (0, 0): PlainEntry("p[0]", True), (2, 0): PlainEntry("y[1]", False),
        (0, 1): PlainEntry("p[0]", False), (1, 1): PlainEntry("1.0", True),
        (2, 1): PlainEntry("y[0]", False), (1, 2): PlainEntry("y[0]", True),
        (2, 2): PlainEntry("p[2]", True),
    }  # fmt: skip
    assert found[0, 0].negated == "p[0]"
    assert found[2, 0].negated == "-y[1]"


def test_what_is_written_in_loops_or_reads_drivers_has_none():
    """Nor has a name that was given another value, once it has it."""
    body = "    jac[at + 0] = y0\n"
    plain = f"def jacobian(t, y, p, jac, at):\n    y0 = y[0]\n{body}"
    assert set(plain_entries(plain)) == {0}
    assert not plain_entries(f"{plain}    for i in range(3):\n        jac[at + i] = y[i]\n")
    assert not plain_entries(plain.replace("p, jac", "p, d, jac"))
    assert not plain_entries(plain.replace("= y[0]\n", "= y[0]\n    y0 = y0 * y0\n"))
    assert not plain_entries("def time_derivative(t, y, p, out, at):\n    out[at + 0] = 0.0\n")


def test_entries_that_are_left_out_leave_the_others_as_they_are():
    """They follow each other, and the module's other functions stay."""
    derivatives = derivatives_of(trace(lorenz96, 7, (8.0,)))
    left_out = frozenset(list(plain_entries(derivatives.text))[1::2])
    module = load_module(without_entries(derivatives.text, left_out))
    n = len(derivatives.pattern)
    states, full, rest = np.linspace(1.0, 2.0, 7), np.zeros(n), np.full(n, np.nan)
    derivatives.module.jacobian(0.0, states, [8.0], full, 0)
    module.jacobian(0.0, states, [8.0], rest, 0)
    kept = [k for k in range(n) if k not in left_out]
    assert len(kept) < n
    np.testing.assert_array_equal(rest[: len(kept)], full[kept])
    assert np.isnan(rest[len(kept) :]).all()
    assert module.PATTERN == derivatives.module.PATTERN
    assert hasattr(module, "time_derivative")


def solved_twice(method, problem, monkeypatch, **options):
    """Solve with entries read where they come from, then with all of them stored.

    Both times return the result and the number of factors.
    """
    fun, start, args, more = PROBLEMS[problem]

    def solve():
        solver = Solver(
            fun, backend="python", method=method, fastmath=False, locations="shared", rtol=1e-4,
            **more, **options,
        )  # fmt: skip
        result = solver.solve((0.0, 0.3), start, args=args)
        factors = next(p for p in solver.plan.placements.values() if "lu_factors" in p.name)
        return result, factors.n_elements

    read = solve()
    monkeypatch.setattr(JacobianComponent, "plain", {})
    return read, solve()


@pytest.mark.parametrize(("method", "problem"), PAIRS)
def test_what_is_read_elsewhere_changes_no_bit(method, problem, monkeypatch):
    """Runs are the same as with all entries stored, and take fewer bytes."""
    (read, n_stored), (stored, n_all) = solved_twice(method, problem, monkeypatch)
    assert read.t.size > 3
    np.testing.assert_array_equal(read.t, stored.t)
    np.testing.assert_array_equal(read.y, stored.y)
    assert n_stored < n_all


@pytest.mark.parametrize("method", ["kvaerno5", "radau_iia_5", "rodas5p"])
def test_derivatives_have_the_same_bits_with_entries_read_elsewhere(method, monkeypatch):
    """Their factors are those of the states; these and the parameters are the joint system's."""
    options = {"sensitivities": "all"}
    (read, n_stored), (stored, n_all) = solved_twice(method, "lorenz", monkeypatch, **options)
    np.testing.assert_array_equal(read.t, stored.t)
    np.testing.assert_array_equal(read.dy, stored.dy)
    assert n_stored < n_all


@pytest.mark.parametrize(
    "options",
    [
        {"method": "backwards_euler", "first_step": 0.01},
        {"method": "kvaerno5", "jacobian_reuse": True},
        {"method": "kvaerno5", "factor_dtype": "float32"},
        {"method": "kvaerno5", "lu_form": "dense"},
    ],
)
def test_where_the_state_is_another_one_all_entries_are_stored(options, monkeypatch):
    """A second look goes elsewhere, a Jacobian that is kept is old, units scale what is stored."""
    asked = []

    def plain(self):
        asked.append(self)
        return {}

    monkeypatch.setattr(JacobianComponent, "plain", property(plain))
    solver = Solver(lorenz, backend="python", **options)
    result = solver.solve((0.0, 0.1), [1.0, 2.0, 20.0], args=(10.0, 28.0, 3.0))
    assert result.success
    assert not asked
