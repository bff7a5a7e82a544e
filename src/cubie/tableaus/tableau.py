"""What every Runge-Kutta tableau is, and the checks it passes when it is made."""

from enum import Enum
from fractions import Fraction
from functools import cached_property
from typing import NoReturn, Self

import numpy as np
from attrs import converters, evolve, field, fields, frozen, validators

from cubie.tableaus.bootstrapped import DenseOutput
from cubie.tableaus.continuous import Interpolant, continuous_extension
from cubie.tableaus.exact import Matrix, Vector, float_rows, floats, matrix, vector

# Tables in the literature carry at least sixteen digits, so their sums close to this, relative
# to the size of what is summed. Fractions close exactly.
TOLERANCE = Fraction(1, 10**14)


class Stability(Enum):
    """Behaviour on y' = lambda*y with Re(lambda) < 0 (Hairer & Wanner II, IV.3)."""

    CONDITIONAL = "conditionally stable"
    A = "A-stable"
    L = "L-stable"


class TableauError(ValueError):
    """A tableau that cannot be what it claims to be.

    Attributes
    ----------
    tableau : str
        Name of the tableau.
    rule : str
        The rule that broke, in one phrase.
    """

    def __init__(self, tableau: str, rule: str, detail: str) -> None:
        super().__init__(f"tableau `{tableau}`: {rule}: {detail}")
        self.tableau = tableau
        self.rule = rule


@frozen(kw_only=True)
class Tableau:
    """Coefficients of a one-step method; the common part of every kind.

    Coefficients are given as text, integers or fractions and kept exactly
    (`a_exact`, `b_exact`, ...); `a`, `b`, ... are the same numbers as doubles.

    Parameters
    ----------
    name : str
        The name users type, lower case with underscores.
    a : rows of (n_stages,) numbers
        Stage weights.
    b : (n_stages,) numbers
        Weights of the solution that is carried on.
    c : (n_stages,) numbers
        Abscissae, in units of the step.
    order : int
        Order of the solution.
    stability : Stability
    source : str
        Paper or book, with the table or equation.
    error_weights : (n_stages,) numbers, optional
        ``b - b_hat``: the error estimate is ``h * sum(error_weights[i] * k[i])``.
    error_order : int, optional
        The estimate shrinks as ``h**(error_order + 1)``: the lower of the two
        orders of the pair. A step controller's exponent is
        ``1 / (error_order + 1)``.
    error_proportional_below : float, optional
        Relative tolerance below which the estimate is magnified, so that errors stay in
        proportion to the tolerance. Only for pairs of order two whose `error_order` is two
        as well: as the estimate is of the error of the solution that is carried on, errors
        otherwise shrink as the tolerance to the power 2/3 alone.
    interpolant : (n_stages,) rows of numbers, optional
        Row ``i`` holds ``p[1], p[2], ...`` of the weight
        ``b_i(theta) = sum(p[k] * theta**k)`` of stage ``i`` in the solution at
        ``t + theta*h``, for 0 <= theta <= 1.
    interpolant_order : int, optional
        Order of the interpolant, uniformly in theta.
    aliases : tuple of str
        Other names, compared without regard to case.

    Raises
    ------
    TableauError
        Naming the rule that the coefficients break.
    """

    name: str = field(validator=validators.matches_re(r"[a-z][a-z0-9_]*"))
    a_exact: Matrix = field(alias="a", converter=matrix, repr=False)
    b_exact: Vector = field(alias="b", converter=vector, repr=False)
    c_exact: Vector = field(alias="c", converter=vector, repr=False)
    order: int = field(validator=validators.ge(1))
    stability: Stability = field(validator=validators.instance_of(Stability))
    source: str = field(validator=validators.min_len(1), repr=False)
    error_weights_exact: Vector | None = field(
        alias="error_weights", default=None, converter=converters.optional(vector), repr=False
    )
    error_order: int | None = None
    error_proportional_below: float | None = field(
        default=None, validator=validators.optional(validators.gt(0.0))
    )
    interpolant_exact: Matrix | None = field(
        alias="interpolant", default=None, converter=converters.optional(matrix), repr=False
    )
    interpolant_order: int | None = field(default=None, repr=False)
    aliases: tuple[str, ...] = field(default=(), converter=tuple, repr=False)

    def __attrs_post_init__(self) -> None:
        self._check_shapes()
        self._check_structure()
        self._check_rows()
        self._check_weights()
        self._check_error()
        self._check_interpolant()

    @property
    def n_stages(self) -> int:
        return len(self.b_exact)

    @cached_property
    def a(self) -> tuple[tuple[float, ...], ...]:
        return float_rows(self.a_exact)

    @cached_property
    def b(self) -> tuple[float, ...]:
        return floats(self.b_exact)

    @cached_property
    def c(self) -> tuple[float, ...]:
        return floats(self.c_exact)

    @cached_property
    def error_weights(self) -> tuple[float, ...] | None:
        return None if self.error_weights_exact is None else floats(self.error_weights_exact)

    @cached_property
    def interpolant(self) -> tuple[tuple[float, ...], ...] | None:
        return None if self.interpolant_exact is None else float_rows(self.interpolant_exact)

    @cached_property
    def continuous(self) -> Interpolant:
        """The solution inside a step: the published interpolant, or `continuous_extension`."""
        if self.interpolant is not None and self.interpolant_order is not None:
            degree = max(map(len, self.interpolant))
            rows = tuple(row + (0.0,) * (degree - len(row)) for row in self.interpolant)
            return Interpolant(rows, self.interpolant_order)
        return self._extension()

    @cached_property
    def dense(self) -> DenseOutput:
        """The solution inside a step where points are read off it: `continuous`, or better."""
        return self._dense()

    def _dense(self) -> DenseOutput:
        return DenseOutput((), (), self.continuous)

    def _extension(self) -> Interpolant:
        return continuous_extension(self.a, self.a, self.b, self.order)

    @property
    def has_error_estimate(self) -> bool:
        """Whether the step size can be controlled."""
        return self.error_weights_exact is not None

    def without_error_estimate(self) -> Self:
        """Return the same method for steps of a fixed size."""
        estimates = [f.alias for f in fields(type(self)) if (f.alias or "").startswith("error_")]
        return evolve(self, **dict.fromkeys(estimates))

    @cached_property
    def first_stage_explicit(self) -> bool:
        """Whether the first stage is ``f(t, y)`` itself."""
        return not any(self.a_exact[0]) and self.c_exact[0] == 0

    @cached_property
    def stiffly_accurate(self) -> bool:
        """Whether the last stage's state is the new solution."""
        return self.a_exact[-1] == self.b_exact and self.c_exact[-1] == 1

    @cached_property
    def fsal(self) -> bool:
        """First same as last: the last stage's derivative is the next step's first."""
        return self.n_stages > 1 and self.stiffly_accurate and self.first_stage_explicit

    def stability_function(self, z: complex) -> complex:
        """Return the growth factor R(z) of the solution on y' = lambda*y, with z = h*lambda."""
        stages = np.eye(self.n_stages) - z * np.array(self.a)
        return complex(1 + z * np.dot(self.b, np.linalg.solve(stages, np.ones(self.n_stages))))

    def _fail(self, rule: str, detail: str) -> NoReturn:
        raise TableauError(self.name, rule, detail)

    def _require_zero(self, terms: Vector, total: Fraction | int, rule: str, where: str) -> None:
        """Check that `terms` sum to `total`, within the digits that tables carry."""
        residual = sum(terms, Fraction(0)) - total
        scale = sum((abs(term) for term in terms), Fraction(1))
        if abs(residual) > TOLERANCE * scale:
            self._fail(rule, f"{where} is {float(sum(terms)):.17g}, not {float(total):.17g}")

    def _check_shapes(self) -> None:
        stages = self.n_stages
        if stages == 0:
            self._fail("no stages", "b is empty; give one weight per stage")
        if len(self.a_exact) != stages or any(len(row) != stages for row in self.a_exact):
            rows = [len(row) for row in self.a_exact]
            self._fail("shape", f"b has {stages} weights, but the rows of a have {rows}")
        for label, values in (("c", self.c_exact), ("error_weights", self.error_weights_exact)):
            if values is not None and len(values) != stages:
                self._fail("shape", f"b has {stages} weights, but {label} has {len(values)}")

    def _check_structure(self) -> None:
        """Check which entries of `a` may be non-zero; each kind has its own rule."""
        raise NotImplementedError(f"{type(self).__name__} is no kind of tableau by itself")

    def _check_rows(self) -> None:
        for i, (row, c) in enumerate(zip(self.a_exact, self.c_exact, strict=True)):
            self._require_zero(row, c, "row sums", f"sum of row {i} of a")

    def _check_weights(self) -> None:
        """Check the quadrature conditions, sum b c^(q-1) = 1/q, that the order implies."""
        for q in range(1, self.order + 1):
            terms = tuple(b * c ** (q - 1) for b, c in zip(self.b_exact, self.c_exact, strict=True))
            self._require_zero(terms, Fraction(1, q), "quadrature", f"sum of b*c**{q - 1}")

    def _check_error(self) -> None:
        if (self.error_weights_exact is None) != (self.error_order is None):
            self._fail("error estimate", "give error_weights and error_order together, or neither")
        if self.error_weights_exact is None or self.error_order is None:
            return
        if not 0 <= self.error_order <= self.order:
            self._fail(
                "error estimate", f"error_order={self.error_order} is not in 0..{self.order}"
            )
        if not any(self.error_weights_exact):
            self._fail("error estimate", "error_weights are all zero; give None instead")
        if self.error_proportional_below is not None and self.order + self.error_order != 4:
            self._fail(
                "error estimate",
                f"error_proportional_below is for pairs with order = error_order = 2, not "
                f"{self.order} and {self.error_order}",
            )
        self._check_error_sum()

    def _check_error_sum(self) -> None:
        assert self.error_weights_exact is not None
        self._require_zero(self.error_weights_exact, 0, "error estimate", "sum of error_weights")

    def _check_interpolant(self) -> None:
        if (self.interpolant_exact is None) != (self.interpolant_order is None):
            self._fail("interpolant", "give interpolant and interpolant_order together, or neither")
        if self.interpolant_exact is None:
            return
        if len(self.interpolant_exact) != self.n_stages:
            rows = len(self.interpolant_exact)
            self._fail("interpolant", f"it has {rows} rows for {self.n_stages} stages")
        for i, (row, b) in enumerate(zip(self.interpolant_exact, self.b_exact, strict=True)):
            self._require_zero(row, b, "interpolant", f"weight of stage {i} at theta=1")
