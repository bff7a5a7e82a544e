"""The user's function on plain numbers: is it a right-hand side, and does its traced form agree?"""

import contextlib
import math
import warnings

import numpy as np

from cubie.backend import table
from cubie.systems.batch import parameter_columns
from cubie.systems.drivers.calls import plain_rhs
from cubie.systems.drivers.interpolant import outside_is_nan
from cubie.systems.errors import RightHandSideError, Untraceable
from cubie.systems.parameters import signature_of
from cubie.systems.tracing.arithmetic import NUMPY_NAMES
from cubie.systems.tracing.tracer import explain

RELATIVE_TOLERANCE = 1e-8
N_POINTS = 2  # of `_points`


def plain_results(fun, n_states, args, asked, returned, near=()):
    """Call `fun` at two points with positive states and return [(t, y, numbers)].

    Where it raises at both it is called at those `near` the start of a run, if they are known.

    Raises
    ------
    RightHandSideError
        When `fun` raises at all of them, returns not what it must (`returned`), or is not a
        function of its arguments.
    """
    results, first_error = [], None
    for at, (t, y) in enumerate([*_points(n_states, positive=True), *near]):
        if at >= N_POINTS and results:
            break
        try:
            outcome = _call(fun, t, y, args)
        except RightHandSideError:
            raise
        except Exception as error:
            first_error = first_error or error
            continue
        results.append((t, y, _numbers(outcome, returned)))
    if not results:
        raise returned.error(
            f"{returned.function} raises for {n_states} states and these args: "
            f"{explain(first_error)}{_of_order(asked, returned.function)}"
        ) from first_error
    t, y, derivative = results[0]
    if not np.array_equal(_numbers(_call(fun, t, y, args), returned), derivative, equal_nan=True):
        raise returned.error(
            f"{returned.function} gave two results for the same t, y and args (random numbers, or "
            f"a state of its own?); {returned.purpose} must depend on its arguments only."
        )
    return results


def written_states(fun, args, results):
    """Return which states a function writes to in the array it is given, at some points."""
    written = set()
    for t, y, _ in results:
        given = y.copy()
        _call(fun, t, y, args, given)
        written.update(np.flatnonzero(given != y).tolist())
    return written


def _of_order(fun, called):
    """Say in which order arguments come, where those of a function look exchanged."""
    try:
        names = list(signature_of(fun).parameters)
    except (TypeError, ValueError):
        return ""
    if len(names) < 2 or names[1] not in ("t", "time") or names[0] in ("t", "time"):
        return ""
    return (
        f" The time comes first: {called} is called as {called}(t, y, *args), not as "
        f"{called}({names[0]}, t)."
    )


def _points(n_states, positive):
    random = np.random.default_rng(20240229)
    if positive:
        yield 0.25, random.uniform(0.5, 1.5, n_states)
        yield 1.75, random.uniform(0.0, 1.0, n_states)
    else:
        yield 0.0, random.normal(0.0, 1.0, n_states)
        yield 3.5, random.normal(0.0, 2.0, n_states)


def sample_points(n_states, args, constants=frozenset(), near=()):
    """Return [(t, y, parameters)]: where a right-hand side is tried, with the first run's args."""
    parameters = parameter_columns(args, constants=constants)[:, 0]
    return tuple((t, y, parameters) for t, y in [*_points(n_states, positive=True), *near])


def _numbers(outcome, returned):
    return np.array(returned.entries(outcome), dtype=float)


def _call(fun, t, y, args, given=None):
    # A function of numba's would be compiled for these few calls.
    fun = getattr(fun, "py_func", None) or fun
    with warnings.catch_warnings(), np.errstate(all="ignore"), outside_is_nan():
        warnings.simplefilter("ignore")
        # SciPy's solvers too pass NumPy's floats, whose comparisons give NumPy's truth values.
        return fun(np.float64(t), y.copy() if given is None else given, *args)


def check_against_original(source, fun, args, results, returned, drivers=(), constants=frozenset()):
    """Compare generated source with `fun`, at the points of `plain_results` and with any signs.

    Negative states come only now: a function that could be traced has no loop that might never
    end for them.

    Raises
    ------
    Untraceable
        When they differ, as they may when `fun` asks for types or looks behind the arguments.
    """
    rhs = evaluate_source(source, drivers)
    parameters = list(parameter_columns(args, constants=constants)[:, 0])
    n_states = len(results[0][1])
    for t, y in _points(n_states, positive=False):
        # Outside its domain `fun` may raise where compiled code gives nan.
        with contextlib.suppress(Exception):
            results = [*results, (t, y, _numbers(_call(fun, t, y, args), returned))]
    for t, y, expected in results:
        got = np.empty(len(expected))
        try:
            with np.errstate(all="ignore"), outside_is_nan():
                rhs(np.float64(t), y, parameters, got, 0)
        except (ArithmeticError, ValueError):
            # `select` evaluates both branches, and plain numbers raise when divided by zero.
            continue
        close = _agree(got, expected)
        if not close.all():
            i = int(np.argmin(close))
            raise Untraceable(
                f"its traced form differs from {returned.function} itself "
                f"({returned.label(i)} at t={t}: {got[i]:.6g} instead of {expected[i]:.6g})"
            )


def _agree(got, expected):
    """Tell where two derivatives are the same but for rounding; one finite, one not are not."""
    with np.errstate(all="ignore"):
        near = np.abs(got - expected) <= RELATIVE_TOLERANCE * (np.abs(expected) + np.abs(got))
    return near | (~np.isfinite(expected) & ~np.isfinite(got))


class _NumbersMath:
    """`math` as compiled code has it: NaN and infinities where Python raises."""

    def __getattr__(self, name):
        return getattr(np, NUMPY_NAMES.get(name) or name, None) or getattr(math, name)


def evaluate_source(source, drivers=()):
    """Return `rhs` of a generated module, with the backend's functions for plain numbers."""
    lines = source.splitlines(keepends=True)
    imports = ("from cubie.backend", "import math")
    text = "".join("\n" if line.startswith(imports) else line for line in lines)
    namespace = {
        "math": _NumbersMath(),
        "select": lambda mask, a, b: a if mask else b,
        "minimum": lambda a, b: a if a < b else b,
        "maximum": lambda a, b: a if a > b else b,
        "table": table,
    }
    exec(compile(text, "<generated by cubie>", "exec"), namespace)
    return plain_rhs(namespace, lambda number, order, x: drivers[number](x, order))
