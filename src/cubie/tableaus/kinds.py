"""The kinds of Runge-Kutta tableau: explicit, diagonally implicit, fully implicit."""

from functools import cached_property

from attrs import converters, field, frozen

from cubie.tableaus.exact import Vector, floats, vector
from cubie.tableaus.tableau import Tableau


@frozen(kw_only=True)
class ERKTableau(Tableau):
    """An explicit Runge-Kutta method: every stage uses earlier stages only.

    Parameters
    ----------
    error_weights_low : (n_stages,) numbers, optional
        A second estimator of lower order. With the weighted RMS norms ``e5`` of
        ``error_weights`` and ``e3`` of ``error_weights_low``, the step's error is
        ``h * e5**2 / sqrt(e5**2 + 0.01 * e3**2)`` (Hairer, Norsett & Wanner I,
        II.10, eq. 10.17-10.19); `error_order` is that of the combination.
    """

    error_weights_low_exact: Vector | None = field(
        alias="error_weights_low", default=None, converter=converters.optional(vector), repr=False
    )

    @cached_property
    def error_weights_low(self) -> tuple[float, ...] | None:
        low = self.error_weights_low_exact
        return None if low is None else floats(low)

    def _check_structure(self) -> None:
        for i, row in enumerate(self.a_exact):
            for j, entry in enumerate(row[i:], start=i):
                if entry:
                    self._fail("explicit", f"a[{i}][{j}] = {float(entry):g} must be zero")

    def _check_error_sum(self) -> None:
        super()._check_error_sum()
        low = self.error_weights_low_exact
        if low is not None and len(low) != self.n_stages:
            self._fail("shape", f"b has {self.n_stages} weights, but error_weights_low {len(low)}")
        if low is not None:
            self._require_zero(low, 0, "error estimate", "sum of error_weights_low")
