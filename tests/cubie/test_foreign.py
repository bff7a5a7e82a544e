"""Right-hand sides that cannot be traced: compiled as they stand, on every target."""

import functools
import subprocess
import sys
import textwrap
import warnings

import numba
import numpy as np
import pytest
from numba.core.runtime import rtsys

from cubie import CubieError, InvalidOption, RunStatus, Solver, UntracedWarning, solve_ivp
from cubie.backend.foreign import UncompilableFunction
from cubie.backend.foreign_check import CompiledDiffers

# A fixed step of the simplest method keeps kernels, and so compile times, small.
SETTINGS = {"method": "euler", "first_step": 0.1, "fastmath": False}
SPAN = (0.0, 1.0)


@pytest.fixture(autouse=True)
def _without_warnings():
    """These functions are all untraced on purpose."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UntracedWarning)
        yield


# ---- functions that no trace can follow: a loop whose length depends on the states


def halvings(x, down_to=1e-3):
    """Count how often x can be halved; plain Python, called from the functions below."""
    count = 0
    while x > down_to:
        x *= 0.5
        count += 1
    return count


def depth(x):
    """Count the same by recursion."""
    if x < 1e-3:
        return 0
    return 1 + depth(0.5 * x)


compiled_halvings = numba.njit(halvings)
TABLE = np.linspace(0.0, 1.0, 40)
LARGE_TABLE = np.linspace(0.0, 1.0, 200_000)


def as_tuple(t, y, rate):
    """Return a tuple, with keyword and default arguments of a helper."""
    return -rate * y[0] * halvings(y[0], down_to=0.01), y[0] - 0.1 * halvings(abs(y[1]))


def as_list(t, y, rate):
    """Return a list that mixes ints and floats, from a helper numba compiled already."""
    return [0, -rate * compiled_halvings(y[1])]


def as_array(t, y, rate):
    """Return an expression of arrays, with a table from outside."""
    return np.array([y[1], -y[0]]) * TABLE[int(halvings(y[0]))] - rate * y


def filled(t, y, rate):
    """Fill an array of its own, and write to its argument: the solver's state is not touched."""
    slope = np.empty(2)
    y[0] = y[0] + 1.0
    for i in range(len(y)):
        slope[i] = -rate * y[i] * depth(y[i])
    return slope


def with_matrix(t, y, matrix, vector, n):
    """Take a matrix, a vector, and an int that Python needs as one."""
    result = np.zeros(n)
    for i in range(n):
        for j in range(n):
            result[i] += matrix[i, j] * y[j]
        result[i] += vector[i] * halvings(y[0]) + matrix.sum() - vector.shape[0]
    return result


def factory(scale):
    """Return a function with a closure over a function."""

    def scaled(x):
        return scale * halvings(x)

    def closure(t, y, rate):
        return y[1], -rate * scaled(y[0])

    return closure


def with_keyword(t, y, rate, gain):
    """Have an argument that only functools.partial fills."""
    return -rate * y[0] * halvings(y[0]), gain * y[1]


MATRIX = np.array([[-1.0, 0.5], [0.25, -2.0]])
FORMS = {
    "tuple": (as_tuple, (0.3,)),
    "list": (as_list, (0.3,)),
    "array": (as_array, (0.3,)),
    "filled": (filled, (0.3,)),
    "matrix": (with_matrix, (MATRIX, np.array([0.1, 0.2]), 2)),
    "closure": (factory(0.5), (0.3,)),
    "partial": (functools.partial(with_keyword, gain=-0.5), (0.3,)),
}


@pytest.mark.parametrize("form", FORMS)
def test_it_computes_what_the_interpreter_does(form):
    """The compiled solver and the plain Python function give the same trajectory."""
    function, args = FORMS[form]
    runs = [
        Solver(function, backend=backend, **SETTINGS).solve(SPAN, [[1.0, 0.7]], args=args)
        for backend in ("cpu", "python")
    ]
    assert runs[0].success.all()
    np.testing.assert_allclose(runs[0].y, runs[1].y, rtol=1e-13)


def test_single_precision_stays_single():
    """With float32 the function gets float32, and its result is stored as such."""
    solver = Solver(as_array, backend="cpu", dtype=np.float32, **SETTINGS)
    result = solver.solve(SPAN, [1.0, 0.7], args=(0.3,))
    exact = Solver(as_array, backend="python", **SETTINGS).solve(SPAN, [1.0, 0.7], args=(0.3,))
    assert result.y.dtype == np.float32
    np.testing.assert_allclose(result.y, exact.y, rtol=1e-5)


def test_the_user_is_told():
    """A warning when it happens, and a note in the result: it is slower than traced code."""
    solver = Solver(as_tuple, backend="python", **SETTINGS)
    with pytest.warns(UntracedWarning, match="cannot be traced"):
        result = solver.solve((0.0, 0.1), [1.0, 0.7], args=(0.3,))
    assert any("as_tuple" in note for note in result.notes)


@pytest.mark.parametrize("entry", ["solve", "prepare", "solve_ivp"])
def test_the_warning_points_at_the_users_line(entry):
    """Not at one in the package."""
    solver = Solver(as_tuple, backend="python", **SETTINGS)
    given = {"y0": [1.0, 0.7], "args": (0.3,)}
    calls = {
        "solve": lambda: solver.solve((0.0, 0.1), **given),
        "prepare": lambda: solver.prepare(**given),
        "solve_ivp": lambda: solve_ivp(as_tuple, (0.0, 0.1), backend="python", **given),
    }
    with pytest.warns(UntracedWarning) as caught:
        calls[entry]()
    assert [warning.filename for warning in caught] == [__file__]


def test_it_runs_on_one_lane_only():
    """More lanes are refused: the function is one run's."""
    solver = Solver(as_tuple, backend="cpu", lanes=4, **SETTINGS)
    with pytest.raises(InvalidOption, match="`lanes` is 4, but must be one of 1"):
        solver.solve(SPAN, [1.0, 0.7], args=(0.3,))


# ---- errors at run time -----------------------------------------------------


def raising(t, y):
    """Refuse negative states, with a text made at run time."""
    if y[0] < 0.0:
        raise ValueError("negative", y[0])
    return np.array([-0.1 * y[0] * halvings(y[0])])


@pytest.fixture
def allocations():
    """Count numba's allocations."""
    from numba.core.runtime import _nrt_python

    _nrt_python.memsys_enable_stats()
    yield rtsys.get_allocation_stats
    _nrt_python.memsys_disable_stats()


def test_an_exception_costs_its_run_only(allocations):
    """The other runs of the batch are as if it had not been there, and nothing leaks."""
    solver = Solver(raising, backend="cpu", **SETTINGS)
    start = np.linspace(1.0, 2.0, 50)[:, None]
    alone = solver.solve(SPAN, start)
    start_with_bad = start.copy()
    start_with_bad[17] = -1.0
    before = allocations()
    both = solver.solve(SPAN, start_with_bad)
    after = allocations()
    good = np.arange(50) != 17
    assert both.status[17] == RunStatus.FUNCTION_RAISED
    assert np.all(both.status[good] == RunStatus.SUCCESS)
    np.testing.assert_array_equal(both.y[good], alone.y[good])
    made, freed = after.alloc - before.alloc, after.free - before.free
    assert made == freed > 400, "an array for each call, and the exception's arguments"


# ---- object code on disk ----------------------------------------------------

SCRIPT = """
    import sys
    import warnings

    import numpy as np

    from cubie import Solver

    warnings.simplefilter("ignore")

    def halvings(x):
        count = 0
        while x > 1e-3:
            x *= 0.5
            count += 1
        return count

    def plain(t, y):
        return (-y[0] * halvings(y[0]),)

    def arrays(t, y):
        return np.array([-y[0]]) * halvings(y[0])

    for function in (plain, arrays):
        solver = Solver(function, backend="cpu", method="euler", first_step=0.1)
        result = solver.solve((0.0, 1.0), np.full((20, 1), 1.5))
        kernel = solver.kernel.compiled
        print(function.__name__, kernel.compiled_from_cache, "numba" in sys.modules,
              result.y[-1, 0, -1].hex())
"""


def shares(x):
    """Seven by how many quarters fit into a positive number: by none at the end."""
    quarters = 0
    while x > 0.25:
        x, quarters = x - 0.25, quarters + 1
    return quarters


@pytest.mark.parametrize("backend", ["python", "cpu"])
@pytest.mark.parametrize("divide", [lambda n: 7 // n, lambda n: 7 % n], ids=["quotient", "rest"])
def test_whole_numbers_divided_by_zero_end_the_run(divide, backend):
    """They raise, as Python's do; numba's would be 0, which passes for a number."""

    def fun(t, y):
        return [-1.0 - 0.0 * divide(shares(y[0]))]

    def event(t, y):
        return divide(shares(y[0])) - 100.5

    solver = Solver(fun, backend=backend, **SETTINGS)
    assert solver.solve(SPAN, [1.0]).status == RunStatus.FUNCTION_RAISED
    ended = solve_ivp(lambda t, y: [-1.0], SPAN, [1.0], events=event, backend=backend, **SETTINGS)
    assert ended.status == RunStatus.EVENT_RAISED


def test_kept_code_runs_in_a_new_process(tmp_path, monkeypatch):
    """Code that makes arrays starts numba's runtime when loaded; other code does without it."""
    monkeypatch.setenv("CUBIE_CACHE_DIR", str(tmp_path / "cache"))
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    outputs = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, str(script)], capture_output=True, text=True, check=True
        )
        outputs.append([line.split() for line in done.stdout.splitlines()])
    first, second = outputs
    assert [line[:3] for line in first] == [["plain", "False", "True"], ["arrays", "False", "True"]]
    assert [line[:3] for line in second] == [["plain", "True", "False"], ["arrays", "True", "True"]]
    assert [line[3] for line in first] == [line[3] for line in second]


def large(t, y):
    """Look up a table too large for numba to copy: the code holds its address."""
    return (-y[0] * LARGE_TABLE[int(halvings(y[0]))],)


def test_code_with_addresses_of_this_process_is_not_kept():
    """What another process would crash with is compiled there again."""
    for _ in range(2):
        solver = Solver(large, backend="cpu", **SETTINGS)
        assert solver.solve(SPAN, [1.0]).success
        assert not solver.kernel.compiled.compiled_from_cache


# ---- what numba cannot compile ----------------------------------------------


def with_object_mode(t, y):
    """Call back into Python."""
    with numba.objmode(result="float64"):
        result = float(y[0])
    return (-result * halvings(y[0]),)


def printing(t, y):
    """Print a number, which needs Python too."""
    if t > 2.0:
        print(t)
    return (-y[0] * halvings(y[0]),)


def unsupported(t, y):
    """Use a dictionary of two kinds of keys."""
    table = {1: 0.5, "two": y[0]}
    return (table["two"] * halvings(y[0]),)


def with_a_format(t, y):
    """Go through text of a form that numba's reader of bytecode does not know."""
    return (-float(f"{y[0]:.3f}"),)


def with_mixed_rows(t, y):
    """Make a matrix of a row of floats and one of ints: an assertion inside of numba fails."""
    return (-np.array([[2.0, 1], [0, 3]])[int(y[0]), 0],)


COMPILER_FAULTS = [with_a_format, with_mixed_rows]
UNSUPPORTED = [with_object_mode, printing, unsupported, *COMPILER_FAULTS]


@pytest.mark.parametrize("function", UNSUPPORTED)
def test_a_function_numba_cannot_compile_is_named(function):
    """The error says which function, why, and what to do, before anything runs."""
    solver = Solver(function, backend="cpu", **SETTINGS)
    with pytest.raises(UncompilableFunction) as caught:
        solver.solve((0.0, 0.1), [1.0])
    message = str(caught.value)
    assert caught.value.function == function.__name__
    assert message.startswith(f"numba cannot compile `{function.__name__}` for the cpu target: ")
    assert caught.value.reason in message
    assert "backend='python'" in message
    assert "cannot be traced" in message
    assert "a table of values with np.interp" in message
    assert "Failed in nopython" not in message
    if function in (with_object_mode, printing):
        assert "Python objects" in caught.value.reason


# ---- GPUs, without one ------------------------------------------------------


def cuda_tuple(t, y, matrix):
    """Change its arguments' copies, raise, and return a tuple."""
    y[0] = y[0] + matrix[1, 0]
    if t > 100.0:
        raise ValueError("late")
    return -y[0] * compiled_halvings(y[1]), -matrix[0, 0] * halvings(y[0]) + y[1]


@pytest.mark.parametrize("location", ["local", "shared"])
def test_it_compiles_for_a_gpu(location):
    """Tuples, helpers, matrices and exceptions work on sm_90, wherever the state lives."""
    solver = Solver(cuda_tuple, backend="cuda", locations=location, **SETTINGS)
    solver.prepare([1.0, 0.7], args=(MATRIX,))
    resources = solver.kernel.resources((9, 0))
    assert resources.registers > 0
    assert "NRT_" not in resources.ptx


@pytest.mark.parametrize("function", [as_list, as_array])
def test_memory_of_its_own_is_refused_on_a_gpu(function):
    """Lists and arrays cannot be made there; the error says what can."""
    solver = Solver(function, backend="cuda", **SETTINGS)
    solver.prepare([1.0, 0.7], args=(0.3,))
    with pytest.raises(UncompilableFunction, match="return a tuple of numbers") as caught:
        solver.kernel.resources((9, 0))
    assert function.__name__ in str(caught.value)


def wraps_around(t, y):
    steps = int(t)
    return [float(2 ** (70 + steps)) * 1e-21, -y[1]]


def multiplies_ints(t, y):
    digits = int(y[0] * 1e10)
    return [float(digits * digits // 10**18)]


@pytest.mark.filterwarnings("ignore::cubie.UntracedWarning")
@pytest.mark.parametrize(("function", "y0"), [(wraps_around, [1.0, 0.5]), (multiplies_ints, [1.0])])
def test_compiled_as_it_stands_it_computes_what_python_does(function, y0):
    """Where it would not, as with ints beyond 64 bits, it is refused before a run is solved."""
    with pytest.raises(CubieError, match="differs from what Python computes"):
        solve_ivp(function, (0.0, 1.0), y0, backend="cpu")
    assert solve_ivp(function, (0.0, 1e-3), y0, backend="python", rtol=0.1).success


def loses_digits(t, y):
    steps = int(t) + 1
    return [float((np.float32(1.0) + 3e-8) - np.float32(1.0)) * 1e8 * steps + y[0]]


def sums_truths(t, y):
    steps = int(t) + 1
    return [float((y[0] > 0.0) + (y[0] > 0.1)) * steps]


@pytest.mark.filterwarnings("ignore::cubie.UntracedWarning")
@pytest.mark.parametrize("function", [wraps_around, loses_digits, sums_truths])
def test_a_difference_is_told_and_no_cause_of_it_claimed(function):
    """Both values, where and in which precision; what may be the cause is a list of all."""
    y0 = [1.0, 0.5] if function is wraps_around else [1.0]
    with pytest.raises(CompiledDiffers) as caught:
        solve_ivp(function, (0.0, 1.0), y0, backend="cpu")
    error, said = caught.value, str(caught.value)
    assert f"{error.compiled:.9g} compiled and {error.expected:.9g} in Python" in said
    assert f"in double precision, at t={error.t:g}, y=[{error.y[0]:.6g}" in said
    assert all(cause in said for cause in ("64 bits", "single precision", "truth values", "`hash`"))
    assert error.compiled != error.expected


def clamps(t, y):
    y[0] = max(y[0], 0.2)
    return [-y[0], -y[1]]


def clamps_and_counts(t, y):
    y[1] = max(y[1], 2.0)
    n = 0
    while n < int(2 + y[0]):
        n += 1
    return [-n * y[0], -y[1]]


@pytest.mark.filterwarnings("ignore::cubie.UntracedWarning")
@pytest.mark.parametrize(("function", "state"), [(clamps, 0), (clamps_and_counts, 1)])
def test_writing_to_the_states_is_told(function, state):
    """A function that changes the array it is given changes a copy, traced or not."""
    result = solve_ivp(function, (0.0, 1.0), [1.0, 1.0], backend="python")
    assert any(f"writes to y[{state}]" in note for note in result.notes)
