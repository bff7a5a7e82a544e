"""Methods of several steps: the coefficients of the numerical differentiation formulas."""

from functools import cached_property
from typing import ClassVar

from attrs import field, frozen

from cubie.tableaus.exact import Vector, exact, floats, vector
from cubie.tableaus.method import Method, Stability


@frozen(kw_only=True)
class MultistepMethod(Method):
    """Backward differentiation of variable order, with steps of one size until it changes.

    With backward differences of the solution at equal steps, ``gamma[k] = 1 + 1/2 + ... + 1/k`` and
    ``alpha[k] = (1 - kappa[k]) * gamma[k]``, a step of order k with the difference d of its
    solution from the predicted one solves

        M (alpha[k] d + sum(gamma[m] D[m], m = 1..k)) = h f(t + h, predicted + d).

    Its error is ``error_constants[k] * d`` to leading order (Shampine & Reichelt, SIAM J. Sci.
    Comput. 18 (1997) 1-22, section 2).

    Parameters
    ----------
    kappa : numbers
        Of orders 1, 2, ...: by how much a formula differs from plain backward differentiation,
        whose are all zero.
    """

    controls_steps: ClassVar[bool] = True
    implicit: ClassVar[bool] = True

    kappa_exact: Vector = field(alias="kappa", converter=vector, repr=False)

    def __attrs_post_init__(self) -> None:
        if len(self.kappa_exact) != self.order:
            self._fail("shape", f"it has {len(self.kappa_exact)} kappa for {self.order} orders")
        if any(kappa >= 1 for kappa in self.kappa_exact):
            self._fail("kappa", "each must be below 1, or the formula has no solution in it")
        if self.error_order != 1:
            self._fail("error estimate", "a run starts with order 1, so error_order must be 1")

    @property
    def order_inside(self) -> int:
        """Each step's is the order of that step: its own polynomial."""
        return self.order

    @property
    def gamma_exact(self) -> Vector:
        """Sums of ``1/j`` for j up to each order."""
        terms = [exact(1) / j for j in range(1, self.order + 1)]
        return tuple(sum(terms[: k + 1], exact(0)) for k in range(self.order))

    @cached_property
    def gamma(self) -> tuple[float, ...]:
        return floats(self.gamma_exact)

    @cached_property
    def alpha(self) -> tuple[float, ...]:
        pairs = zip(self.kappa_exact, self.gamma_exact, strict=True)
        return floats(tuple((1 - kappa) * gamma for kappa, gamma in pairs))

    @cached_property
    def error_constants(self) -> tuple[float, ...]:
        """What times the next difference is the error of orders 1, 2, ..., and one order more."""
        pairs = zip(self.kappa_exact, self.gamma_exact, strict=True)
        constants = [
            kappa * gamma + exact(1) / (k + 1) for k, (kappa, gamma) in enumerate(pairs, start=1)
        ]
        return floats((*constants, exact(1) / (self.order + 2)))


BDF = MultistepMethod(
    name="bdf",
    aliases=("NDF", "ode15s"),
    kappa=("-0.1850", "-1/9", "-0.0823", "-0.0415", 0),
    order=5,
    error_order=1,
    # Up to order two; from order three on for arguments within 86, 73 and 51 degrees.
    stability=Stability.L,
    source="Shampine & Reichelt, SIAM J. Sci. Comput. 18 (1997) 1-22, section 2.1, table 1",
)

MULTISTEP: tuple[MultistepMethod, ...] = (BDF,)
