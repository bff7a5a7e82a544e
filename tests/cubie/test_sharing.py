"""Threads may share a solver, and what solves hold can be copied and pickled."""

import copy
import os
import pickle
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

from cubie import Solver, UntracedWarning, solve_ivp
from cubie.memory import MAX_RECURRING_SHAPES, MAX_REMEMBERED
from cubie.systems import equations, trace
from tests.oracle.problems import LORENZ

THREADS = 8
RHO = np.linspace(15.0, 35.0, 40)


def stiff(t, y, rate):
    return [-rate * (y[0] - np.cos(t)), y[0] - y[1]]


def untraceable(t, y, rate):
    total = 0.0
    while total < 1.0:
        total += 0.25 + 0.0 * y[0]
    return [-rate * total * y[0]]


def decay(t, y, rate):
    return [-rate * y[0]]


def at_once(work, inputs, threads=THREADS):
    """Return `work` of each input, from threads that begin together and switch often."""
    start, before = threading.Barrier(threads), sys.getswitchinterval()
    shares = [inputs[number::threads] for number in range(threads)]

    def share(number):
        start.wait(60)
        return [work(given) for given in shares[number]]

    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(threads) as pool:
            done = list(pool.map(share, range(threads)))
    finally:
        sys.setswitchinterval(before)
    results = [None] * len(inputs)
    for number, part in enumerate(done):
        results[number::threads] = part
    return results


def bits(result):
    """Return all that a result holds, to the last bit."""
    arrays = (result.t, result.y, result.status, result.n_steps, result.t_reached, result.n_newton)
    return [np.asarray(array).tobytes() for array in arrays]


# ---- threads ----------------------------------------------------------------


def solves(kind):
    """Return (function, options, [(y0, t_eval, args, changes)]) of solves that differ in all."""
    if kind == "explicit":
        shapes = (None, 1, 3, 40)
        given = [
            ([1.0 + i, 0.0, 0.0], None, (10.0, RHO[:n] if n else 28.0 + i, 8.0 / 3.0), {})
            for i in range(12)
            for n in shapes
        ]
        given += [
            ([1.0, i, 0.0], np.linspace(0, 1, 5 + i % 3), (10.0, RHO, 2.0), {}) for i in range(9)
        ]
        given += [
            ([1.0, 0.0, 0.0], None, (10.0, RHO, 2.0), {"rtol": 10.0**-i}) for i in range(3, 8)
        ]
        return LORENZ.fun, {"rtol": 1e-6}, given
    rates = [np.geomspace(1.0, 1e4, 2 + i % 5) for i in range(60)]
    given = [
        ([0.1 * i] * (1 if kind == "untraceable" else 2), None, (r,), {})
        for i, r in enumerate(rates)
    ]
    if kind == "untraceable":
        return untraceable, {}, given
    return stiff, {"method": "kvaerno5"}, given


@pytest.mark.parametrize("kind", ["explicit", "implicit", "untraceable"])
@pytest.mark.parametrize("backend", ["cpu", "python"])
def test_threads_that_share_a_solver_get_what_one_alone_gets(kind, backend):
    """Bit for bit, whatever shapes, settings and times the others ask for meanwhile."""
    fun, options, given = solves(kind)
    if backend == "python":
        given = given[::8]
    options = {"backend": backend, "fastmath": False, **options}
    span = (0.0, 0.1 if backend == "python" else 1.0)

    def solved(solver, given):
        y0, times, args, changes = given
        times = None if times is None else times * span[1]
        return bits(solver.solve(span, y0, times, args=args, **changes))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UntracedWarning)
        serial = Solver(fun, **options)
        expected = [solved(serial, each) for each in given]
        for _ in range(3 if backend == "cpu" else 1):
            shared = Solver(fun, **options)
            assert at_once(partial(solved, shared), given) == expected
            assert at_once(partial(solved, shared), given) == expected


def test_more_shapes_and_systems_than_are_remembered_are_solved_by_threads():
    """What one thread forgets while another looks it up is made anew."""
    solver = Solver(decay, backend="cpu", save="final")
    sizes = [1 + i % (2 * MAX_RECURRING_SHAPES) for i in range(600)]
    serial = Solver(decay, backend="cpu", save="final")
    expected = {n: bits(serial.solve((0.0, 0.1), [1.0], args=(np.ones(n),))) for n in set(sizes)}

    def solved(n):
        return bits(solver.solve((0.0, 0.1), [1.0], args=(np.ones(n),))) == expected[n]

    assert all(at_once(solved, sizes))


def test_counts_that_become_constants_are_kept_apart_by_threads():
    """An int that was traced as a constant makes a system, and a kernel, of its own."""

    def powers(t, y, n):
        return [-(y[0] ** n)]

    solver = Solver(powers, backend="python", save="final", method="euler", first_step=0.1)
    counts = [1 + i % (MAX_REMEMBERED // 16) for i in range(64)]
    ends = at_once(lambda n: float(solver.solve((0.0, 0.1), [0.5], args=(n,)).y[0, -1]), counts)
    assert ends == [0.5 - 0.1 * 0.5**n for n in counts]


def test_a_change_of_settings_reaches_whole_solves():
    """A solve has the settings from before or after `update`, never some of each, and none of
    before lasts."""
    choices = [{"rtol": 1e-3, "max_step": 0.01}, {"rtol": 1e-9, "max_step": np.inf}]
    given = (0.0, 1.0), [1.0]
    options = {"backend": "cpu", "args": (np.full(3, 2.0),)}
    args = options.pop("args")
    allowed = [bits(Solver(decay, **options, **c).solve(*given, args=args)) for c in choices]
    solver, over = Solver(decay, **options, **choices[0]), threading.Event()

    def changes():
        for i in range(200):
            solver.update(**choices[i % 2])
        over.set()

    changing = threading.Thread(target=changes)
    changing.start()
    seen = []
    while not over.is_set():
        seen.append(bits(solver.solve(*given, args=args)))
    changing.join()
    assert all(one in allowed for one in seen)
    assert bits(solver.solve(*given, args=args)) == allowed[1]


def test_threads_that_want_the_same_kernel_build_one():
    """Whoever comes second finds what the first made."""
    solver = Solver(LORENZ.fun, backend="cpu", rtol=1.7e-5)
    results = at_once(
        lambda y: bits(solver.solve((0.0, 0.5), [y, 0.0, 0.0], args=(10.0, RHO, 8.0 / 3.0))),
        [1.0] * THREADS,
    )
    assert all(one == results[0] for one in results)
    assert solver.builds["kernel"] == 1


COMPILING = """
import sys, threading
import numpy as np
from cubie import Solver, solve_ivp

sys.setswitchinterval(1e-6)
start = threading.Barrier(6)
found = {}

def explicit(t, y, k): return [-k * y[0], k * y[0] - y[1]]
def implicit(t, y, k): return [-k * y[0] * y[1], k * y[0] - y[1]]
def loop(t, y, k):
    total = 0.0
    while total < 1.0:
        total += 0.5 + 0.0 * y[0]
    return [-k * total * y[0], y[0]]

KINDS = ((explicit, "tsit5"), (implicit, "rodas5p"), (loop, "tsit5"))

def work(number):
    fun, method = KINDS[number // 2]
    start.wait()
    y = solve_ivp(fun, (0, 1), [1.0, 0.5], method, args=(np.ones(3),), backend="cpu").y
    found[number] = y[0, :, -1]

threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
for thread in threads: thread.start()
for thread in threads: thread.join()
for number, (fun, method) in enumerate(KINDS):
    alone = Solver(fun, method=method, backend="cpu").solve((0, 1), [1.0, 0.5], args=(np.ones(3),))
    for one in (found[2 * number], found[2 * number + 1]):
        assert np.array_equal(one, alone.y[0, :, -1]), number
print("equal")
"""


def test_threads_may_be_the_first_to_trace_and_compile(tmp_path):
    """In a process that has compiled nothing, different kernels and equal ones, all at once."""
    done = run(COMPILING, CUBIE_CACHE_DIR=str(tmp_path / "cache"))
    assert done.stdout == "equal\n", done.stderr


def run(program, **environment):
    """Run a program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_tracing_in_threads_leaves_warnings_and_logs_as_they_were():
    """What a trace puts back is not what another one left there."""
    filters, log = list(warnings.filters), []

    def logged(t, y, k):
        log.append(k)
        return [-k * y[0]]

    def traced(number):
        # Names make the requests differ: none finds what another one traced.
        return trace(logged, 1, (2.0,), names=[f"x{number}"]).kind

    assert at_once(traced, list(range(40))) == ["traced"] * 40
    assert log == []
    assert warnings.filters == filters


def test_the_kernel_of_a_solver_is_that_of_its_latest_solve():
    """In a thread that uses it alone, whatever others did before."""
    solver = Solver(decay, backend="python")
    solver.solve((0.0, 0.1), [1.0], args=(1.0,))
    first = solver.kernel
    other = threading.Thread(
        target=solver.solve, args=((0.0, 0.1), np.ones(1, "f4")), kwargs={"args": (1.0,)}
    )
    other.start()
    other.join()
    assert solver.kernel.backend.dtype == np.float32
    assert first.backend.dtype == np.float64


# ---- copies -----------------------------------------------------------------

COPIES = {
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@pytest.fixture(params=COPIES)
def copied(request):
    """A way to copy something."""
    return COPIES[request.param]


class Model:
    """A right-hand side with a state of its own that does not change."""

    def __init__(self, rate):
        self.rate = rate

    def rhs(self, t, y, factor):
        return [-self.rate * factor * y[0]]


SOLVERS = {
    "cpu": lambda: Solver(decay, backend="cpu"),
    "python": lambda: Solver(decay, backend="python"),
    "implicit": lambda: Solver(decay, method="sdirk2", backend="cpu", linear_solver="bicgstab"),
    "fixed": lambda: Solver(decay, method="euler", first_step=0.01, backend="cpu"),
    "method": lambda: Solver(Model(3.0).rhs, backend="cpu"),
    "partial": lambda: Solver(partial(decay), backend="cpu", rtol=[1e-7]),
    "untraceable": lambda: Solver(untraceable, backend="cpu"),
    "equations": lambda: Solver(["dx = -k*x"], backend="cpu"),
    "pinned": lambda: Solver(decay, backend="cpu", stage_rhs_location="shared", safety=0.7),
    "mass": lambda: Solver(
        decay, backend="cpu", method="rosenbrock23", mass_matrix=np.array([[2.0]])
    ),
    "jac": lambda: Solver(
        untraceable, backend="cpu", method="rosenbrock23", jac=np.array([[-1.0]])
    ),
}


@pytest.mark.filterwarnings("ignore::cubie.UntracedWarning")
@pytest.mark.parametrize("name", SOLVERS)
def test_a_solver_can_be_copied_before_and_after_it_has_solved(name, copied):
    """The copy gives the same bits, and goes its own way when settings change."""
    solver = SOLVERS[name]()
    problem = {"t_span": (0.0, 1.0), "y0": [1.0], "args": (np.array([1.0, 2.0]),)}
    unused = copied(solver)
    expected = bits(solver.solve(**problem))
    used = copied(solver)
    for one in (unused, used):
        assert bits(one.solve(**problem)) == expected
        assert bits(one.solve(**problem)) == expected
        assert one.options == solver.options
    used.update(max_steps=1)
    assert (used.solve(**problem).status < 0).all()
    assert bits(solver.solve(**problem)) == expected
    assert copied(solver.kernel).plan == solver.plan


def test_copies_of_a_kernel_launch_alike(copied):
    """A kernel that has run, and its copy, write the same outputs."""
    from cubie.launch.capacity import Kept
    from cubie.launch.inputs import make_inputs
    from cubie.launch.outputs import make_outputs
    from cubie.run.saving import SaveMode

    solver = Solver(decay, backend="cpu", save="final", first_step=0.01)
    solver.solve((0.0, 1.0), [1.0], args=(np.array([1.0, 2.0]),))
    rates = np.array([[1.0, 2.0, 0.0]])

    def launched(kernel):
        inputs = make_inputs(np.ones((1, 1)), rates[:, :2], (0.0, 1.0), "float64", first_step=0.01)
        outputs = make_outputs(Kept(SaveMode.FINAL, 2, (("states", 1),), np.dtype(float)), 1)
        kernel.launch(2, inputs, outputs)
        return outputs.arrays.states.tobytes()

    assert launched(copied(solver.kernel)) == launched(solver.kernel)


@pytest.mark.parametrize("save", [None, "steps", "final"])
def test_results_can_be_copied(save, copied):
    """Before and after their arrays were asked for; each has memory of its own."""
    result = solve_ivp(
        decay, (0.0, 1.0), [1.0], args=(np.array([1.0, 2.0]),), backend="cpu", save=save
    )
    untouched, expected = copied(result), bits(result)
    for one in (untouched, copied(result)):
        assert bits(one) == expected
        assert (one.notes, one.plan, one.message) == (result.notes, result.plan, result.message)
        assert one.nfev.tolist() == result.nfev.tolist()


def test_a_pickled_result_holds_its_numbers_once():
    """Asking for arrays does not make it larger."""
    result = solve_ivp(decay, (0.0, 1.0), [1.0], args=(np.ones(10_000),), backend="cpu")
    before = len(pickle.dumps(result))
    bits(result)
    assert len(pickle.dumps(result)) <= before


def test_systems_and_equations_can_be_copied(copied):
    """They compute the same, and are equal."""
    system, text = trace(decay, 1, (2.0,)), equations(["dx = -k*x"])
    slope = [0.0]
    copied(system).rhs(0.0, [3.0], [2.0], slope, 0)
    assert slope == [-6.0]
    assert copied(system) == system
    assert copied(text) == text
    assert copied(text).function(0.0, [3.0], 2.0) == [-6.0]


RECEIVING = """
import pickle, sys
solver, y = pickle.load(open(sys.argv[1], "rb"))
import numpy as np
again = solver.solve((0.0, 1.0), [1.0, 0.0, 0.0], args=(10.0, np.linspace(15, 35, 40), 8 / 3)).y
print(np.array_equal(again, y))
"""


def test_a_solver_arrives_in_another_process(tmp_path):
    """With what it solved, where another cache directory, or none, is used."""
    solver = Solver(LORENZ.fun, backend="cpu", rtol=1e-6)
    result = solver.solve((0.0, 1.0), [1.0, 0.0, 0.0], args=(10.0, RHO, 8.0 / 3.0))
    (tmp_path / "sent").write_bytes(pickle.dumps((solver, result.y)))
    program = RECEIVING.replace("sys.argv[1]", repr(str(tmp_path / "sent")))
    done = run(
        program, CUBIE_CACHE_DIR=str(tmp_path / "another"), PYTHONPATH=os.pathsep.join(sys.path)
    )
    assert done.stdout == "True\n", done.stderr
