"""The user's `jac`: a function, or a constant matrix, dense or sparse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from attrs import frozen

from cubie.errors import Described, InvalidOption
from cubie.reals import real_array

_FORMS = ("a function jac(t, y, *args)", "an (n, n) matrix of numbers", "a SciPy sparse matrix")
_ALLOWED = tuple(map(Described, _FORMS))
_ADVICE = "Without it the Jacobian is derived from the equations."


@frozen
class ConstantJacobian:
    """A Jacobian that does not change, compared by its numbers.

    Attributes
    ----------
    rows : tuple of tuples of numbers
    """

    rows: tuple[tuple[float, ...], ...]

    def __call__(self, t, y, *args):
        return self.rows


def read_jacobian(given: Any) -> Callable | None:
    """Return `jac` as a function ``jac(t, y, *args)``; None stays None.

    Raises
    ------
    InvalidOption
        For what is neither a function nor a square matrix of finite numbers.
    """
    if given is None or callable(given):
        return given
    try:
        matrix = np.asarray(dense(given))
        matrix = matrix if matrix.dtype.kind == "c" else real_array(dense(given)).astype(float)
    except (TypeError, ValueError) as error:
        raise InvalidOption("jac", given, _ALLOWED, _ADVICE) from error
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise InvalidOption("jac", Described(f"an array of shape {matrix.shape}"), _ALLOWED)
    if not np.isfinite(matrix).all():
        what = Described("a matrix with inf or nan")
        raise InvalidOption("jac", what, advice="Give finite values.")
    return ConstantJacobian(tuple(tuple(row) for row in matrix.tolist()))


def dense(matrix: Any) -> Any:
    """Return a sparse matrix or array of SciPy, of any format, as an array; others unchanged."""
    return matrix.toarray() if hasattr(matrix, "toarray") else matrix


def checked_size(jac: Callable, n_states: int) -> None:
    """Refuse a constant matrix of another size than the state's."""
    if isinstance(jac, ConstantJacobian) and len(jac.rows) != n_states:
        shape = Described(f"a matrix of shape ({len(jac.rows)}, {len(jac.rows)})")
        allowed = Described(f"shape ({n_states}, {n_states})")
        raise InvalidOption("jac", shape, (allowed,))
