"""What a user gives for numbers: read as such, or refused with what was given and what to do."""

import re
import warnings
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd  # which the planner's engine brings
import pytest

from cubie import InvalidOption, InvalidProblem, Solver, solve_ivp
from cubie.errors import LONGEST_SHOWN, shown
from cubie.systems.errors import BatchShapeError, RightHandSideError

HUGE = 10**400
MASKED = np.ma.array([0.25, 0.5, 1.0], mask=[False, True, False])


def decay(t, y, rate=1.0):
    """A system of two states with one rate."""
    return [-rate * y[0], rate * y[0] - y[1]]


def solve(fun=decay, t_span=(0.0, 1.0), y0=(1.0, 0.5), **options):
    """A problem without faults but for those that the arguments bring in."""
    return solve_ivp(fun, t_span, y0, **({"backend": "python"} | options))


def told(error, **arguments):
    """Return the message of the error that a problem is refused with, of exactly this type."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(error) as caught:
            solve(**arguments)
    assert type(caught.value) is error
    return str(caught.value)


# Per kind of what is no number: one such entry, and what the message says of it.
NO_NUMBERS = {
    "text": ("0.5", "the text '0.5'; convert it to a number"),
    "NumPy text": (np.str_("0.5"), "the text '0.5'; convert it to a number"),
    "bytes": (b"0.5", "the bytes b'0.5'; convert them to a number"),
    "truth": (True, "the truth value True; give 1.0 or 0.0"),
    "NumPy truth": (np.True_, "the truth value True; give 1.0 or 0.0"),
    "complex": (1j, "the complex number 1j; give its real and imaginary part"),
    "date": (np.timedelta64(1, "s"), "the date or duration np.timedelta64(1,'s'); give a number"),
    "nothing": (None, "None, which is no number"),
    "too large": (HUGE, "an int of 1329 bits, which is beyond the largest number, 1.8e+308"),
    "negative": (-HUGE, "an int of 1329 bits, which is beyond the largest number, 1.8e+308"),
}


@pytest.mark.parametrize(("entry", "what"), NO_NUMBERS.values(), ids=NO_NUMBERS)
@pytest.mark.parametrize(
    ("argument", "give", "start"),
    [
        ("y0", lambda x: [x, 1.0], "`y0` must hold real numbers, but contains "),
        ("y0", lambda x: np.array([[x, 1.0]], dtype=object), "`y0` must hold real numbers, but "),
        ("t_eval", lambda x: [x], "`t_eval` must be a sequence of numbers, but contains "),
        ("t_span", lambda x: (0.0, x), "`t_span` is ("),
        ("rtol", lambda x: [1e-3, x], "`rtol` is ["),
        ("atol", lambda x: x, "`atol` is "),
        ("mass_matrix", lambda x: [1.0, x], "`mass_matrix` is ["),
    ],
)
def test_what_is_no_number_becomes_none(entry, what, argument, give, start):
    """Text, truth values, dates, nothing and numbers beyond all floats are refused by name."""
    error = InvalidOption if argument == "mass_matrix" else InvalidProblem
    if isinstance(entry, complex) and isinstance(give(entry), list) and argument == "y0":
        pytest.skip("complex states are states")
    message = told(error, method="kvaerno3", **{argument: give(entry)})
    assert message.startswith(start)
    assert what in message


@pytest.mark.parametrize(
    ("argument", "given"),
    [
        ("y0", MASKED[1:]),
        ("y0", np.ma.array([[1.0, 2.0], [3.0, 4.0]], mask=[[0, 1], [0, 0]])),
        ("y0", [np.ma.masked, 1.0]),
        ("args", (MASKED,)),
        ("args", ([MASKED],)),
        ("args", (np.ma.masked,)),
        ("t_eval", MASKED),
        ("t_span", MASKED[:2]),
        ("rtol", MASKED[1:]),
    ],
)
def test_masked_entries_are_refused(argument, given):
    """Numbers below a mask are not used as if they were there."""
    message = told(InvalidProblem, **{argument: given})
    assert message.startswith(f"`{argument}")
    assert "masked" in message


@pytest.mark.parametrize(
    "given",
    [
        {"y0": np.ma.array([1.0, 0.5])},
        {"y0": pd.Series([1.0, 0.5])},
        {"y0": np.array([1, 0.5], dtype=object)},
        {"y0": [Decimal(1), Fraction(1, 2)]},
        {"y0": np.array([1, 0.5], dtype=np.longdouble)},
        {"t_span": (0, Fraction(1))},
        {"t_span": np.array([0, 1])},
        {"t_span": (np.array(0.0), np.float32(1))},
        {"rtol": Decimal("1e-3")},
        {"rtol": np.array(1e-3)},
        {"args": (np.ma.array([1.0]),), "y0": [[1.0, 0.5]]},
    ],
    ids=str,
)
def test_numbers_of_any_kind_are_numbers(given):
    """Whatever is a real number gives the same bits as the float it stands for."""
    np.testing.assert_array_equal(np.ravel(solve(**given).y[..., -1]), solve().y[:, -1])


# --- what sweeps ----------------------------------------------------------------------

HOW = (
    " Only NumPy arrays of numbers sweep: for one entry a run give np.asarray(args[0], "
    "dtype=float), for one vector of all runs a list."
)
SERIES = {
    "pandas.Series": pd.Series([1.0, 2.0, 3.0]),
    "array of objects": np.array([1.0, 2.0, 3.0], dtype=object),
    "array of truth values": np.array([True, False, True]),
}


@pytest.mark.parametrize(("what", "given"), SERIES.items(), ids=SERIES)
def test_what_does_not_sweep_says_so(what, given):
    """Where a series fails because it is no sweep, the error says what would be one."""
    message = told(RightHandSideError, args=(given,))
    assert f"args[0] is a{'n' * what.startswith('a')} {what} of shape (3,)" in message
    assert message.endswith(f": all of it serves every run.{HOW}")
    swept = solve(args=(np.asarray(given, dtype=float),))
    assert swept.y.shape[0] == 3


@pytest.mark.parametrize(("what", "given"), SERIES.items(), ids=SERIES)
def test_what_is_as_long_as_there_are_runs_is_not_guessed_at(what, given):
    """A series with an entry for each run neither sweeps nor serves all runs without a word."""
    message = told(BatchShapeError, y0=np.ones((3, 2)), args=(given,))
    assert message.startswith(f"args[0] is a{'n' * what.startswith('a')} {what} of shape (3,), and")
    assert "there are 3 runs: it is not clear whether each gets one entry." in message
    assert message.endswith(HOW)
    assert solve(y0=np.ones((3, 2)), args=(given.tolist(),), fun=first_of).y.shape == (3, 2, 1)


def first_of(t, y, rates):
    """A rate out of a vector."""
    return [-rates[0] * y[0], -y[1]]


def test_a_series_as_long_as_the_state_is_told():
    """Multiplied with the state it fails nowhere: a note says that it did not sweep."""
    result = solve(lambda t, y, k: -k * y, args=(pd.Series([1.0, 2.0]),))
    note = "args[0] is a pandas.Series of shape (2,): it serves one run as a vector."
    assert any(text.startswith(note) for text in result.notes)
    mask = solve(lambda t, y, on: np.where(on, -y, 0.0), args=(np.array([True, False]),))
    assert not mask.notes


def test_a_series_of_named_parameters_is_one_constant():
    """Looked up by name it works, and its values are those of the latest solve."""
    solver = Solver(lambda t, y, p: [-p["a"] * y[0], -p["b"] * y[1]], backend="python")
    for a in (1.0, 2.0):
        result = solver.solve((0.0, 1.0), [1.0, 1.0], args=(pd.Series({"a": a, "b": 3.0}),))
        np.testing.assert_allclose(result.y[:, -1], np.exp([-a, -3.0]), rtol=1e-2)


@pytest.mark.parametrize(
    ("y0", "shape", "advice"),
    [
        (
            [1.0, 1.0],
            (5, 2),
            "with y0 of shape (2,) only 1-D arrays sweep. For one row a run give y0 once a run as "
            "well, np.tile(y0, (5, 1)), or each column, or a grid after .ravel(), as a 1-D "
            "array of its own.",
        ),
        (
            np.ones((3, 2)),
            (4,),
            "It would sweep if its first axis had the length of the number of runs, 3.",
        ),
    ],
)
def test_arrays_that_do_not_sweep_are_named(y0, shape, advice):
    """A table with a row for each run beside one y0, and a length that is no number of runs."""
    message = told(RightHandSideError, y0=y0, args=(np.ones(shape),))
    assert message.startswith("fun returned an array of shape ")
    assert f"args[0] has shape {shape}: all of it serves every run" in message
    assert message.endswith(advice)
    tiled = solve(first_of, y0=np.tile([1.0, 1.0], (5, 1)), args=(np.ones((5, 2)),))
    assert tiled.y.shape == (5, 2, 1)


def test_what_is_right_with_arrays_gets_no_advice():
    """An error that has nothing to do with an array says nothing of it."""
    message = told(RightHandSideError, fun=lambda t, y, a: None, args=(np.ones((5, 2)),))
    assert message.endswith("Is there a `return`?")


# --- options --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "same"),
    [
        ({"lanes": np.int64(4)}, {"lanes": 4}),
        ({"max_shared": np.int32(2**14)}, {"max_shared": 2**14}),
        ({"max_newton_iterations": np.int16(7)}, {"max_newton_iterations": 7}),
        ({"newton_tolerance": np.float32(0.125)}, {"newton_tolerance": 0.125}),
        ({"safety": np.float32(0.5)}, {"safety": 0.5}),
        ({"safety": Fraction(1, 2)}, {"safety": 0.5}),
        ({"safety": np.int64(1)}, {"safety": 1.0}),
        ({"fastmath": np.False_}, {"fastmath": False}),
        ({"max_steps": np.uint8(99)}, {"max_steps": 99}),
        (
            {"linear_solver": "bicgstab", "max_linear_iterations": np.int64(50)},
            {"linear_solver": "bicgstab", "max_linear_iterations": 50},
        ),
    ],
    ids=str,
)
def test_numbers_of_numpy_are_options_like_pythons(options, same):
    """The same kernel: nothing is built for a number of another type."""
    solver = Solver(decay, backend="cpu", method="kvaerno3")
    solver.prepare([1.0, 0.5], **same)
    kernel = solver.kernel
    solver.prepare([1.0, 0.5], **options)
    assert solver.kernel.integrator.build_key(kernel.backend, kernel.layout) == (
        kernel.integrator.build_key(kernel.backend, kernel.layout)
    )


LANES = "1, 2, 4, 8, 16, 32, 64"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lanes": True}, f"`lanes` is True, but must be one of {LANES}."),
        ({"lanes": np.True_}, f"`lanes` is np.True_, but must be one of {LANES}."),
        ({"lanes": "4"}, f"`lanes` is '4', but must be one of {LANES} (did you mean 4?)."),
        ({"lanes": 4.0}, f"`lanes` is 4.0, but must be one of {LANES}."),
        ({"lanes": [4]}, f"`lanes` is [4], but must be one of {LANES}."),
        ({"lanes": np.array([1, 2])}, f"`lanes` is array([1, 2]), but must be one of {LANES}."),
        ({"fastmath": "False"}, "`fastmath` is 'False', but must be one of True, False (did you "
         "mean False?)."),
        ({"fastmath": 1}, "`fastmath` is 1, but must be one of True, False."),
        ({"fastmath": None}, "`fastmath` is None, but must be one of True, False."),
        ({"safety": True}, "`safety` is True. It must be above 0 and at most 1."),
        ({"safety": "0.5"}, "`safety` is '0.5'. It must be above 0 and at most 1."),
        ({"safety": HUGE}, "`safety` is an int of 1329 bits. It must be above 0 and at most 1."),
        ({"max_newton_iterations": True, "method": "kvaerno3"}, "`max_newton_iterations` is True. "
         "It must be an int from 1 to 1000."),
        ({"weigh_increments": "no", "method": "kvaerno3"}, "`weigh_increments` is 'no', but must "
         "be one of True, False."),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("backend", ["python", "cpu"])
def test_options_of_other_types(options, message, backend):
    """Text and truth values are no numbers, and numbers and text no truth values."""
    assert told(InvalidOption, backend=backend, **options) == message


@pytest.mark.parametrize("argument", ["first_step", "max_step"])
@pytest.mark.parametrize(
    "given", ["0.1", True, np.True_, None, HUGE, 10**6000, [0.1], 1j], ids=shown
)
def test_step_sizes_of_other_types(argument, given):
    """What was given, however long, and that a positive number is needed."""
    if argument == "first_step" and given is None:
        pytest.skip("None is the default")
    start = f"`{argument}` is {shown(given)}, but must be a positive number"
    assert told(InvalidProblem, **{argument: given}).startswith(start)


def test_what_is_shown_is_never_long():
    """Messages stay short whatever was given, and showing it never fails."""

    class Strange:
        def __repr__(self):
            raise RuntimeError

    given = (10**6000, "a" * 10_000, np.zeros((50, 50)), Strange(), list(range(999)))
    texts = [shown(value) for value in given]
    assert all(0 < len(text) <= LONGEST_SHOWN and "\n" not in text for text in texts)


# --- constants of the equations -------------------------------------------------------

BEYOND = (
    "`{}` contains {}, which is {} in float32: its numbers reach from 1.4e-45 to 3.4e+38. Choose "
    "other units, or dtype='float64'."
)
TINY, LARGE = 1e-300, 1e300


@pytest.mark.parametrize(
    ("fun", "told_value", "became"),
    [
        (lambda t, y: [-1e-300 * y[0] * 1e280, -y[1]], "1e-300", "zero"),
        (lambda t, y: [-y[0] / (y[1] + TINY), -y[1]], "1e-300", "zero"),
        (lambda t, y: [-y[0] / LARGE, -y[1]], "1e+300", "infinite"),
        (lambda t, y: [np.clip(y[0], -1e39, 1.0), -y[1]], "1e+39", "infinite"),
        (["dx = -x / 1e300", "dz = -z"], "1e+300", "infinite"),
    ],
    ids=["product", "guard", "global", "bound", "text"],
)
@pytest.mark.parametrize("backend", ["python", "cpu"])
def test_constants_that_float32_cannot_hold_are_named(fun, told_value, became, backend):
    """A number in the equations that would become nothing or infinite is refused, as in y0."""
    message = BEYOND.format("fun", told_value, became)
    options = {"fun": fun, "backend": backend, "method": "kvaerno3"}
    assert told(InvalidProblem, dtype="float32", **options) == message
    if backend == "python":
        assert solve(**options).success


def test_constants_that_float32_can_hold_are_not():
    """Neither small and large ones within its range, nor the bounds of nan_to_num."""

    def fun(t, y):
        return [np.nan_to_num(-y[0]) * 1e30 * 1e-30, -y[1] - np.minimum(1e-40, y[0])]

    assert solve(fun, dtype="float32").success


def test_matrices_that_float32_cannot_hold_are_named():
    """Entries of a mass matrix are numbers of the equations as well."""
    message = told(InvalidProblem, mass_matrix=[1.0, 1e-60], method="kvaerno3", dtype="float32")
    assert message == BEYOND.format("mass_matrix", "1e-60", "zero")


# --- loops ----------------------------------------------------------------------------


def halving(t, y, tolerance):
    """A loop over constants that ends by a parameter; symbols never end it."""
    error, total = 1.0, 0.0
    while error > tolerance:
        error = error / 2
        total = total + error
    return [-total * y[0], -y[1]]


def to_a_fixed_point(t, y, tolerance):
    """The constants come to a stand, where the condition is always the same."""
    x = 2.0
    while x * x - 2.0 > tolerance * y[0]:
        x = 0.5 * (x + 2.0 / x)
    return [-x * y[0], -y[1]]


@pytest.mark.parametrize("fun", [halving, to_a_fixed_point])
def test_loops_that_no_symbol_ends_are_compiled_as_they_stand(fun):
    """Tracing gives up on them instead of going on for ever, and the numbers are Python's."""
    from scipy.integrate import solve_ivp as scipys

    with pytest.warns(UserWarning, match="it cannot be decided while tracing when a loop ends"):
        result = solve(fun, args=(1e-3,), rtol=1e-8, atol=1e-10)
    expected = scipys(fun, (0.0, 1.0), (1.0, 0.5), args=(1e-3,), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(result.y[:, -1], expected.y[:, -1], rtol=1e-6)
    assert re.search("compiled as it stands", result.notes[0])
