"""Where the buffers of implicit steps live changes no bit, whatever solves their linear systems.

Three levels deep: step, Newton's method, linear solver. As in `test_parity` fast-math is off, and
the right-hand side has no transcendental functions.
"""

from functools import cache

import numpy as np
import pytest

from cubie import RunStatus, Solver
from cubie.factory import CUDAFactory
from cubie.solvers import LINEAR_SOLVERS
from cubie_planner import Location, check
from tests.cubie.test_parity import assert_same_bits
from tests.oracle.problems import lorenz

METHODS = ("rodas4", "kvaerno3", "radau_iia_5", "bdf")  # one of each family
COMBINATIONS = [(method, solver) for method in METHODS for solver in LINEAR_SOLVERS]
# Runs of different length share a group of lanes.
RHO = np.linspace(5.0, 28.0, 11)

by_combination = pytest.mark.parametrize(("method", "linear_solver"), COMBINATIONS)


@cache
def solver_of(backend, method, linear_solver):
    """One solver for each target and combination: kernels are compiled once."""
    options = {} if linear_solver == "lu" else {"max_linear_iterations": 30}
    return Solver(
        lorenz, backend=backend, method=method, linear_solver=linear_solver, fastmath=False,
        rtol=1e-4, atol=1e-4, max_steps=500, **options,
    )  # fmt: skip


def solve(backend, method, linear_solver, **changes):
    """Solve a sweep of the Lorenz system."""
    solver = solver_of(backend, method, linear_solver)
    args = (10.0, RHO, 8.0 / 3.0)
    return solver.solve((0.0, 0.3), [1.0, 0.0, 0.0], args=args, **changes)


@cache
def expected(method, linear_solver):
    """Everything local, on the interpreted target: every free byte is poisoned."""
    result = solve("python", method, linear_solver, locations="local")
    assert (result.status == RunStatus.SUCCESS).sum() > 5
    return result


def assert_same(result, method, linear_solver):
    """Compare all that a solve gives, iterations included."""
    reference = expected(method, linear_solver)
    assert_same_bits(result, reference)
    for name in ("n_newton", "n_linear"):
        np.testing.assert_array_equal(getattr(result, name), getattr(reference, name), name)


def random_pins(method, linear_solver, seed):
    """Pin a random half of the buffers to random places."""
    random = np.random.default_rng(seed)
    placements = expected(method, linear_solver).plan.placements
    names = [name.rsplit(".", 1)[1] for name, p in placements.items() if p.size_bytes]
    chosen = random.permutation(names)[: len(names) // 2]
    places = [str(place) for place in Location]
    return {f"{name}_location": str(random.choice(places)) for name in sorted(chosen)}


@by_combination
def test_placements_agree_on_the_interpreted_target(method, linear_solver):
    """Shared, planned and three random pin sets give what all local gives, bytes poisoned."""
    for locations in ("shared", "auto"):
        result = solve("python", method, linear_solver, locations=locations)
        assert_same(result, method, linear_solver)
    digests = set()
    for seed in range(3):
        result = solve("python", method, linear_solver, **random_pins(method, linear_solver, seed))
        check(result.plan.problem, result.plan)
        assert_same(result, method, linear_solver)
        digests.add(result.plan.digest)
    assert len(digests) == 3


@pytest.mark.slow
@pytest.mark.parametrize("locations", ["local", "shared"])
@pytest.mark.parametrize("method", METHODS)
def test_placements_agree_in_compiled_code(method, locations):
    """All local and all shared: the interpreter's bits, several runs at a time."""
    assert_same(solve("cpu", method, "lu", locations=locations), method, "lu")


def iterative():
    """Yield every family with every iterative solver; those of one solver each without asking.

    Each family's buffers and each solver's are in one of these. What they share is planned, and
    all combinations of it are poisoned on the interpreted target, above.
    """
    iterative = [solver for solver in LINEAR_SOLVERS if solver != "lu"]
    for number, method in enumerate(METHODS):
        for turn, solver in enumerate(iterative):
            here = number % len(iterative) == turn
            yield pytest.param(method, solver, marks=[] if here else [pytest.mark.every_config])


@pytest.mark.slow
@pytest.mark.parametrize(("method", "linear_solver"), list(iterative()))
def test_iterative_solvers_agree_in_compiled_code(method, linear_solver):
    """All shared, compiled, equals all local, interpreted."""
    result = solve("cpu", method, linear_solver, locations="shared")
    assert_same(result, method, linear_solver)


# A buffer, and phases that leave out one in which it is needed.
TOO_SHORT = [
    ("rodas4", "stage_store", [("evaluate", "solution")]),
    ("rodas4", "lu_factors", [("jacobian", "factorise")]),
    ("kvaerno3", "stage_rhs", ["start", ("first_stage", "stages")]),
    ("kvaerno3", "increment_cache", [("commit", "commit")]),
    ("radau_iia_5", "stage_increment", [("stages", "error_estimate")]),
    ("radau_iia_5", "stage_step", ["stages"]),
    ("bdf", "correction", ["start", ("solution", "error_estimate")]),
    ("bdf", "difference_sum", ["solution"]),
    ("bdf", "previous_correction", ["commit"]),
]


@pytest.mark.parametrize(("method", "buffer", "phases"), TOO_SHORT, ids=str)
def test_a_lifetime_declared_too_short_shows(monkeypatch, method, buffer, phases):
    """The poison finds a buffer that is read outside its declared phases."""
    whole = expected(method, "lu")
    declare = CUDAFactory.register_buffer

    def declare_shorter(component, name, size, **declaration):
        if name == buffer:
            declaration["phases"] = tuple(phases)
            declaration["aliases"] = ()
        declare(component, name, size, **declaration)

    monkeypatch.setattr(CUDAFactory, "register_buffer", declare_shorter)
    solver = Solver(
        lorenz, backend="python", method=method, locations="shared", max_steps=100, rtol=1e-4,
        atol=1e-4,
    )  # fmt: skip
    result = solver.solve((0.0, 0.3), [1.0, 0.0, 0.0], args=(10.0, RHO[:1], 8.0 / 3.0))
    differs = not np.array_equal(result.y[0], whole.y[0]) or result.status[0] < 0
    differs |= bool(result.n_newton[0] != whole.n_newton[0])
    assert np.isnan(result.y).any() or differs
