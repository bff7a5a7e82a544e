"""`Interpolant`: a function of samples that right-hand sides may call."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from attrs import Factory, field, frozen

from cubie.errors import InvalidOption, InvalidProblem
from cubie.reals import NotReal, real_array
from cubie.systems.drivers.pieces import KINDS, Pieces, interpolate, with_ends
from cubie.systems.drivers.slope import Slope
from cubie.systems.errors import RightHandSideError

EXTENSIONS = ("error", "hold", "periodic", "zero")
STOPS = ("auto", "jumps", "kinks", "none")
LEAST_SAMPLES = {"previous": 1}  # of other kinds 2
# With "auto", kinks of samples no more than these are landed on.
FEW_KINKS = 100

_checking = threading.local()


@contextlib.contextmanager
def outside_is_nan() -> Iterator[None]:
    """Let calls outside of the samples return NaN, as in a kernel, where they raise elsewhere."""
    before = getattr(_checking, "on", False)
    _checking.on = True
    try:
        yield
    finally:
        _checking.on = before


@contextlib.contextmanager
def calls_seen() -> Iterator[list[str]]:
    """Give a list that gets the labels of the drivers that plain Python calls meanwhile."""
    before, seen = getattr(_checking, "seen", None), []
    _checking.seen = seen
    try:
        yield seen
    finally:
        _checking.seen = before


@frozen(eq=False)
class Driver:
    """A piecewise polynomial that right-hand sides call.

    Attributes
    ----------
    pieces : Pieces
    stops : str
        See `Interpolant`.
    label : str
        How messages call it.
    breaks : ndarray (B,)
        Knots that no step should cross, of all runs together.
    breaks_of_runs : ndarray (B, n_runs) bool or None
        Which of them are those of each run; None where all runs have the same.
    """

    pieces: Pieces
    stops: str = "auto"
    label: str = "an interpolant"
    breaks: np.ndarray = field(
        default=Factory(lambda self: breaks_of(self.pieces, self.stops)[0], takes_self=True)
    )
    breaks_of_runs: np.ndarray | None = None

    @property
    def n_runs(self) -> int | None:
        """How many runs it has samples for; None where all runs have the same."""
        return None if self.pieces.columns == 1 else self.pieces.columns

    def run(self, number: int) -> Driver:
        """Return what one run calls; its `breaks` are still those of all runs."""
        return Driver(self.pieces.run(number), self.stops, self.label, self.breaks)

    def __call__(self, t: Any, nu: int = 0) -> Any:
        """Return the value at `t`, or the derivative of order `nu`.

        Parameters
        ----------
        t : float or array_like
        nu : int

        Returns
        -------
        float or ndarray
            Of the shape of `t`; with samples of several runs, these come first.

        Raises
        ------
        InvalidProblem
            With extend="error", for times outside of the samples.
        """
        if hasattr(t, "graph"):  # an expression
            return self._call_in_trace(t, nu)
        if hasattr(t, "each_entry"):  # an array of them
            return t.each_entry(lambda x: self(x, nu))
        seen = getattr(_checking, "seen", None)
        if seen is not None:
            seen.append(self.label)
        if nu < 0:
            raise InvalidProblem("nu", f"is {nu}, but must be the order of a derivative, from 0.")
        times = np.asarray(t, dtype=float)
        pieces = self.pieces
        if seen is not None and pieces.columns > 1:
            raise self._refusal()
        if pieces.bounded and not getattr(_checking, "on", False):
            first, last = pieces.knots[0], pieces.knots[-1]
            outside = times[(times < first) | (times > last)]
            if outside.size:
                raise InvalidProblem(
                    "t",
                    f"is {outside.flat[0]}, outside of the samples, which reach from {first} to "
                    f"{last}. Give more samples, or extend='hold', 'zero' or 'periodic'.",
                )
        values = pieces(times, nu)
        if pieces.columns > 1:
            return values
        return values[0] if times.ndim else float(values[0])

    def _call_in_trace(self, x: Any, nu: int) -> Any:
        if self.pieces.columns > 1:
            raise self._refusal()
        return x.graph.call_driver(self, nu, x)

    def _refusal(self) -> RightHandSideError:
        return RightHandSideError(
            f"fun calls {self.label}, which has samples of {self.pieces.columns} runs. Give it in "
            "args: from there each run gets its own."
        )

    def derivative(self, nu: int = 1) -> Slope:
        """Return the derivative of order `nu` as a function."""
        return Slope(self, nu)


@frozen(eq=False, init=False)
class Interpolant(Driver):
    """Samples of an input that depends on time, called in a right-hand side as ``u(t)``.

    Given in `args`, its samples are data like any other argument: solving again with others of the
    same number and kind compiles nothing. It can be called in plain Python too, with numbers and
    arrays.

    Parameters
    ----------
    times : array_like (n_samples,)
        Increasing. With kind "linear" two neighbours may be equal: the input jumps there.
    values : array_like (n_samples,) or (n_runs, n_samples)
        The same for all runs, or for each its own.
    kind : {"linear", "cubic", "pchip", "akima", "previous"}
        Straight lines; the spline with two continuous derivatives ("not a knot"); cubics that do
        not overshoot (Fritsch & Butland), and such that follow neighbouring samples only (Akima),
        both with a continuous derivative; the latest sample.
    extend : {"error", "hold", "periodic", "zero"}
        Outside of the samples: the run ends with status DRIVER_OUT_OF_RANGE; the first or last
        sample; repeated with period ``times[-1] - times[0]`` (a spline whose first and last sample
        are equal is smooth there, too); zero.
    stops : {"auto", "jumps", "kinks", "none"}
        Which times no step crosses, where the right-hand side calls ``u(t)`` at its own time:
        where the value jumps, where the slope does too, or nothing. "auto" is "kinks" where
        there are at most 100 of them, else "jumps".

    Raises
    ------
    InvalidOption, InvalidProblem
        For an unknown kind, times that do not increase, samples that are not finite, shapes that do
        not fit, too few samples.

    Notes
    -----
    In runs of float32 the argument is rounded to float32 as all times are; from the nearest sample
    on it is measured without further loss.
    """

    kind: str = field(default="linear")
    extend: str = field(default="error")
    n_samples: int = field(default=0)

    def __init__(
        self,
        times: Any,
        values: Any,
        kind: str = "linear",
        extend: str = "error",
        stops: str = "auto",
    ):
        for name, given, allowed in (
            ("kind", kind, KINDS), ("extend", extend, EXTENSIONS), ("stops", stops, STOPS),
        ):  # fmt: skip
            if not isinstance(given, str) or given not in allowed:
                raise InvalidOption(name, given, allowed)
        knots, samples = checked_samples(times, values, kind)
        if extend == "periodic" and len(knots) < 2:
            raise InvalidProblem(
                "times",
                "has 1 sample; extend='periodic' needs a second one, where the first period ends.",
            )
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # looked at below
            found = interpolate(kind, knots, samples, extend == "periodic")
            span = knots[-1] - knots[0]
        if not (np.isfinite(found[1]).all() and np.isfinite(span)):
            raise InvalidProblem(
                "values",
                f"and times are so large, or times so close, that kind {kind!r} has numbers beyond "
                "the largest float. Choose other units.",
            )
        pieces = with_ends(*found, extend)
        label = f"Interpolant(kind={kind!r}, extend={extend!r}, {len(knots)} samples)"
        self.__attrs_init__(  # pyright: ignore[reportAttributeAccessIssue]
            pieces, stops, label, *breaks_of(pieces, stops), kind, extend, len(knots)
        )

    def __repr__(self) -> str:
        return self.label


def breaks_of(pieces: Pieces, stops: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the knots that no step should cross, and which of them are those of each run.

    See `Driver.breaks` and `Driver.breaks_of_runs`. Each run has those that it has alone.
    """
    if stops == "none":
        return np.zeros(0), None
    chosen = pieces.breaks(0 if stops == "jumps" else 1)
    if stops == "auto":
        many = np.count_nonzero(chosen, axis=0) > FEW_KINKS
        if many.any():
            chosen[:, many] = pieces.breaks(0)[:, many]
    anywhere = chosen.any(axis=1)
    chosen = chosen[anywhere]
    same = np.array_equal(chosen[:, 1:], chosen[:, :-1])
    return pieces.knots[anywhere], None if same else chosen


def checked_samples(times: Any, values: Any, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Return times (n_samples,) and values (n_samples, columns) in float64."""
    knots = _reals("times", times)
    samples = _reals("values", values)
    least = LEAST_SAMPLES.get(kind, 2)
    if knots.ndim != 1 or samples.ndim not in (1, 2) or samples.shape[-1] != len(knots):
        raise InvalidProblem(
            "values",
            f"has shape {samples.shape} and times {knots.shape}: there must be one value for each "
            "time, (n_samples,), or (n_runs, n_samples) for a row a run.",
        )
    if len(knots) < least or (samples.ndim == 2 and len(samples) < 1):
        raise InvalidProblem(
            "times", f"has {len(knots)} samples; kind {kind!r} needs at least {least}, of a run."
        )
    with np.errstate(over="ignore"):
        steps = np.diff(knots)
    wrong = steps <= 0
    if kind == "linear":
        # One jump has two samples: a third between them would be nobody's.
        twice = (steps[1:] == 0) & (steps[:-1] == 0)
        wrong = steps < 0
        wrong[1:] |= twice
        if len(steps) and (steps[0] == 0 or steps[-1] == 0):
            wrong[0 if steps[0] == 0 else -1] = True
    if wrong.any():
        at = int(np.argmax(wrong))
        equal = ""
        if steps[at] == 0:
            equal = (
                " Two equal times, of a jump, stand between others."
                if kind == "linear"
                else " Two samples at one time are a jump, which kind 'linear' has."
            )
        raise InvalidProblem(
            "times",
            f"must increase, but times[{at}] = {knots[at]} is followed by {knots[at + 1]}.{equal}",
        )
    columns = samples.reshape(-1, len(knots)).T
    return knots, np.ascontiguousarray(columns)


def _reals(name: str, given: Any) -> np.ndarray:
    try:
        array = np.array(real_array(given), dtype=float)
    except (TypeError, ValueError) as error:
        why = f", but {error}" if isinstance(error, NotReal) else ""
        raise InvalidProblem(name, f"must be an array of numbers{why}.") from error
    if not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        place = ", ".join(map(str, where))
        raise InvalidProblem(
            name,
            f"must be finite, but {name}[{place}] is {array[where]}. Leave out the sample, or fill "
            "it in.",
        )
    return array
