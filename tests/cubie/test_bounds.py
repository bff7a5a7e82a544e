"""Indices outside of an array, in functions compiled as they stand: never a value, one run only."""

import os
import subprocess
import sys
import textwrap
import warnings

import numba
import numpy as np
import pytest

from cubie import RunStatus, Solver, UntracedWarning, solve_ivp
from cubie.backend.foreign import UncompilableFunction

TABLE = np.linspace(1.0, 2.0, 20)
MATRIX = np.ones((20, 20))
NUMBERS = [float(i) for i in range(20)]
MANY_NUMBERS = NUMBERS * 5
END = 2.0  # where `int(t / 0.1)` passes the end of the table


@pytest.fixture(autouse=True)
def _without_warnings():
    """These functions are all untraced on purpose."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UntracedWarning)
        yield


def entry(table, i):
    """Look up in a function of its own."""
    return table[i]


def of_array(t, y, table):
    """Index an array from outside."""
    return (TABLE[int(t / 0.1)] - y[0],)


def of_row(t, y, table):
    """Index the first axis."""
    return (MATRIX[int(t / 0.1), 3] - y[0],)


def of_column(t, y, table):
    """Index the last axis."""
    return (MATRIX[3, int(t / 0.1)] - y[0],)


def of_row_itself(t, y, table):
    """Take a row, then an entry."""
    return (MATRIX[int(t / 0.1)][3] - y[0],)


def of_view(t, y, table):
    """Index a part of an array, which ends before the array does."""
    return (MATRIX[:20][int(t / 0.1), 0] - y[0],)


def of_tuple(t, y, table):
    """Index a short list from outside."""
    return (NUMBERS[int(t / 0.1)] - y[0],)


def of_long_list(t, y, table):
    """Index a long list from outside."""
    return (MANY_NUMBERS[int(t / 0.02)] - y[0],)


def of_argument(t, y, table):
    """Index an argument."""
    return (table[int(t / 0.1)] - y[0],)


def of_state(t, y, table):
    """Index the state."""
    return (y[int(t / 2.0)] - y[0],)


def of_helper(t, y, table):
    """Index in another function."""
    return (entry(TABLE, int(t / 0.1)) - y[0],)


compiled_entry = numba.njit(entry)


def of_compiled_helper(t, y, table):
    """Index in a function that was compiled before, without checks."""
    return (compiled_entry(TABLE, int(t / 0.1)) - y[0],)


def below(t, y, table):
    """Index from the end, beyond the beginning."""
    return (TABLE[-1 - int(t / 0.1)] - y[0],)


EVERYWHERE = (of_array, of_column, of_row_itself, of_tuple, of_argument, of_compiled_helper)
ALIKE = (of_helper, of_row, of_view, of_long_list, of_state, below)


def chosen(t, y, table):
    """Index an array by arrays."""
    return (TABLE[np.arange(2) + int(t / 0.1) - 1].sum() - y[0],)


def taken(t, y, table):
    """Index by a function."""
    return (TABLE.take(int(t / 0.1)) - y[0],)


def stored(t, y, table):
    """Write beyond the end."""
    own = np.zeros(20)
    own[int(t / 0.1)] = 1.0
    return (own[0] - y[0],)


def own_list(t, y, table):
    """Index a list of one's own."""
    own = [1.0, 2.0] * 10
    return (own[int(t / 0.1)] - y[0],)


def own_result(t, y, table):
    """Return fewer numbers than there are states."""
    own = np.ones(20 - int(t / 0.1))
    return own[:1] - y[0]


WITH_MEMORY = (chosen, stored, own_result)
ALIKE_WITH_MEMORY = (taken, own_list)
SOME, ALL = (*EVERYWHERE, *WITH_MEMORY), (*EVERYWHERE, *WITH_MEMORY, *ALIKE, *ALIKE_WITH_MEMORY)


@pytest.mark.parametrize(
    ("backend", "function"),
    [
        *(("python", function) for function in ALL),
        *(("cpu", function) for function in SOME),
        *(
            pytest.param("cpu", function, marks=pytest.mark.every_config)
            for function in (*ALIKE, *ALIKE_WITH_MEMORY)
        ),
    ],
)
def test_an_index_beyond_the_end_ends_the_run(function, backend):
    """At the last step before it, with a status that says so; nothing beyond it is read."""
    settings = {"method": "euler", "first_step": 0.125, "backend": backend}
    result = solve_ivp(function, (0.0, 4.0), [1.0], args=(list(TABLE),), **settings)
    assert result.status == RunStatus.FUNCTION_RAISED
    assert result.t_reached == pytest.approx(END, abs=0.13)
    assert np.isfinite(result.y).all()
    assert "index outside of an array" in result.message
    before = solve_ivp(function, (0.0, 1.75), [1.0], args=(list(TABLE),), **settings)
    assert before.success


@pytest.mark.parametrize("method", ["bogacki_shampine32", "kvaerno3", "rosenbrock23"])
def test_smaller_steps_are_tried_first(method):
    """A run gets as far as the function does, with every family of methods."""
    result = solve_ivp(of_array, (0.0, 4.0), [1.0], method, args=([1.0],), backend="cpu")
    assert result.status == RunStatus.FUNCTION_RAISED
    assert result.t_reached == pytest.approx(END, rel=1e-6)


def by_rate(t, y, rate):
    """Leave the table at another time in each run."""
    return (TABLE[int(rate * t / 0.1)] - y[0],)


@pytest.mark.parametrize("backend", ["cpu", "python"])
def test_the_other_runs_are_as_if_alone(backend):
    """To the last bit, and so is the run that ends."""
    rates = np.array([0.25, 2.0, 0.5, 4.0, 0.1])
    together = solve_ivp(by_rate, (0.0, 2.5), [1.0], args=(rates,), backend=backend)
    assert together.success.tolist() == [True, False, True, False, True]
    for i in range(len(rates)):
        alone = solve_ivp(by_rate, (0.0, 2.5), [1.0], args=(rates[i : i + 1],), backend=backend)
        assert alone.status[0] == together.status[i]
        assert alone.y.tobytes() == together.y[i : i + 1].tobytes()


def rarely(t, y, bound):
    """Raise where a step went too far, then blow up."""
    if y[0] > bound and t < 0.5:
        raise ValueError("too large")
    count = 0
    while count < y[0] and count < 3:
        count += 1
    return (y[0] * y[0] if t > 1.0 else 0.0 * count + 1e-3,)


def test_only_what_stops_a_run_is_blamed():
    """An exception that smaller steps avoided is forgotten when the run ends for another reason."""
    result = solve_ivp(rarely, (0.0, 5000.0), [1.0], args=(1.01,), first_step=100.0, backend="cpu")
    assert result.t_reached > 1.0
    assert result.status in (RunStatus.NON_FINITE, RunStatus.STEP_TOO_SMALL)


@pytest.mark.parametrize("function", [of_array, of_tuple])
def test_bounds_are_checked_on_a_gpu(function):
    """Without a GPU: the compiled code can give NaN, which only a failed check does."""
    solver = Solver(function, method="euler", first_step=0.125, backend="cuda")
    solver.prepare([1.0], args=(list(TABLE),))
    ptx = solver.kernel.resources((9, 0)).ptx
    assert "0d7FF8000000000000" in ptx


SIMULATED = """
    import warnings
    import numpy as np
    from cubie import solve_ivp

    warnings.simplefilter("ignore")
    TABLE = np.linspace(1.0, 2.0, 20)

    def by_rate(t, y, rate):
        return (TABLE[int(rate * t / 0.1)] - y[0],)

    result = solve_ivp(by_rate, (0.0, 2.5), [1.0], args=(np.array([0.5, 2.0, 0.25]),),
                       backend="cuda", method="euler", first_step=0.125)
    print(*result.status)
"""


def test_a_simulated_gpu_goes_on_with_the_other_runs():
    """The status is that of the compiled targets."""
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "1"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SIMULATED)],
        capture_output=True, text=True, check=True, env=environment,
    )  # fmt: skip
    assert done.stdout.split() == ["0", str(int(RunStatus.FUNCTION_RAISED)), "0"]


def through_flat(t, y, table):
    """Use the one index that numba does not check."""
    return (TABLE.flat[int(t / 0.1)] - y[0],)


def test_an_index_that_cannot_be_checked_is_refused():
    """The error says what to use instead."""
    with pytest.raises(UncompilableFunction, match=r"`\.flat`.*Use `\.ravel\(\)`"):
        solve_ivp(through_flat, (0.0, 1.0), [1.0], args=([1.0],), backend="cpu")


def writes_argument(t, y, matrix):
    """Write to a matrix of parameters, and loop as no trace can."""
    if y[0] > 1e6:
        matrix[0, 0] = 0.0
    return (TABLE[int(t / 0.1)] - matrix[0, 0] * y[0],)


def test_parameters_are_read_only():
    """What a function writes there would be lost with the next call."""
    with pytest.raises(UncompilableFunction, match="readonly"):
        solve_ivp(writes_argument, (0.0, 1.0), [1.0], args=(np.ones((1, 1)),), backend="cpu")
