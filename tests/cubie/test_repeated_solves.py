"""A solver that is used again finds what it prepared before, and nothing that no longer holds."""

import pickle
from types import MappingProxyType

import numpy as np
import pytest

from cubie import Event, InvalidOption, InvalidProblem, RunStatus, Solver, solve_ivp
from cubie.backend.cpu.native_team import NativeTeam
from cubie.backend.cpu.target import CPUKernel
from cubie.launch.recurring import MAX_STAGED_ELEMENTS
from cubie.memory import MAX_RECURRING_SHAPES, MAX_REMEMBERED, structure_of
from cubie.recent import Recent
from tests.oracle.problems import LORENZ

RHO = np.linspace(15.0, 35.0, 40)


def decay(t, y, rate):
    return [-rate * y[0]]


def end(solver, rate=2.0, t_end=1.0, **changes):
    """Return the final state of one batch of two equal runs."""
    rates = np.full(2, rate)
    return solver.solve((0.0, t_end), [1.0], args=(rates,), **changes)


def test_numbers_of_a_run_are_never_remembered():
    """Another end, initial state or argument gives another result."""
    solver = Solver(decay, backend="python", rtol=1e-8, atol=1e-10)
    for rate, t_end in ((2.0, 1.0), (3.0, 1.0), (3.0, 2.0), (2.0, 1.0)):
        result = end(solver, rate, t_end)
        np.testing.assert_allclose(result.y[:, 0, -1], np.exp(-rate * t_end), rtol=1e-6)
        assert result.t[-1] == t_end


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    "y0", [[1, 0.5], (2, 3), (1.5, 2.0), [np.float64(0.5), 1], np.array([3, 4]), np.array([[7, 2]])]
)
def test_states_written_in_any_way_are_found_again(y0, dtype):
    """Whole numbers, lists, tuples: the next solve of as many only writes numbers."""
    solver = Solver(lambda t, y, k: [-k * y[0], y[0]], backend="python", dtype=dtype)
    one = np.ndim(y0) == 1
    rates = (2.0,) if one else (np.array([2.0]),)
    first = solver.solve((0.0, 1.0), y0, args=rates)
    assert len(solver._setup.recurring) == 1
    again = solver.solve((0.0, 1.0), y0, args=rates)
    other = solver.solve((0.0, 1.0), np.array(y0) + 1, args=rates)
    assert np.array_equal(again.y, first.y)
    fresh = Solver(lambda t, y, k: [-k * y[0], y[0]], backend="python", dtype=dtype)
    assert np.array_equal(other.y, fresh.solve((0.0, 1.0), np.array(y0) + 1.0, args=rates).y)


def test_whole_numbers_beyond_all_floats_are_refused_each_time():
    """A solver that knows such shapes says the same as a new one."""
    solver = Solver(decay, backend="python")
    solver.solve((0.0, 1.0), [1], args=(2.0,))
    for y0 in ([10**400], (10**400,)):
        with pytest.raises(InvalidProblem, match="an int of 1329 bits"):
            solver.solve((0.0, 1.0), y0, args=(2.0,))


def test_a_change_of_settings_takes_effect_at_once():
    """For one call, or by `update` for all that follow; what is wrong is refused again."""
    solver = Solver(decay, backend="python", rtol=1e-3)
    coarse = end(solver).n_steps[0]
    assert end(solver, rtol=1e-9).n_steps[0] > coarse
    assert end(solver).n_steps[0] == coarse
    solver.update(rtol=1e-9)
    assert end(solver).n_steps[0] > coarse
    solver.update(rtol=-1.0)
    for _ in range(2):
        with pytest.raises(InvalidProblem, match="rtol"):
            end(solver)
    solver.update(rtol=1e-3, max_steps=2)
    assert end(solver).status.tolist() == [RunStatus.TOO_MANY_STEPS] * 2


def test_data_choose_the_dtype_anew_each_time():
    """float32 data select float32 in compiled code as well, and float64 data float64."""
    solver = Solver(decay, backend="cpu", rtol=1e-4, atol=1e-6)
    for dtype in (np.float32, np.float64, np.float32):
        result = solver.solve((0.0, 1.0), np.array([1.0], dtype), args=(np.full(2, 2.0),))
        assert result.y.dtype == dtype
        assert solver.kernel.backend.dtype == dtype
        np.testing.assert_allclose(result.y[:, 0, -1], np.exp(-2.0), rtol=1e-3)


def test_threads_by_the_work_of_the_latest_batch(monkeypatch):
    """A batch that took long is given more threads, a small one a single thread; never more
    than there are groups of runs."""
    team = NativeTeam(4)
    monkeypatch.setattr("cubie.backend.cpu.target.n_threads", lambda: 4)
    monkeypatch.setattr("cubie.backend.cpu.target.shared_team", lambda: team)
    solver = Solver(LORENZ.fun, backend="cpu", rtol=1e-6, atol=1e-8, lanes=4, fastmath=False)
    args = (10.0, RHO, 8.0 / 3.0)
    first = solver.solve((0.0, 1.0), [1.0, 0.0, 0.0], args=args)
    kernel = solver.kernel.compiled
    assert isinstance(kernel, CPUKernel)
    kernel._group_seconds = 1.0
    assert kernel._workers(40) == 4
    assert kernel._workers(8) == 2
    again = solver.solve((0.0, 1.0), [1.0, 0.0, 0.0], args=args)
    np.testing.assert_array_equal(again.y, first.y)
    kernel._group_seconds = 1e-9
    assert kernel._workers(40) == 1
    team.close()


def vectors(t, y, matrix, rate, factor):
    """Three states, driven by a matrix, a vector and a number."""
    return [matrix[0][i] * y[i] - rate[i] * y[i] * factor + matrix[1][i] for i in range(3)]


N_RUNS = 5
RANDOM = np.random.default_rng(3)
# What serves all runs, and what each run has its own of.
MATRICES = RANDOM.uniform(-1, 0, (2, 3)), RANDOM.uniform(-1, 0, (N_RUNS, 2, 3))
RATES = RANDOM.uniform(0, 1, 3), RANDOM.uniform(0, 1, (N_RUNS, 3))
FACTORS = 0.5, RANDOM.uniform(0, 1, N_RUNS)
STATES = RANDOM.uniform(-1, 1, (N_RUNS, 3)), RANDOM.uniform(-1, 1, (N_RUNS, 3)).astype("f4")


@pytest.mark.parametrize("y0", STATES, ids=("float64", "float32"))
@pytest.mark.parametrize("times", [None, np.linspace(0.0, 1.0, 4)], ids=("final", "t_eval"))
@pytest.mark.parametrize("swept", range(8))
def test_inputs_of_the_same_shapes_are_written_to_their_places(y0, times, swept):
    """Whatever is swept, a solve with other numbers equals that of a solver that is new."""
    pairs = (MATRICES, RATES, FACTORS)
    args = tuple(pair[swept >> k & 1] for k, pair in enumerate(pairs))
    solver = Solver(vectors, backend="python", rtol=1e-5, atol=1e-7)
    first = solver.solve((0.0, 1.0), y0, times, args=args)
    kept = first.y.copy()
    others = tuple(2.0 * value for value in args)
    later = None if times is None else 0.5 + times
    second = solver.solve((0.5, 1.5), -y0, later, args=others)
    new = Solver(vectors, backend="python", rtol=1e-5, atol=1e-7)
    expected = new.solve((0.5, 1.5), -y0, later, args=others)
    assert len(solver._setup.recurring) == 1
    np.testing.assert_array_equal(second.y, expected.y)
    np.testing.assert_array_equal(second.t, expected.t)
    np.testing.assert_array_equal(first.y, kept)  # results are never written to again


def test_one_run_after_another_as_scipy_would_be_called():
    """Lists and floats, every step saved: as many points as each run needs."""
    solver = Solver(LORENZ.fun, backend="cpu", rtol=1e-6, atol=1e-8)
    for _ in range(2):
        for rho, y0 in ((5.0, [1.0, 0.0, 0.0]), (28.0, [1.0, 2.0, 3.0])):
            args = (10.0, rho, 8.0 / 3.0)
            result = solver.solve((0.0, 20.0), y0, args=args)
            expected = Solver(LORENZ.fun, backend="cpu", rtol=1e-6, atol=1e-8)
            np.testing.assert_array_equal(result.y, expected.solve((0.0, 20.0), y0, args=args).y)
            assert result.y.shape == (3, result.t.size)
    assert result.t.size > 256  # more than there is room for at first


def test_bad_numbers_are_refused_again():
    """A state that is not finite is told by its place, in inputs known from before as well."""
    solver, args = Solver(decay, backend="python"), (np.full(2, 2.0),)
    for _ in range(2):
        solver.solve((0.0, 1.0), np.array([[1.0], [2.0]]), args=args)
        with pytest.raises(InvalidProblem, match=r"y0\[1, 0\] is nan"):
            solver.solve((0.0, 1.0), np.array([[1.0], [np.nan]]), args=args)
        with pytest.raises(InvalidProblem, match=r"y0\[0\] is inf"):
            solver.solve((0.0, 1.0), [np.inf], args=args)


def test_times_given_are_not_written_to():
    """Neither by this solve nor by a later one."""
    times, later = np.linspace(0.0, 1.0, 3), np.linspace(0.0, 0.5, 3)
    solver, given = Solver(decay, backend="python"), times.copy()
    solver.solve((0.0, 1.0), [1.0], times, args=(1.0,))
    solver.solve((0.0, 0.5), [1.0], later, args=(1.0,))
    np.testing.assert_array_equal(times, given)


def test_room_is_kept_for_a_few_shapes_only():
    """Inputs of many runs, or of ever other shapes, do not stay in memory."""
    solver = Solver(decay, backend="cpu")
    for n in range(1, 2 * MAX_RECURRING_SHAPES):
        solver.solve((0.0, 0.1), [1.0], args=(np.ones(n),))
    assert len(solver._setup.recurring) <= MAX_RECURRING_SHAPES
    solver.update()
    assert not solver._setup.recurring
    solver.solve((0.0, 0.1), [1.0], args=(np.ones(MAX_STAGED_ELEMENTS),))
    assert not solver._setup.recurring


# --- what is forgotten ----------------------------------------------------------------


def test_what_was_not_used_for_longest_is_forgotten_first():
    """A thing that is looked at stays, however many others come; at most so many are there."""
    recent = Recent(3)
    for name in "abc":
        assert recent.put(name, name.upper()) == name.upper()
    for number in range(10):
        assert recent.get("a") == "A"
        recent.put(number, str(number))
        assert len(recent) == 3
    assert list(recent) == [8, "a", 9]
    assert recent.get("b") is None
    assert recent.put("a", "another") == "A"  # what is there first stays
    assert recent.get("a") == "A"
    recent.clear()
    assert recent.get("a") is None


def test_what_is_remembered_holds_so_many_bytes_at_most():
    """The least recently used go until the rest fits; the latest one stays in any case."""
    recent = Recent(10, 100, len)
    for number, size in enumerate((40, 50, 30, 20)):
        recent.put(number, b"x" * size)
    assert list(recent) == [1, 2, 3]
    recent.put(4, b"x" * 1000)
    assert list(recent) == [4]
    recent.put(5, b"x")
    assert list(recent) == [5]


def test_a_kernel_in_use_is_never_built_again():
    """Any number of other systems and shapes between two solves does not cost the first one."""
    solver, held = Solver(decay, backend="python"), [0.0]
    changing = Solver(lambda t, y: [-held[0] * y[0]], method="euler", first_step=0.1,
                      backend="python")  # fmt: skip
    end(solver)
    built = solver.builds["kernel"]
    for n in range(2, 2 * MAX_RECURRING_SHAPES):
        solver.solve((0.0, 0.1), [1.0], args=(np.ones(n),))
        end(solver)
    kept = [recurring._batch.n_runs for recurring in solver._setup.recurring._kept.values()]
    assert kept[-1] == 2
    assert solver.builds["kernel"] == built
    for i in range(MAX_REMEMBERED + 5):
        held[0] = float(i)
        changing.solve((0.0, 0.1), [1.0])
        held[0] = -1.0
        changing.solve((0.0, 0.1), [1.0])
    assert changing.builds["kernel"] == MAX_REMEMBERED + 6


def test_arrays_kept_for_the_next_solve_are_bounded(monkeypatch):
    """By their bytes, those that the user gave among them; many times to save at are not kept."""
    monkeypatch.setattr("cubie.memory.MAX_RECURRING_BYTES", 100_000)
    solver = Solver(decay, backend="python", method="euler", first_step=0.1)
    for n in range(500, 510):
        solver.solve((0.0, 0.1), [1.0], args=(np.ones(n),))
    held = [recurring.held_bytes() for recurring in solver._setup.recurring._kept.values()]
    assert min(held) > 3 * 8 * 500
    assert 1 < len(held) < 10
    assert sum(held) <= 100_000
    n_recurring = len(solver._setup.recurring)
    monkeypatch.setattr("cubie.launch.recurring.MAX_STAGED_ELEMENTS", 100)
    solver.solve((0.0, 0.1), [1.0], np.linspace(0.0, 0.1, 30), args=(1.0,))
    assert len(solver._setup.recurring) == n_recurring


def test_large_arrays_of_integers_are_remembered_by_a_digest():
    """What a system is found again by does not hold the array; its content still decides."""
    numbers = np.arange(100_000)
    one = structure_of((numbers,))
    assert len(pickle.dumps(one)) < 1000
    assert one == structure_of((numbers.copy(),))
    numbers[-1] += 1
    assert one != structure_of((numbers,))


# ---- solve_ivp in one call ---------------------------------------------------------


def grown(rate):
    """Return a right-hand side of its own."""
    return lambda t, y: [rate * y[0]]


def solvers_made(monkeypatch):
    """Return a list that gets an entry for every solver that `solve_ivp` makes."""
    made = []

    class Counted(Solver):
        def __init__(self, fun, **options):
            made.append(fun)
            super().__init__(fun, **options)

    monkeypatch.setattr("cubie.ivp.Solver", Counted)
    return made


def test_a_call_with_the_same_function_and_options_finds_its_solver(monkeypatch):
    """Numbers may differ; another function, or option, has a solver of its own."""
    made, fun = solvers_made(monkeypatch), grown(1.0)
    options = {"rtol": 1e-7, "backend": "python"}
    for start in (1.0, 2.0):
        found = solve_ivp(fun, (0.0, 1.0), [start], **options)
        assert found.y[0, -1] == pytest.approx(start * np.e, rel=1e-5)
    assert made == [fun]
    solve_ivp(fun, (0.0, 1.0), [1.0], **options | {"rtol": 1e-5})
    other = grown(2.0)
    assert solve_ivp(other, (0.0, 1.0), [1.0], **options).y[0, -1] == pytest.approx(
        np.e**2, rel=1e-5
    )
    assert made == [fun, fun, other]


class Growth:
    """A model whose right-hand side is a method."""

    def __init__(self, rate):
        self.rate = rate

    def rhs(self, t, y):
        return [self.rate * y[0]]


def test_a_method_is_that_of_its_object(monkeypatch):
    """Each access makes it anew; that of another object is another, and the object may change."""
    made, one, other = solvers_made(monkeypatch), Growth(1.0), Growth(1.0)
    for model in (one, one, other, one):
        solve_ivp(model.rhs, (0.0, 1.0), [1.0], backend="python")
    assert made == [one.rhs, other.rhs]
    one.rate = -1.0
    result = solve_ivp(one.rhs, (0.0, 1.0), [1.0], rtol=1e-8, backend="python")
    assert result.y[0, -1] == pytest.approx(1 / np.e, rel=1e-4)


def square(t, y):
    """What is observed, and where it is three an event."""
    return y[0] ** 2 - 3.0


END = Event(square, terminal=True)
OPTIONS_AS_WRITTEN = {
    "atol": lambda: [1e-6, 1e-7],
    "rtol": lambda: np.full((3, 1), 1e-4),
    "max_step": lambda: np.full(3, 0.5),
    "summaries": lambda: {"y0": ["max", "min"]},
    "locations": lambda: {"state": "local"},
    "save_states": lambda: (1,),
    "observables": lambda: {"square": square},
    "events": lambda: [square, END],
    "mass_matrix": lambda: np.eye(2),
    "jac": lambda: [[-1.0, 0.0], [0.0, -1.0]],
    "breakpoints": lambda: [0.5],
}


def test_options_written_anew_for_each_call_find_the_solver(monkeypatch):
    """Lists, arrays and mappings count by what they hold; other contents have another solver."""
    decaying, start = lambda t, y: [-y[0], -y[1]], np.ones((3, 2))
    made = solvers_made(monkeypatch)
    for name, written in OPTIONS_AS_WRITTEN.items():
        for _ in range(3):
            method = "radau_iia_5" if name in ("mass_matrix", "jac") else "tsit5"
            solve_ivp(decaying, (0.0, 1.0), start, method, backend="python", **{name: written()})
        assert len(made) == 1, name
        made.clear()
    for atol in ([1e-6, 1e-7], (1e-6, 1e-7), [1e-6, 1e-8], np.array([1e-6, 1e-7]), [1e-6, 1e-7]):
        solve_ivp(decaying, (0.0, 1.0), start, backend="python", atol=atol)
    assert len(made) == 4  # the last one is the first


def test_a_solver_that_others_find_has_options_of_its_own():
    """Who changes an array that was an option changes no later solve but with that array."""
    fun, options = grown(1.0), {"backend": "python", "rtol": 1e-12}
    n_steps = lambda atol: solve_ivp(fun, (0.0, 1.0), [1.0], atol=atol, **options).n_steps  # noqa: E731
    mine = np.array([1e-3])
    coarse = n_steps(mine)
    mine[0] = 1e-11
    assert n_steps(mine) > coarse
    assert n_steps(np.array([1e-3])) == coarse
    wanted = {"y0": "max"}
    for kind in ("max", "min"):  # a mapping of another kind is read once by a solver
        wanted["y0"] = kind
        view = MappingProxyType(wanted)
        result = solve_ivp(fun, (0.0, 1.0), np.ones((2, 1)), summaries=view, backend="python")
        assert list(result.summaries["y0"]) == [kind]


def test_what_may_change_in_place_makes_the_solver_anew():
    """Options that are arrays or lists, equations in a list, and what a function refers to."""
    options = {"backend": "python", "rtol": 1e-8, "atol": 1e-10}
    equations = ["dx = x"]
    first = solve_ivp(equations, (0.0, 1.0), [1.0], **options)
    equations[0] = "dx = 2*x"
    second = solve_ivp(equations, (0.0, 1.0), [1.0], **options)
    assert second.y[0, -1] == pytest.approx(first.y[0, -1] ** 2, rel=1e-6)
    rates = [1.0]

    def fun(t, y):
        return [rates[0] * y[0]]

    ends = []
    for rate in (1.0, 2.0):
        rates[0] = rate
        ends.append(solve_ivp(fun, (0.0, 1.0), [1.0], **options).y[0, -1])
    assert ends == pytest.approx([np.e, np.e**2], rel=1e-6)
    mass = np.array([[1.0]])
    ends = []
    for entry in (1.0, 2.0):
        mass[0, 0] = entry
        ends.append(
            solve_ivp(fun, (0.0, 1.0), [1.0], "radau_iia_5", mass_matrix=mass, **options).y[0, -1]
        )
    assert ends == pytest.approx([np.e**2, np.e], rel=1e-5)


def test_equal_options_of_other_types_are_not_the_same():
    """True equals 1, but is no number of lanes: it is refused, whatever was solved before."""
    fun = grown(1.0)
    solve_ivp(fun, (0.0, 1.0), [1.0], lanes=1, backend="cpu")
    with pytest.raises(InvalidOption):
        solve_ivp(fun, (0.0, 1.0), [1.0], lanes=True, backend="cpu")
