"""Options of iterations without a matrix, and of what preconditions them."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from attrs import field, frozen

from cubie.errors import InvalidOption
from cubie.reals import as_float, as_int
from cubie.solvers.preconditioners import PRECONDITIONERS

# Where no size is given, blocks of Jacobi's preconditioner have at most so many states.
BLOCK_SIZE = 8
# What options of a preconditioner are for.
OPTIONS_OF = {
    "neumann_order": "neumann",
    "jacobi_block_size": "block_jacobi",
    "preconditioner_bandwidth": "banded",
}


def _one_of(allowed):
    def check(instance, attribute, value):
        if value not in allowed:
            raise InvalidOption(attribute.name, value, allowed)

    return check


def count(low: int, high: int, or_none: bool = False) -> Callable:
    """Return a validator of an option that is an int of a range, or None."""

    def check(instance, attribute, value):
        if or_none and value is None:
            return
        if type(value) is not int or not low <= value <= high:
            also = ", or None" if or_none else ""
            advice = f"It must be an int from {low} to {high}{also}."
            raise InvalidOption(attribute.name, value, advice=advice)

    return check


def _fraction(instance, attribute, value):
    if not (isinstance(value, float) and 0.0 < value < 1.0):
        raise InvalidOption(attribute.name, value, advice="It must be above 0 and below 1.")


@frozen
class KrylovSettings:
    """Options of the iterative solvers.

    Attributes
    ----------
    preconditioner : {"none", "jacobi", "neumann", "ilu0", "block_jacobi", "banded"}
        See `cubie.solvers.preconditioners` and, of the last three, `cubie.solvers.kept_entries`.
    neumann_order : int
        Powers that the Neumann series adds to the inverse diagonal.
    jacobi_block_size : int or None
        States in each diagonal block that "block_jacobi" factorises; None: `BLOCK_SIZE`, or all
        where there are fewer.
    preconditioner_bandwidth : int or None
        "banded" keeps entries (i, j) with abs(i - j) at most this; None: the widest band with at
        most twice as many places as the matrix has entries.
    krylov_tolerance : float
        Error that may be left in a solution, as a fraction of that which Newton's method may
        leave: `newton_tolerance` times the error allowed in a step. See `cubie.solvers.weighting`.
    max_linear_iterations : int
        A step that needs more in one solution is rejected.
    """

    preconditioner: str = field(default="jacobi", validator=_one_of(PRECONDITIONERS))
    neumann_order: int = field(default=2, converter=as_int, validator=count(1, 20))
    jacobi_block_size: int | None = field(
        default=None, converter=as_int, validator=count(1, 100_000, or_none=True)
    )
    preconditioner_bandwidth: int | None = field(
        default=None, converter=as_int, validator=count(0, 100_000, or_none=True)
    )
    krylov_tolerance: float = field(default=0.05, converter=as_float, validator=_fraction)
    max_linear_iterations: int = field(default=100, converter=as_int, validator=count(1, 100_000))

    def __attrs_post_init__(self):
        for name, kind in OPTIONS_OF.items():
            value = getattr(self, name)
            if (
                self.preconditioner == kind
                or value == attrs.fields_dict(KrylovSettings)[name].default
            ):
                continue
            advice = (
                f"It has no effect with preconditioner={self.preconditioner!r}; give "
                f"preconditioner={kind!r} as well, or leave it out."
            )
            raise InvalidOption(name, value, advice=advice)
