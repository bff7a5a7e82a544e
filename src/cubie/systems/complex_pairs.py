"""Complex states and arguments: for a solver each is a pair of real numbers.

State i is the numbers 2 i and 2 i + 1 of the real state. The user's function gets complex numbers,
made of these where it is traced, and what it returns is taken apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from attrs import frozen

from cubie.errors import InvalidProblem
from cubie.reals import NotReal, real_array, require_unmasked
from cubie.systems.batch import checked_args
from cubie.systems.errors import BatchShapeError, RightHandSideError
from cubie.systems.parameters import CONTAINERS

_NUMBERS = (complex, np.complexfloating)


@frozen
class Pairs:
    """What of a problem is complex.

    Attributes
    ----------
    states : bool
        The states are.
    paths : tuple of path
        Where in args there are complex numbers, or arrays of them, in order.
    """

    states: bool
    paths: tuple[tuple, ...]

    def split(self, y0: Any, args: Sequence[Any]) -> tuple[Any, tuple[Any, ...]]:
        """Return real `y0` and `args`: states in pairs, and a tuple (real, imaginary) each in args.

        Raises
        ------
        InvalidProblem
            For initial states that are not finite.
        """
        return self._real_states(y0) if self.states else y0, tuple(
            _each(entry, (i,), self.paths, _apart) for i, entry in enumerate(args)
        )

    def _real_states(self, y0: Any) -> np.ndarray:
        try:
            states: Any = _complex_array(y0)
        except NotReal as error:
            raise InvalidProblem("y0", f"must hold numbers, but {error}.") from error
        except ValueError as error:
            raise BatchShapeError(f"y0 is no rectangular array: {error}") from error
        finite = np.isfinite(states)
        if not finite.all():
            where = tuple(int(i) for i in np.argwhere(~finite)[0])
            raise InvalidProblem(
                "y0",
                f"is not finite: y0[{', '.join(map(str, where))}] is {states[where]}. All "
                "components of the initial state `y0` must be finite.",
            )
        if states.ndim == 0:
            raise InvalidProblem("y0", "is one number; it must be (n_states,), as in [1j].")
        return np.ascontiguousarray(states).view(states.real.dtype)

    def of_states(self, fun: Callable, n_states: int) -> Callable:
        """Return the right-hand side of `n_states` real states."""
        return partial(_pair_derivatives, fun, self, n_states)

    def of_observables(self, fun: Callable) -> Callable:
        """Return observables of the real states."""
        return partial(_of_pairs, fun, self)

    def part_names(self, n_states: int) -> tuple[str, ...]:
        """Return a name for each real state."""
        return tuple(f"y{i // 2}.{('real', 'imag')[i % 2]}" for i in range(n_states))

    def mass_matrix(self, matrix: Any, n_states: int) -> Any:
        """Return the mass matrix of the real states: each entry becomes the square of a product."""
        if matrix is None or not self.states:
            return matrix
        given: Any = np.asarray(matrix)
        if given.dtype.kind not in "iufc" or given.ndim not in (1, 2):
            return matrix  # refused, and named, with those of real states
        given = np.diag(given) if given.ndim == 1 else given
        if given.shape != (n_states // 2, n_states // 2):
            raise InvalidProblem(
                "mass_matrix",
                f"has shape {np.shape(matrix)}, but there are {n_states // 2} complex states.",
            )
        turned = np.kron(given.imag, [[0.0, -1.0], [1.0, 0.0]])
        return np.kron(given.real, np.eye(2)) + turned


def _complex_array(given: Any) -> np.ndarray:
    """Return complex numbers as an array; what beside them is no number is refused by name."""
    if isinstance(given, (np.ndarray, np.generic)):
        require_unmasked(given)
        return np.asarray(given)
    re = real_array(_nested(given, lambda value: value.real, lambda value: value))
    im = real_array(_nested(given, lambda value: value.imag, lambda value: 0.0))
    whole = np.empty(re.shape, dtype=complex)
    whole.real, whole.imag = re, im
    return whole


def _nested(given: Any, of_complex: Callable, of_others: Callable) -> Any:
    if type(given) in (list, tuple):
        return [_nested(entry, of_complex, of_others) for entry in given]
    if isinstance(given, np.ndarray):
        return of_complex(given)
    return of_complex(given) if isinstance(given, _NUMBERS) else of_others(given)


def pairs_of(y0: Any, args: Any) -> Pairs | None:
    """Return what of a problem is complex, None where nothing is."""
    states = _is_complex(y0)
    if type(args) is tuple and not args:
        return Pairs(states, ()) if states else None
    paths = tuple(
        path for i, entry in enumerate(checked_args(args)) for path in _paths(entry, (i,))
    )
    return Pairs(states, paths) if states or paths else None


def _is_complex(value: Any) -> bool:
    if isinstance(value, (np.ndarray, np.generic)):
        return value.dtype.kind == "c"
    if type(value) in (list, tuple):
        return any(map(_is_complex, value))
    return isinstance(value, complex)


def _paths(value: Any, path: tuple) -> list[tuple]:
    if type(value) is dict:
        return [found for key, entry in value.items() for found in _paths(entry, (*path, key))]
    if type(value) in CONTAINERS:
        return [found for i, entry in enumerate(value) for found in _paths(entry, (*path, i))]
    is_array = isinstance(value, np.ndarray) and value.dtype.kind == "c"
    return [path] if is_array or isinstance(value, _NUMBERS) else []


def _each(value: Any, path: tuple, paths: tuple[tuple, ...], function: Callable) -> Any:
    """Return an entry of args with a function of what stands at some paths in its place."""
    if path in paths:
        return function(value)
    if not any(path == other[: len(path)] for other in paths):
        return value
    if type(value) is dict:
        return {key: _each(entry, (*path, key), paths, function) for key, entry in value.items()}
    return type(value)(_each(entry, (*path, i), paths, function) for i, entry in enumerate(value))


def _apart(value: Any) -> tuple[Any, Any]:
    if isinstance(value, np.ndarray):
        return np.ascontiguousarray(value.real), np.ascontiguousarray(value.imag)
    return float(value.real), float(value.imag)


def _together(pair: tuple[Any, Any]) -> Any:
    """Return the complex number, or array, of a pair: plain, or traced."""
    re, im = pair
    if isinstance(re, (float, np.generic)):
        return complex(re, im)
    if isinstance(re, np.ndarray) and re.dtype != object:
        whole = np.empty(re.shape, dtype=complex)
        whole.real, whole.imag = re, im
        return whole
    from cubie.systems.tracing.arrays import traced
    from cubie.systems.tracing.complex_numbers import joined

    if not isinstance(re, np.ndarray):
        return joined(re, im)
    entries = np.empty(re.size, dtype=object)
    pairs = zip(re.ravel().tolist(), im.ravel().tolist(), strict=True)
    entries[:] = [joined(*both) for both in pairs]
    return traced(entries.reshape(re.shape))


def _of_pairs(fun: Callable, pairs: Pairs, t: Any, y: Any, *args: Any) -> Any:
    state = _together((y[0::2], y[1::2])) if pairs.states else y
    given = [_each(entry, (i,), pairs.paths, _together) for i, entry in enumerate(args)]
    return fun(t, state, *given)


def _pair_derivatives(
    fun: Callable, pairs: Pairs, n_states: int, t: Any, y: Any, *args: Any
) -> Any:
    result = _of_pairs(fun, pairs, t, y, *args)
    if not pairs.states:
        return result
    n = n_states // 2
    if np.ndim(result) == 0 and n == 1 and hasattr(result, "imag"):
        result = [result]
    if result is None or isinstance(result, (str, bytes, dict, set)) or np.ndim(result) == 0:
        what = "None" if result is None else f"a {type(result).__name__}"
        raise RightHandSideError(
            f"fun returned {what}; it must return a list, tuple or array of {n} numbers, the "
            "derivative of each complex state."
        )
    entries = list(result)
    if len(entries) != n:
        raise RightHandSideError(f"fun returned {len(entries)} values for {n} complex states.")
    return [part for i, entry in enumerate(entries) for part in _parts(entry, i)]


def _parts(entry: Any, i: int) -> tuple[Any, Any]:
    if isinstance(entry, np.ndarray) and entry.ndim == 0:
        entry = entry.item()
    if not hasattr(entry, "imag") or np.ndim(entry):
        raise RightHandSideError(
            f"fun returned a {type(entry).__name__} for state {i}; it must be one number."
        )
    return entry.real, entry.imag


def is_of_pairs(fun: Any) -> bool:
    """Tell whether a function is one that gets complex numbers made of pairs."""
    return type(fun) is partial and fun.func in (_of_pairs, _pair_derivatives)
