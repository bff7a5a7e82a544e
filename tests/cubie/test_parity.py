"""Where a buffer lives, and who runs beside a run, changes no bit of its result.

Fast-math is off throughout: the sums are then those of the source, and SIMD lanes, blocks,
placements and even the interpreted target must agree to the last bit. The right-hand side
has no transcendental functions, whose last bit is the library's affair.
"""

from functools import cache

import numpy as np
import pytest

from cubie import RunStatus, Solver
from cubie.backend.targets import default_lanes, is_small_batch
from cubie.factory import CUDAFactory
from cubie_planner import Location, check
from tests.oracle.problems import lorenz

STEPS = {
    "tsit5": {"rtol": 1e-6, "atol": 1e-6},
    "rk4": {"first_step": 0.01},
    "bogacki_shampine32": {"rtol": 1e-4, "atol": 1e-4},
    "dop853": {"rtol": 1e-6, "atol": 1e-6},
}
METHODS = tuple(STEPS)
RHO = np.linspace(15.0, 35.0, 11)
OUTPUTS = ("t", "y", "n_steps", "n_rejected", "nfev", "status", "t_reached")
DEFAULT_WIDTH = default_lanes(np.float64, n_states=3)
SMALL_WIDTH = default_lanes(np.float64, n_states=3, small_batch=True)

by_method = pytest.mark.parametrize("method", METHODS)


@cache
def solver_of(backend, method, lanes=None):
    """One solver for each target, method and group width: kernels are compiled once."""
    step = STEPS[method]
    return Solver(lorenz, backend=backend, method=method, lanes=lanes, fastmath=False, **step)


def solve(solver, rho=RHO, **changes):
    """Solve a sweep of the Lorenz system."""
    return solver.solve((0.0, 1.0), [1.0, 0.0, 0.0], args=(10.0, rho, 8.0 / 3.0), **changes)


@cache
def expected(method):
    """Everything local, on the strict interpreted target."""
    result = solve(solver_of("python", method), locations="local")
    assert np.all(result.status == RunStatus.SUCCESS)
    assert np.ptp(result.n_steps) > 0 or method == "rk4"
    return result


def assert_same_bits(result, reference, runs=slice(None)):
    """Compare everything a solve gives, for all runs or for a choice of those of `reference`."""
    for name in OUTPUTS:
        theirs = getattr(reference, name)
        theirs = theirs if name == "t" and theirs.ndim == 1 else theirs[runs]
        np.testing.assert_array_equal(getattr(result, name), theirs, err_msg=name)


def random_pins(method, seed):
    """Pin a random half of the buffers to random places."""
    random = np.random.default_rng(seed)
    plan = expected(method).plan
    names = [name.rsplit(".", 1)[1] for name, p in plan.placements.items() if p.size_bytes]
    chosen = random.permutation(names)[: random.integers(1, len(names) + 1)]
    places = [str(place) for place in Location]
    return {f"{name}_location": str(random.choice(places)) for name in sorted(chosen)}


def assert_pinned(plan, pins):
    """Every pin shows in the plan; what survives its call cannot be in a function's frame."""
    for option, wanted in pins.items():
        name = option.removesuffix("_location")
        placement = next(p for q, p in plan.placements.items() if q.endswith(f".{name}"))
        allowed = {wanted}
        if wanted == "local" and name in ("stage_rhs", "stage_cache", "state", "dt", "counters"):
            allowed.add("local_persistent")
        assert str(placement.location) in allowed, (option, placement)


@by_method
@pytest.mark.parametrize("locations", ["shared", "auto"])
def test_policies_agree_on_the_interpreted_target(method, locations):
    """All shared and planned give what all local gives, with every free byte poisoned."""
    assert_same_bits(solve(solver_of("python", method), locations=locations), expected(method))


@by_method
def test_random_pins_agree_on_the_interpreted_target(method):
    """Twenty random pin sets: no bit differs, and the plans do."""
    digests = set()
    for seed in range(20):
        pins = random_pins(method, seed)
        result = solve(solver_of("python", method), **pins)
        assert_pinned(result.plan, pins)
        check(result.plan.problem, result.plan)
        assert_same_bits(result, expected(method))
        digests.add(result.plan.digest)
    assert len(digests) > 15


@by_method
@pytest.mark.parametrize("locations", ["local", "shared", "auto"])
@pytest.mark.parametrize("lanes", [1, None])
def test_policies_agree_in_compiled_code(method, locations, lanes):
    """All local, all shared and planned: the interpreter's bits, one run at a time or eight."""
    result = solve(solver_of("cpu", method, lanes), locations=locations)
    assert_same_bits(result, expected(method))


def seeds():
    """Yield twenty: each method at each width is among the first eight, the rest if asked for."""
    for seed in range(20):
        yield pytest.param(seed, marks=[] if seed < 8 else [pytest.mark.every_config])


@pytest.mark.slow
@pytest.mark.parametrize("seed", list(seeds()))
def test_random_pins_agree_in_compiled_code(seed):
    """Random pin sets, taking turns over the methods and the two group widths."""
    method, lanes = METHODS[seed % 4], (1, None)[seed // 4 % 2]
    result = solve(solver_of("cpu", method, lanes), **random_pins(method, seed))
    assert_same_bits(result, expected(method))


MANY = np.random.default_rng(7).permutation(np.linspace(0.0, 40.0, 10_007))


@cache
def many_runs():
    """Ten thousand runs of very different lengths, a group at a time."""
    return solve(solver_of("cpu", "tsit5"), MANY, locations="local")


def test_the_group_width_is_what_these_tests_take_it_for():
    """The documented default, one register's worth for a few runs, and what is asked for."""
    solver = Solver(lorenz, backend="cpu", fastmath=False)
    for runs, width in ((MANY, DEFAULT_WIDTH), (MANY[:5], SMALL_WIDTH), (MANY, DEFAULT_WIDTH)):
        solve(solver, runs, locations="local")
        assert solver.kernel.backend.width == width
    assert SMALL_WIDTH < DEFAULT_WIDTH
    for lanes in (1, DEFAULT_WIDTH):
        solve(solver_of("cpu", "tsit5", lanes), locations="local")
        assert solver_of("cpu", "tsit5", lanes).kernel.backend.width == lanes


def test_how_many_runs_are_few(monkeypatch):
    """Fewer than two full groups a thread, however many threads there are."""
    monkeypatch.setattr("cubie.backend.targets.n_threads", lambda: 3)
    limit = 2 * 3 * DEFAULT_WIDTH
    assert is_small_batch(np.float64, limit - 1)
    assert not is_small_batch(np.float64, limit)
    assert default_lanes(np.float64, n_states=40, small_batch=True) == SMALL_WIDTH


@pytest.mark.parametrize("seed", range(3))
def test_shuffled_batches_agree_run_by_run(seed):
    """A run's result does not depend on its place in the batch."""
    order = np.random.default_rng(seed).permutation(MANY.size)
    result = solve(solver_of("cpu", "tsit5"), MANY[order], locations="local")
    assert_same_bits(result, many_runs(), order)


@pytest.mark.parametrize(
    "size", [1, 7, DEFAULT_WIDTH - 1, DEFAULT_WIDTH, DEFAULT_WIDTH + 1, 10_007]
)
@pytest.mark.parametrize("lanes", [1, DEFAULT_WIDTH, None])
def test_batches_of_every_size_agree(size, lanes):
    """Groups that are not full compute nothing else, with lanes and without."""
    result = solve(solver_of("cpu", "tsit5", lanes), MANY[:size], locations="local")
    assert result.y.shape == (size, 3, 1)
    assert_same_bits(result, many_runs(), slice(size))


def test_equal_runs_give_equal_results():
    """A batch of one run repeated repeats its result."""
    result = solve(solver_of("cpu", "tsit5"), np.full(21, MANY[0]), locations="local")
    assert_same_bits(result, many_runs(), np.zeros(21, dtype=int))


@pytest.mark.parametrize(
    "changes",
    [
        {"save": "steps", "rtol": 1e-4},
        {"t_eval": np.linspace(0.0, 1.0, 13)},
        {"step_controller": "pid"},
        {"step_controller": "gustafsson", "rtol": [1e-6, 1e-5, 1e-4]},
    ],
    ids=lambda changes: next(iter(changes)) + str(changes.get("step_controller", "")),
)
def test_lanes_agree_with_the_interpreter_in_every_mode(changes):
    """Saved points and the history of controllers belong to the run, whichever lane it had."""
    rho = MANY[:29]
    reference = solve(solver_of("python", "tsit5"), rho, **changes)
    assert_same_bits(solve(solver_of("cpu", "tsit5"), rho, **changes), reference)
    for i in (0, 28):
        alone = solve(solver_of("cpu", "tsit5"), rho[i : i + 1], **changes)
        points = alone.y.shape[-1]
        np.testing.assert_array_equal(alone.y[0], reference.y[i, :, :points])


# A buffer, and phases that leave out one in which it is needed.
TOO_SHORT = [
    ("tsit5", "state", [("load", "commit")]),
    ("tsit5", "state", [("start", "save")]),
    ("tsit5", "parameters", [("load", "begin")]),
    ("tsit5", "proposed_state", [("algorithm.solution", "save")]),
    ("tsit5", "error", ["algorithm.error_estimate"]),
    ("tsit5", "dt", [("start", "control")]),
    ("tsit5", "counters", [("start", "commit")]),
    ("tsit5", "stage_rhs", ["start", ("first_stage", "error_estimate")]),
    ("tsit5", "stage_cache", ["start", "commit"]),
    ("dop853", "stage_rhs", [("first_stage", "solution")]),
    ("dop853", "error", ["algorithm.error_estimate"]),
    ("rk4", "stage_rhs", [("first_stage", "stages")]),
]


@pytest.mark.parametrize("locations", ["local", "shared"])
@pytest.mark.parametrize(("method", "buffer", "phases"), TOO_SHORT, ids=str)
def test_a_lifetime_declared_too_short_shows(monkeypatch, method, buffer, phases, locations):
    """The poison finds a buffer that is read outside its declared phases."""
    whole = expected(method)  # before the declarations are changed: its solver is kept
    declare = CUDAFactory.register_buffer

    def declare_shorter(component, name, size, **declaration):
        if name == buffer:
            declaration["phases"] = tuple(phases)
            declaration["persistent"] = locations == "local"
            declaration["aliases"] = ()  # bytes of its own, which nothing else keeps alive
        declare(component, name, size, **declaration)

    monkeypatch.setattr(CUDAFactory, "register_buffer", declare_shorter)
    solver = Solver(lorenz, backend="python", method=method, max_steps=200, **STEPS[method])
    result = solve(solver, RHO[:1], locations=locations)
    if buffer == "counters":  # of integers: the poison is -1
        assert result.n_steps[0] != whole.n_steps[0]
    else:
        assert np.isnan(result.y).all() or result.status[0] < 0
