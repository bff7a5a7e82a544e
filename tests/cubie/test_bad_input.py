"""What a user may get wrong: each a clear error with its data, or a status; never silence."""

import functools
import re
from functools import cache

import numpy as np
import pytest

from cubie import (
    CubieError,
    InvalidOption,
    InvalidProblem,
    RunStatus,
    Solver,
    ToleranceWarning,
    UnknownOption,
    solve_ivp,
)
from cubie.controllers import CONTROLLERS
from cubie.systems.errors import BatchShapeError, RightHandSideError
from cubie.tableaus.catalogue import UnknownTableau
from cubie_planner import PlanInfeasible
from tests.oracle.problems import lotka_volterra

NAN, INF = float("nan"), float("inf")


def solve(fun=lotka_volterra, t_span=(0.0, 1.0), y0=(1.0, 1.0), **options):
    """A problem without faults but for those that the arguments bring in."""
    return solve_ivp(fun, t_span, y0, **({"backend": "python"} | options))


def refused(error, message, **arguments):
    """Check that a problem is refused with exactly this type and message; return the error."""
    with pytest.raises(error, match=f"^{re.escape(message)}$") as caught:
        solve(**arguments)
    assert type(caught.value) is error
    return caught.value


# --- the initial state and the arguments ----------------------------------------------

Y0_SHAPE = (
    "y0 has shape {}; it must be (n_states,), or (n_runs, n_states) for a batch, with at least "
    "one state and one run."
)
RUNS = (
    "The number of runs is not clear: y0 has shape (2,), {}. 1-D arrays in args are parameters "
    "swept over the runs and must have one length, at least 1. Give a vector that serves all "
    "runs as a list, or y0 with shape (n_runs, n_states)."
)


@pytest.mark.parametrize(
    ("y0", "shape"),
    [
        (1.0, "()"),
        (np.ones((0, 2)), "(0, 2)"),
        (np.ones((0, 0)), "(0, 0)"),
        (np.ones((2, 2, 2)), "(2, 2, 2)"),
    ],
)
def test_shapes_of_y0(y0, shape):
    """Neither a state nor a batch of states; an empty batch among them."""
    refused(BatchShapeError, Y0_SHAPE.format(shape), y0=y0)


def test_a_ragged_y0():
    """Rows of different lengths are no batch."""
    with pytest.raises(BatchShapeError, match=r"^y0 is no rectangular array: "):
        solve(y0=[[1.0, 2.0], [3.0]])


@pytest.mark.parametrize(
    ("y0", "where"),
    [
        ([1.0, NAN], "y0[1] is nan"),
        ([-INF, 1.0], "y0[0] is -inf"),
        ([[1.0, 2.0], [3.0, INF]], "y0[1, 1] is inf"),
    ],
)
def test_y0_must_be_finite(y0, where):
    """The message says which value of which run is not."""
    told = f"`y0` is not finite: {where}. All components of the initial state `y0` must be finite."
    error = refused(InvalidProblem, told, y0=y0)
    assert error.argument == "y0"


@pytest.mark.parametrize(
    ("args", "shapes"),
    [
        ((np.ones(3), np.ones(4)), "args[0] has shape (3,), args[1] has shape (4,)"),
        ((np.ones(0),), "args[0] has shape (0,)"),
    ],
)
def test_lengths_of_swept_arguments(args, shapes):
    """Arguments that do not agree on one number of runs, none included."""
    refused(BatchShapeError, RUNS.format(shapes), args=args)


def test_an_array_that_is_no_sweep_of_this_batch():
    """With y0 for three runs, four values are one vector for all, which fun cannot use."""
    refused(
        RightHandSideError,
        "fun returned an array of shape (4,) for state 0; it must be one number. args[0] has "
        "shape (4,): all of it serves every run. It would sweep if its first axis had the length "
        "of the number of runs, 3.",
        y0=np.ones((3, 2)),
        args=(np.ones(4),),
    )


def test_args_that_are_no_tuple():
    """A lone number is a usual slip."""
    refused(
        TypeError,
        "Supplied 'args' cannot be unpacked: args must be a tuple of the arguments after t and y, "
        "not a float; for one argument write args=(value,).",
        args=1.0,
    )


# --- the right-hand side --------------------------------------------------------------


def raising(t, y):
    """Fail as a user's function may."""
    raise RuntimeError("out of milk")


@pytest.mark.parametrize(
    ("fun", "message"),
    [
        (lambda t, y: [y[0]], "fun returned 1 values for 2 states."),
        (lambda t, y: [y[0], y[1], 0.0], "fun returned 3 values for 2 states."),
        (
            lambda t, y: 1.0,
            "fun returned one number for 2 states; it must return a sequence of 2, the "
            "derivative of each state.",
        ),
        (
            lambda t, y: None,
            "fun returned None; it must return a list, tuple or array of 2 numbers, the "
            "derivative of each state. Is there a `return`?",
        ),
        (
            lambda t, y: np.ones((2, 2)),
            "fun returned an array of shape (2, 2); it must have shape (2,).",
        ),
        (lambda t, y: ["a", 1.0], "fun returned a str ('a') for state 0; it must be one number."),
    ],
    ids=["short", "long", "number", "none", "matrix", "text"],
)
def test_right_hand_sides_that_return_something_else(fun, message):
    """The message says what came back and what should."""
    refused(RightHandSideError, message, fun=fun)


@pytest.mark.parametrize(
    ("fun", "cause", "told"),
    [
        (raising, RuntimeError, "RuntimeError: out of milk (in raising, line "),
        (
            lambda t, y: [y[0], y[5]],
            IndexError,
            "IndexError: index 5 is out of bounds for axis 0 with size 2 (in <lambda>, line ",
        ),
    ],
    ids=["raises", "index"],
)
def test_right_hand_sides_that_raise(fun, cause, told):
    """The user's own error, its line and its traceback are in the answer."""
    with pytest.raises(RightHandSideError) as caught:
        solve(fun=fun)
    assert str(caught.value).startswith(f"fun raises for 2 states and these args: {told}")
    assert type(caught.value.__cause__) is cause


def unpacking(t, y):
    a, b = y
    return [b, -a]


@pytest.mark.parametrize("fun", [unpacking, lambda t, y: [y[1], -y[0]]])
def test_a_y0_whose_columns_were_meant_for_runs(fun):
    """Where the function is of as many states as there are rows."""
    told = r"y0 has shape \(2, 7\), a row for each of 2 runs with 7 states: if its columns are the"
    with pytest.raises(RightHandSideError, match=told):
        solve(fun=fun, y0=np.ones((2, 7)))
    with pytest.raises(RightHandSideError) as caught:
        solve(fun=fun, y0=np.ones((3, 7)))
    assert ("a row for" in str(caught.value)) == (fun is unpacking)


def test_a_right_hand_side_that_takes_other_arguments():
    """The call and the signature stand side by side."""

    def fun(t, y):
        return [y[0], y[1]]

    refused(
        TypeError,
        "fun is called as fun(t, y, args[0]), but its signature is fun(t, y): too many "
        "positional arguments.",
        fun=fun,
        args=(1.0,),
    )


def test_a_right_hand_side_that_is_no_function():
    """As a user may pass the result of a call."""
    refused(TypeError, "fun must be callable, fun(t, y, *args); got 3.", fun=3)


# --- times ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "given", "told"),
    [
        ("t_span", (0.0, 1.0, 2), "is (0.0, 1.0, 2), but must be two numbers (start, end)."),
        ("t_span", 3, "is 3, but must be two numbers (start, end)."),
        (
            "t_span",
            "ab",
            "is 'ab', but must be two numbers (start, end): it contains the text 'a'; convert it "
            "to a number.",
        ),
        (
            "t_span",
            (0.0, NAN),
            "is (0.0, nan), but both times must be finite, or the end infinite where an event ends "
            "the run.",
        ),
        (
            "t_span",
            (0.0, INF),
            "ends at inf, and no event ends runs: give an event with `terminal`, or a finite end.",
        ),
        ("t_eval", [0.0, 2.0], "contains 2.0, which is not within t_span = (0.0, 1.0)."),
        ("t_eval", [-0.1, 1.0], "contains -0.1, which is not within t_span = (0.0, 1.0)."),
        ("t_eval", [0.0, NAN], "contains nan, which is not within t_span = (0.0, 1.0)."),
        (
            "t_eval",
            [0.0, 0.5, 0.2],
            "must strictly increase from the start to the end of t_span, but t_eval[1] = 0.5 is "
            "followed by 0.2.",
        ),
        (
            "t_eval",
            [0.0, 0.5, 0.5],
            "must strictly increase from the start to the end of t_span, but t_eval[1] = 0.5 is "
            "followed by 0.5.",
        ),
        (
            "t_eval",
            [[[0.0, 0.5]]],
            "has shape (1, 1, 2), but must be one-dimensional with at least one time, or have a "
            "row for each run.",
        ),
        (
            "t_eval",
            [],
            "has shape (0,), but must be one-dimensional with at least one time, or have a row for "
            "each run.",
        ),
        (
            "t_eval",
            ["soon"],
            "must be a sequence of numbers, but contains the text 'soon'; convert it to a number.",
        ),
        ("rtol", -1, "is -1, but must be finite and not negative."),
        ("rtol", NAN, "is nan, but must be finite and not negative."),
        (
            "rtol",
            "a",
            "is 'a', but must be a number or 2 numbers: it contains the text 'a'; convert it to a "
            "number.",
        ),
        ("atol", [1e-3, -1], "is [0.001, -1], but must be finite and not negative."),
        (
            "atol",
            [1e-3] * 3,
            "has shape (3,), but must be a number or have shape (2,). For one of each run give "
            "shape (n_runs, 1), for those of its components (n_runs, 2).",
        ),
        ("first_step", -1, "is -1, but must be a positive number."),
        ("first_step", 5, "is 5.0, longer than t_span, which is 1.0."),
        ("max_step", 0, "is 0, but must be a positive number."),
        ("max_step", NAN, "is nan, but must be a positive number."),
        ("max_steps", 0, "is 0, but must be an integer of at least 1."),
        ("max_steps", 1.5, "is 1.5, but must be an integer of at least 1."),
        ("max_steps", 10**12, "is 1000000000000, but must not exceed 2147483646."),
        ("block_size", 0, "is 0, but must be an integer of at least 1."),
    ],
)
def test_numbers_out_of_range(argument, given, told):
    """Times, tolerances and step sizes: argument, value and what would do."""
    error = refused(InvalidProblem, f"`{argument}` {told}", **{argument: given})
    assert error.argument == argument


def test_t_eval_against_the_direction_of_time():
    """Backwards, times to save at decrease."""
    refused(
        InvalidProblem,
        "`t_eval` must strictly decrease from the start to the end of t_span, but t_eval[0] = "
        "0.0 is followed by 0.5.",
        t_span=(1.0, 0.0),
        t_eval=[0.0, 0.5],
    )


@pytest.mark.parametrize(
    ("options", "dtype", "least"),
    [
        ({"rtol": 1e-18}, "float64", 10 * np.finfo(float).eps),
        ({"rtol": [1e-2, 1e-8], "dtype": np.float32}, "float32", 10 * np.finfo(np.float32).eps),
    ],
)
def test_tolerances_that_the_numbers_cannot_resolve(options, dtype, least):
    """They are raised to what can be resolved, with a warning as SciPy's, and a note."""
    told = (
        f"At least one element of `rtol` is too small: {dtype} cannot resolve less than "
        f"{least:.2g}, which is taken in its place."
    )
    with pytest.warns(ToleranceWarning, match=re.escape(told)):
        result = solve(**options)
    assert [note for note in result.notes if note.startswith(told)]
    given = np.asarray(options["rtol"])
    same = solve(**{**options, "rtol": np.maximum(given, least)})
    np.testing.assert_array_equal(result.y, same.y)


def test_tolerances_of_nothing():
    """No error is below zero."""
    refused(
        InvalidProblem,
        "`rtol` is 0 with an atol of zero, which no error can be below; raise one of them: float64 "
        "resolves an rtol of 2.2e-15.",
        rtol=0,
        atol=0,
    )


def test_a_fixed_step_method_without_a_step():
    """Methods without an error estimate need to be told their step."""
    refused(
        InvalidProblem,
        "`first_step` must be given: `euler` runs with a fixed step size here. For error "
        "control choose a method with an error estimate, such as 'tsit5'.",
        method="euler",
    )


def test_a_reversed_span_works_backwards():
    """From the end to the start, as SciPy has it."""
    result = solve(t_span=(1.0, 0.0), rtol=1e-8, atol=1e-8)
    assert (result.t[0], result.t[-1]) == (1.0, 0.0)
    back = solve(y0=result.y[:, -1], rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(back.y[:, -1], [1.0, 1.0], atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"save": "final"}, {"t_eval": [1.0]}], ids=str)
@pytest.mark.parametrize("method", ["tsit5", "dop853"])
def test_an_empty_span_returns_the_initial_state(method, options):
    """Nothing to do is a success with the state as it was."""
    result = solve(t_span=(1.0, 1.0), y0=[3.0, 4.0], method=method, **options)
    assert (result.status, result.n_steps, result.n_rejected) == (0, 0, 0)
    np.testing.assert_array_equal(result.t, [1.0])
    np.testing.assert_array_equal(result.y, [[3.0], [4.0]])


# --- options --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"backend": "gpu"},
            "`backend` is 'gpu', but must be one of 'auto', 'cpu', 'cuda', 'python'. A GPU is "
            "'cuda'.",
        ),
        (
            {"step_controller": "pie"},
            f"`step_controller` is 'pie', but must be one of {', '.join(map(repr, CONTROLLERS))} "
            "(did you mean 'pi'?).",
        ),
        (
            {"step_controller": "pi", "method": "euler", "first_step": 0.1},
            "`step_controller` is 'pi', but must be one of 'fixed'. `euler` has no error "
            "estimate to control the step with.",
        ),
        ({"save": "last"}, "`save` is 'last', but must be one of 'final', 'steps'."),
        (
            {"save": "final", "t_eval": [0.5]},
            "`save` is 'final'. Give either t_eval or save, not both.",
        ),
        (
            {"dtype": np.int32},
            "`dtype` is 'int32', but must be one of 'float32', 'float64' (did you mean "
            "'float32'?).",
        ),
        (
            {"dtype": "floot"},
            "`dtype` is 'floot', but must be one of 'float32', 'float64' (did you mean "
            "'float64'?).",
        ),
        (
            {"lanes": 3, "backend": "cpu"},
            "`lanes` is 3, but must be one of 1, 2, 4, 8, 16, 32, 64.",
        ),
        (
            {"lanes": 4},
            "`lanes` is 4, but must be one of 1. The python target runs one lane a thread.",
        ),
        ({"block_size": 2000}, "`block_size` is 2000. A block has at most 1024 runs."),
        ({"safety": 2.0}, "`safety` is 2.0. It must be above 0 and at most 1."),
        (
            {"step_controller": "pi", "kp": "a"},
            "`kp` is 'a'. It must be above -10 and below 10.",
        ),
        (
            {"max_shared": "lots"},
            "`max_shared` is 'lots'. Give bytes (49152), a size with a unit (\"48k\", "
            '"99KiB"), or a device ("sm_90", "H100").',
        ),
        (
            {"backend": "CPU"},
            "`backend` is 'CPU', but must be one of 'auto', 'cpu', 'cuda', 'python' (did you mean "
            "'cpu'?).",
        ),
        ({"max_shared": -1}, "`max_shared` is -1. It must not be negative."),
    ],
    ids=str,
)
def test_options_with_values_that_are_not_allowed(options, message):
    """The option, what was given, what is allowed, and the nearest of it."""
    error = refused(InvalidOption, message, **options)
    assert isinstance(error, CubieError)
    assert error.option in options


@pytest.mark.parametrize(
    ("option", "nearest"),
    [
        ("stage_rsh_location", "stage_rhs_location"),
        ("max_shard", "max_shared"),
        ("everything_at_once", None),
    ],
)
def test_unknown_options(option, nearest):
    """An option that no component has is refused with the nearest that one has."""
    with pytest.raises(UnknownOption) as caught:
        solve(**{option: 1.0})
    hint = f" Did you mean `{nearest}`?" if nearest else ""
    allowed = caught.value.allowed
    start = (
        f"`{option}` is not an option of any component of this solver.{hint} Known "
        f"options, the nearest of {len(allowed)}: "
    )
    assert (caught.value.given, caught.value.nearest) == (option, nearest)
    assert str(caught.value).startswith(start)
    assert "stage_rhs_location" in allowed
    assert len(str(caught.value)) < 300


def test_unknown_buffers_in_a_mapping_of_locations():
    """A typo in a mapping is as bad as one in an option."""
    with pytest.raises(UnknownOption) as caught:
        solve(locations={"stat": "shared"})
    assert (caught.value.given, caught.value.nearest) == ("stat", "state")


def test_unknown_methods():
    """The nearest name and all others."""
    with pytest.raises(
        UnknownTableau, match=r"^no method is called 'tsit6'; did you mean 'tsit5'\?"
    ):
        solve(method="tsit6")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"state_location": "register"}, "'register'"),
        ({"locations": "fast"}, "'fast'"),
        ({"locations": {"state": "shard"}}, "'shard', but must be one of"),
    ],
)
def test_places_that_do_not_exist(options, told):
    """What was given and what is allowed."""
    with pytest.raises(ValueError, match=re.escape(told)) as caught:
        solve(**options)
    assert "'shared'" in str(caught.value)
    assert "'local'" in str(caught.value)


# --- plans that cannot be -------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "limit", "pinned"),
    [
        ({"max_shared": 0, "state_location": "shared"}, 0, "pinned to shared"),
        (
            {"max_shared": 256, "state_location": "shared", "stage_rhs_location": "shared"},
            256,
            "pinned to shared",
        ),
        ({"max_shared": "1k", "locations": "shared"}, 1024, "put in shared by the policy"),
    ],
    ids=["no shared memory", "pins", "policy"],
)
def test_pins_that_exceed_the_limit(options, limit, pinned):
    """The error names what clashes, the limit, and limits and block sizes that would do."""
    with pytest.raises(PlanInfeasible) as caught:
        solve(**options)
    error = caught.value
    assert error.limit == limit
    assert "max_shared" in error.core
    assert {name for name in error.core if name != "max_shared"} <= {
        "loop.state",
        "loop.algorithm.stage_rhs",
    }
    message = str(error)
    assert all(f"`{name}`" in message for name in error.core if name != "max_shared")
    assert pinned in message
    assert f"max_shared = {limit} B" in message
    assert f"raise max_shared to {error.needed} B" in message
    again = {**options, "max_shared": error.needed}
    assert solve(**again).plan.shared_bytes_per_block <= error.needed
    with pytest.raises(PlanInfeasible):
        solve(**{**options, "max_shared": error.needed - 64})
    if error.largest_block:
        assert f"lower block_size from 64 to {error.largest_block}" in message
        assert solve(**options, block_size=error.largest_block).success


# --- runs that fail -------------------------------------------------------------------


def explosive(t, y, rate):
    """y' = rate * y**2 beside an innocent oscillator: infinite at t = 1/rate."""
    return [rate * y[0] * y[0], y[2], -y[1]]


def fragile(t, y, rate):
    """As `explosive`, with a derivative that overflows."""
    return [rate * y[0] ** 40, y[2], -y[1]]


RATES = np.linspace(0.1, 0.4, 19)
BAD = {3: 2.0, 10: NAN, 18: 1e300}


@cache
def explosive_solver(backend, fun=explosive, **options):
    """Share compiled kernels; every result must agree to the bit."""
    return Solver(fun, backend=backend, fastmath=False, rtol=1e-6, atol=1e-8, **options)


@pytest.mark.parametrize("backend", ["python", "cpu"])
@pytest.mark.parametrize("mode", [{}, {"t_eval": [0.2, 0.9, 2.0]}], ids=["final", "t_eval"])
def test_a_failing_run_disturbs_no_other(backend, mode):
    """Blow-up, NaN and overflow in three runs: the others keep every bit."""
    solver, y0 = explosive_solver(backend), [1.0, 0.0, 1.0]
    healthy = solver.solve((0.0, 2.0), y0, args=(RATES,), **mode)
    assert np.all(healthy.success)
    rates = RATES.copy()
    rates[list(BAD)] = list(BAD.values())
    mixed = solver.solve((0.0, 2.0), y0, args=(rates,), **mode)
    good = [i for i in range(RATES.size) if i not in BAD]
    for name in ("y", "n_steps", "n_rejected", "nfev", "status", "t_reached"):
        np.testing.assert_array_equal(getattr(mixed, name)[good], getattr(healthy, name)[good])
    assert mixed.status[3] == RunStatus.STEP_TOO_SMALL
    assert mixed.t_reached[3] == pytest.approx(0.5, abs=1e-4)
    assert mixed.status[10] == RunStatus.NON_FINITE
    assert mixed.t_reached[10] == 0.0
    assert mixed.status[18] < 0
    if mode:
        assert np.all(np.isfinite(mixed.y[3, :, 0]))
        assert np.all(np.isnan(mixed.y[3, :, 1:]))
    counts = {
        int(s): int(n) for s, n in zip(*np.unique(mixed.status, return_counts=True), strict=True)
    }
    for status, count in counts.items():
        assert f"{count} of 19 runs: {RunStatus(status).sentence}" in mixed.message


@pytest.mark.parametrize(
    ("method", "options"),
    [("tsit5", {}), ("dop853", {}), ("tsit5", {"step_controller": "pid"})],
    ids=str,
)
def test_overflow_ends_with_a_status(method, options):
    """A derivative beyond the largest number is no endless loop."""
    solver = explosive_solver("python", fragile)
    result = solver.solve((0.0, 2.0), [1.0, 0.0, 1.0], args=(1.0,), method=method, **options)
    assert result.status in (RunStatus.NON_FINITE, RunStatus.STEP_TOO_SMALL)
    assert np.all(np.isfinite(result.y))
    assert result.n_steps + result.n_rejected < 2000


def test_a_fixed_step_that_overflows_stops_there():
    """Without error control there is no smaller step to try."""
    solver = explosive_solver("python", method="rk4", first_step=0.1)
    result = solver.solve((0.0, 20.0), [1.0, 0.0, 1.0], args=(1.0,))
    assert result.status == RunStatus.NON_FINITE
    assert result.t_reached < 3.0
    assert np.all(np.isfinite(result.y))


def test_a_derivative_that_is_nan_from_the_start():
    """Status, remedy and the initial state; the loop ends."""
    result = solve(fun=lambda t, y: [y[0] * NAN, y[1]])
    assert (result.status, result.success, result.n_steps) == (RunStatus.NON_FINITE, False, 0)
    assert result.message == (
        "The solution became infinite or NaN and no smaller step avoided it. Check the "
        "right-hand side and parameters of the run, or reduce first_step or max_step."
    )
    np.testing.assert_array_equal(result.y, [[1.0], [1.0]])


def test_parameters_that_are_nan_are_named():
    """Of runs that failed for that, with how many more there are."""

    def fun(t, y, k, weights):
        return [-k * y[0] * weights[1], y[1]]

    rates = np.array([1.0, NAN, 1.0, np.inf])
    runs = solve(fun=fun, args=(rates, [NAN, 1.0]))
    assert runs.status.tolist() == [0, -3, 0, -3]
    of_rates = "The parameter `k` is nan in run 1 and not finite in 1 more of the runs that failed."
    of_weights = "The parameter `weights[0]` is nan in run 1 and"
    assert runs.notes[0] == of_rates
    assert len(runs.notes) < 2 or runs.notes[1].startswith(of_weights)
    stiff = solve(fun=fun, args=(rates, [NAN, 1.0]), method="rodas5p")
    assert stiff.status[1] == RunStatus.SINGULAR_JACOBIAN
    assert stiff.notes[0] == of_rates
    one = solve(fun=fun, args=(1.0, [1.0, NAN]))
    assert one.notes == ("The parameter `weights[1]` is nan.",)
    assert solve(fun=fun, args=(1.0, [NAN, 1.0])).notes == ()


def test_too_many_steps():
    """The limit counts attempts; what was reached is kept."""
    result = solve(t_span=(0.0, 100.0), max_steps=10)
    assert result.status == RunStatus.TOO_MANY_STEPS
    assert result.n_steps + result.n_rejected == 10
    assert result.message == (
        "The run used max_steps attempted steps before the end of the interval. Raise "
        "max_steps, loosen rtol or atol, or use an implicit method if the system is stiff."
    )
    assert result.t[-1] == result.t_reached < 100.0


def test_a_function_that_wraps_another_is_called_as_it_is_itself():
    """A decorator may give what it wraps an argument, or pass on all it is given."""

    def bound(function):
        @functools.wraps(function)
        def called(t, y):
            return function(t, y, 2.0)

        return called

    def passing(function):
        @functools.wraps(function)
        def called(*args):
            return function(*args)

        return called

    def fun(t, y, k):
        return [-k * y[0]]

    def event(t, y, k):
        return y[0] - 0.25 * k

    expected = solve_ivp(fun, (0.0, 1.0), [1.0], args=(2.0,), events=event, backend="python")
    found = solve_ivp(bound(fun), (0.0, 1.0), [1.0], events=bound(event), backend="python")
    assert np.array_equal(found.t_events[0], expected.t_events[0])
    assert np.array_equal(found.y, expected.y)
    same = solve_ivp(passing(fun), (0.0, 1.0), [1.0], args=(2.0,), backend="python")
    assert np.array_equal(same.y, expected.y)
    with pytest.raises(TypeError, match=r"its signature is fun\(t, y, k\)"):
        solve_ivp(passing(fun), (0.0, 1.0), [1.0], backend="python")
