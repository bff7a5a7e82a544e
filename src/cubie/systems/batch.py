"""Which entries of `y0` and `args` differ between runs.

The rule, in order:

1. `y0` of shape (n_runs, n) fixes the number of runs, and so does what has a run axis of the
   other arguments, such as starts and ends in `t_span`. `y0` of shape (n,) serves all runs.
2. A number, list, tuple or dictionary in `args` serves all runs (arrays *inside* one follow 3).
   What is no number and no NumPy array of numbers (a pandas series, an array of truth values or
   objects) is one constant of all runs, and refused where it is as long as there are runs.
3. A numeric array in `args`
   - with `n_runs` known from `y0`: is swept if its first axis has length `n_runs`, else it is one
     vector or matrix for all runs; known from others, and `y0` of shape (n,), all 1-D arrays must
     have that length;
   - with `y0` of shape (n,): 1-D arrays are swept numbers; they must have one length, the number
     of runs, and then arrays of more dimensions with that first axis are swept as well. Without
     any 1-D array there is one run.

So a vector parameter for all runs is best given as a list: `args=([1.0, 2.0, 3.0],)`.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from cubie.errors import InvalidProblem
from cubie.reals import NotReal, real_array
from cubie.systems.drivers.interpolant import Driver
from cubie.systems.errors import BatchShapeError
from cubie.systems.parameters import leaves_of, rebuild
from cubie.systems.sweep_advice import require_sweepable, taken_for_vectors, unswept
from cubie.systems.symbolic.names import is_labelled

NEAR_START = 2.0**-10  # a part of the span, and of the state


class Batch(NamedTuple):
    """All runs, transposed for the kernels.

    Attributes
    ----------
    n_runs : int or None
        None: one run, and results have no run axis.
    y0 : ndarray (n_states, n_runs or 1), float64
    parameters : ndarray (n_parameters, n_runs or 1), float64
    args : tuple
        The args of the first run, to trace with.
    swept : tuple of str
        Which arguments were read as having a run axis: "args[1]", to explain an error with.
    vectors : tuple of str
        Which of them made the batch, as 1-D arrays: elsewhere each would be one vector.
    unswept : tuple of str
        A sentence on each array that serves all runs as it is, to explain an error with.
    doubtful : tuple of str
        A sentence on each that was perhaps meant to sweep, though it gives no error.
    drivers : mapping of path to Driver, or None
        Those in args, with the samples of all runs.
    swept_paths : frozenset of path
        Where in args there is what differs between runs.
    constants : mapping of path to number or ndarray
        What of args are no parameters, though numbers.
    span : (float, float) or (ndarray (n_runs,), ndarray (n_runs,)), or None
        Between which times runs go, where that is known.
    in_rows : bool
        `y0` has a row for each run.
    """

    n_runs: int | None
    y0: np.ndarray
    parameters: np.ndarray
    args: tuple[Any, ...]
    swept: tuple[str, ...]
    vectors: tuple[str, ...] = ()
    unswept: tuple[str, ...] = ()
    doubtful: tuple[str, ...] = ()
    drivers: Mapping[tuple, Driver] | None = None
    swept_paths: frozenset[tuple] = frozenset()
    constants: Mapping[tuple, Any] = MappingProxyType({})
    span: tuple[Any, Any] | None = None
    in_rows: bool = False

    @property
    def of_args(self) -> dict[str, Any]:
        """What `trace` is told of them beside those of one run."""
        return {"constants": self.constants, "swept": self.swept_paths, "near": self.near}

    @property
    def near(self) -> tuple[tuple[float, np.ndarray], ...]:
        """Times and states at which functions may be tried that raise elsewhere."""
        if self.span is None:
            return ()
        start, end = (float(np.ravel(one)[0]) for one in self.span)
        if not np.isfinite(end):
            end = start + math.copysign(1.0 + abs(start), end)
        state, moment = self.y0[:, 0], NEAR_START * (end - start)
        return (start, state), (start + moment, state * (1.0 + NEAR_START))

    @property
    def looks_like_one_run(self):
        """Whether a 1-D array is as long as the state: it may have been meant as one vector."""
        return bool(self.vectors) and self.n_runs == len(self.y0) > 1

    @property
    def notes(self):
        """What a result of these runs says of arrays that may have been meant otherwise."""
        return (*((self.advice,) if self.looks_like_one_run else ()), *self.doubtful)

    @property
    def advice(self):
        """What to tell whoever took 1-D arrays in args for vectors."""
        one = len(self.vectors) == 1
        return (
            f"{', '.join(self.vectors)} {'is a 1-D array' if one else 'are 1-D arrays'} "
            f"of length {self.n_runs}: a 1-D array sweeps, so each of {self.n_runs} runs gets one "
            "number of it. For a vector that serves all runs give a list, for samples of a table "
            "lists or an `Interpolant`."
        )


def split_batch(y0, args=(), constants=frozenset(), n_runs=None):
    """Find the run axis of `y0` and `args`.

    Parameters
    ----------
    y0 : array_like (n_states,) or (n_runs, n_states)
    args : tuple
        Arguments of the right-hand side after `t` and `y`.
    constants : set of path
        Entries that shall be constants, where they are numbers of all runs.
    n_runs : int, optional
        Of which arguments beside these are; None where they do not tell.

    Returns
    -------
    Batch

    Raises
    ------
    BatchShapeError
        When shapes disagree, naming them.
    InvalidProblem
        For what is no real number.
    """
    y0 = _states(y0)
    leaves = leaves_of(checked_args(args))
    arrays = [leaf for leaf in leaves if leaf.numeric and leaf.shape]
    drivers = [leaf for leaf in leaves if isinstance(leaf.value, Driver)]
    n_runs = _number_of_runs(y0, arrays, drivers, n_runs)
    _require_samples(drivers, n_runs)
    require_sweepable(leaves, n_runs)
    columns = _few(y0.reshape(-1, y0.shape[-1]).T)
    swept = frozenset(leaf.path for leaf in leaves if _is_swept(leaf, n_runs))
    held = {
        leaf.path: leaf.value
        for leaf in leaves
        if leaf.numeric and leaf.path in constants and leaf.path not in swept
    }
    return Batch(
        n_runs,
        np.ascontiguousarray(columns),
        _columns(leaves_of(args, frozenset(held)) if held else leaves, n_runs),
        rebuild(args, leaves, [_of_run(leaf, n_runs, 0) for leaf in leaves]),
        tuple(leaf.label for leaf in leaves if _is_swept(leaf, n_runs)),
        tuple(leaf.label for leaf in arrays if y0.ndim == 1 and len(leaf.shape) == 1),
        unswept(leaves, n_runs, y0.shape),
        taken_for_vectors(leaves, n_runs, y0.shape[-1]),
        {leaf.path: leaf.value for leaf in drivers},
        swept,
        held,
        in_rows=y0.ndim == 2,
    )


def args_of_run(args, n_runs, run):
    """Return the `args` of one run, as its right-hand side gets them."""
    leaves = leaves_of(checked_args(args))
    return rebuild(args, leaves, [_of_run(leaf, n_runs, run) for leaf in leaves])


def parameter_columns(args, n_runs=None, constants=frozenset()):
    """Return the numbers in `args`, (n_parameters, n_runs), or one column if none is swept."""
    return _columns(leaves_of(checked_args(args), constants), n_runs)


def argument_views(args, n_runs, parameters):
    """Return for each entry of `args`, none of them nested, where it goes in `parameters`.

    The views of `parameters` (n_parameters, n_runs or 1) have the run axis first: writing an
    entry to its view broadcasts what serves all runs.
    """
    views, start, columns = [], 0, parameters.shape[1]
    for leaf in leaves_of(args):
        shape = leaf.shape[1:] if _is_swept(leaf, n_runs) else leaf.shape
        end = start + int(np.prod(shape))
        views.append(parameters[start:end].T.reshape(columns, *shape))
        start = end
    return tuple(views)


def placed_leaves(args, n_runs):
    """Yield for each number or array of `args` (label, value, first parameter, is it swept)."""
    start = 0
    for leaf in leaves_of(args):
        if leaf.numeric:
            swept = n_runs is not None and _is_swept(leaf, n_runs)
            yield leaf.label, leaf.value, start, swept
            start += int(np.prod(leaf.shape[1:] if swept else leaf.shape))


def _few(columns):
    """Return one column where all runs have the same because it is the same memory."""
    return columns[:, :1] if columns.shape[1] > 1 and columns.strides[1] == 0 else columns


def checked_args(args):
    """Return `args` if it is a tuple or list, as SciPy wants it."""
    if isinstance(args, (tuple, list)):
        return args
    kind = type(args).__name__
    how = f"not a {kind}; for one argument write args=(value,)."
    key = next(iter(args.keys()), None) if isinstance(args, Mapping) or is_labelled(args) else None
    if isinstance(key, str):
        how = (
            f"not a {kind} of names, which go with equations given as text. In fun's order write "
            f"args=(args[{key!r}], ...), or args=(args,) where fun takes it whole."
        )
    raise TypeError(
        "Supplied 'args' cannot be unpacked: args must be a tuple of the arguments after t and y, "
        f"{how}"
    )


def _states(y0):
    if isinstance(y0, Mapping):
        raise InvalidProblem(
            "y0",
            f"is a {type(y0).__name__} of names, but the states of a function have none: give "
            "their values as a list, in the order of fun's. Names go with equations given as text.",
        )
    try:
        array = real_array(y0)
    except NotReal as error:
        raise InvalidProblem("y0", f"must hold real numbers, but {error}.") from error
    except ValueError as error:
        raise BatchShapeError(f"y0 is no rectangular array: {error}") from error
    if array.ndim not in (1, 2) or array.size == 0:
        raise BatchShapeError(
            f"y0 has shape {array.shape}; it must be (n_states,), or (n_runs, n_states) for a "
            "batch, with at least one state and one run."
        )
    return array.astype(float, copy=bool(array.strides[0]))


def _number_of_runs(y0, arrays, drivers, told):
    if y0.ndim == 2:
        if told not in (None, len(y0)):
            raise BatchShapeError(
                f"y0 has shape {y0.shape}, a row for each of {len(y0)} runs, and other arguments "
                f"(t_span, t_eval, tolerances or step sizes) are of {told} runs."
            )
        return len(y0)
    return _common_length(y0, arrays, drivers, told)


def _common_length(y0, arrays, drivers, told):
    lengths = {leaf.shape[0] for leaf in arrays if len(leaf.shape) == 1}
    lengths |= {leaf.value.n_runs for leaf in drivers} - {None}
    if not lengths - {told}:
        return told
    if told is not None:
        lengths.add(told)
    if len(lengths) == 1 and min(lengths) > 0:
        return lengths.pop()
    shapes = ", ".join(f"{leaf.label} has shape {leaf.shape}" for leaf in arrays)
    for leaf in drivers:
        if leaf.value.n_runs is not None:
            shapes += f", {leaf.label} has samples of {leaf.value.n_runs} runs"
    if told is not None:
        shapes += f", and t_span, t_eval, tolerances or step sizes are of {told} runs"
    raise BatchShapeError(
        f"The number of runs is not clear: y0 has shape {y0.shape}, {shapes}. 1-D arrays in args "
        "are parameters swept over the runs and must have one length, at least 1. Give a vector "
        "that serves all runs as a list, or y0 with shape (n_runs, n_states)."
    )


def _require_samples(drivers, n_runs):
    for leaf in drivers:
        if leaf.value.n_runs not in (None, n_runs):
            raise BatchShapeError(
                f"{leaf.label} has samples of {leaf.value.n_runs} runs, and there "
                f"{'is one run' if n_runs is None else f'are {n_runs} runs'}. Give values of shape "
                "(n_samples,) for all runs, or a row for each."
            )


def _is_swept(leaf, n_runs):
    return leaf.numeric and bool(leaf.shape) and leaf.shape[0] == n_runs


def _of_run(leaf, n_runs, run):
    if isinstance(leaf.value, Driver):
        return leaf.value.run(run)
    if not _is_swept(leaf, n_runs):
        return leaf.value
    # Floats: a swept number cannot become a constant of the generated code.
    return np.asarray(leaf.value, dtype=float)[run]


def _columns(leaves, n_runs):
    rows = []
    for leaf in leaves:
        if not leaf.numeric:
            continue
        value = np.asarray(leaf.value, dtype=float)
        if n_runs is not None and _is_swept(leaf, n_runs):
            rows.append(_few(value.reshape(n_runs, -1).T))
        else:
            rows.append(value.reshape(-1, 1))
    if not rows:
        return np.zeros((0, 1))
    width = max(row.shape[1] for row in rows)
    columns = [np.broadcast_to(row, (len(row), width)) for row in rows]
    return np.ascontiguousarray(np.concatenate(columns))
