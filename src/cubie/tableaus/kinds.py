"""The kinds of tableau: explicit, diagonally implicit, fully implicit, Rosenbrock."""

from fractions import Fraction
from functools import cached_property
from typing import ClassVar, Self

from attrs import converters, evolve, field, frozen

from cubie.tableaus.bootstrapped import DenseOutput, bootstrap
from cubie.tableaus.continuous import Interpolant, continuous_extension
from cubie.tableaus.exact import (
    Matrix,
    Vector,
    exact,
    float_rows,
    floats,
    inverse,
    matrix,
    product,
    vector,
)
from cubie.tableaus.tableau import Tableau
from cubie.tableaus.two_registers import TwoRegisters, two_registers


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
    inside_nodes : levels of numbers, optional
        Parts of the step at which stages are added where the solution inside it is asked for, see
        `cubie.tableaus.bootstrapped`; those of a level after those of the level before.
    """

    error_weights_low_exact: Vector | None = field(
        alias="error_weights_low", default=None, converter=converters.optional(vector), repr=False
    )
    inside_nodes: tuple[tuple[float, ...], ...] = field(
        default=(), converter=lambda levels: tuple(map(tuple, levels)), repr=False
    )

    def _dense(self) -> DenseOutput:
        if not self.inside_nodes:
            return super()._dense()
        return bootstrap(self.a, self.b, self.order, self.inside_nodes)

    @cached_property
    def error_weights_low(self) -> tuple[float, ...] | None:
        low = self.error_weights_low_exact
        return None if low is None else floats(low)

    @cached_property
    def two_registers(self) -> TwoRegisters | None:
        """The method in 2N storage; None where it has no such form."""
        if self.error_weights_low_exact is not None:
            return None
        return two_registers(self.a_exact, self.b_exact, self.error_weights_exact, self.fsal)

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
        if low is not None and self.error_proportional_below is not None:
            self._fail("error estimate", "error_proportional_below is for one estimate, not two")
        if low is not None:
            self._require_zero(low, 0, "error estimate", "sum of error_weights_low")


@frozen(kw_only=True)
class ImplicitTableau(Tableau):
    """An implicit Runge-Kutta method, whose error estimate may take the derivative at the start.

    Parameters
    ----------
    error_start_weight : number, optional
        Weight of ``f(t, y)`` in the error estimate
        ``h * (error_start_weight * f(t, y) + sum(error_weights[i] * k[i]))``, which
        is then filtered by ``(I - h*smoothing*J)**-1``, so that it stays bounded on
        stiff components (Hairer & Wanner II, IV.8, eq. 8.17-8.20).
    """

    implicit: ClassVar[bool] = True

    error_start_weight_exact: Fraction | None = field(
        alias="error_start_weight", default=None, converter=converters.optional(exact), repr=False
    )

    @property
    def error_start_weight(self) -> float | None:
        weight = self.error_start_weight_exact
        return None if weight is None else float(weight)

    @property
    def smoothing(self) -> float | None:
        """The gamma of the filter on an estimate that takes the derivative at the start."""
        raise NotImplementedError(f"{type(self).__name__} does not say by what it filters")

    def _check_error(self) -> None:
        if self.error_start_weight_exact is not None and self.error_weights_exact is None:
            self._fail("error estimate", "error_start_weight is part of one: give error_weights")
        super()._check_error()

    def _check_error_sum(self) -> None:
        assert self.error_weights_exact is not None
        weights = (*self.error_weights_exact, self.error_start_weight_exact or Fraction(0))
        self._require_zero(weights, 0, "error estimate", "sum of error_weights and start weight")


@frozen(kw_only=True)
class DIRKTableau(ImplicitTableau):
    """A diagonally implicit Runge-Kutta method: stages are solved one after another."""

    @property
    def smoothing(self) -> float | None:
        """The shared diagonal entry: the filter's matrix is that of the stages."""
        return None if self.error_start_weight_exact is None else self.gamma

    @property
    def diagonal(self) -> tuple[float, ...]:
        """``a[i][i]``; zero where a stage is explicit."""
        return tuple(self.a[i][i] for i in range(self.n_stages))

    @property
    def implicit_stages(self) -> tuple[bool, ...]:
        """Which stages need a solve."""
        return tuple(entry != 0 for entry in self.diagonal)

    @property
    def gamma(self) -> float | None:
        """The diagonal entry that all implicit stages share, or None if they differ.

        With one gamma, one factorization of ``I - h*gamma*J`` serves all stages.
        """
        shared = {self.a_exact[i][i] for i in range(self.n_stages)} - {Fraction(0)}
        return float(shared.pop()) if len(shared) == 1 else None

    @cached_property
    def predictor(self) -> tuple[tuple[float, ...], ...]:
        """Weights that guess each stage's derivative from those of earlier stages.

        Row ``i`` extrapolates linearly through the two earlier stages whose
        abscissae differ and lie nearest to ``c[i]``; with one earlier abscissa it
        repeats that stage, and the first row is empty of weight. The guess is
        exact where the derivative is linear in time.
        """
        return float_rows(tuple(self._predictor_row(i) for i in range(self.n_stages)))

    def _predictor_row(self, i: int) -> Vector:
        row = [Fraction(0)] * self.n_stages
        c = self.c_exact
        # The latest of several stages at one abscissa knows most about the solution there.
        nearest = sorted(range(i), key=lambda j: (abs(c[j] - c[i]), -j))
        if not nearest:
            return tuple(row)
        first = nearest[0]
        second = next((j for j in nearest if c[j] != c[first]), None)
        if second is None or c[first] == c[i]:
            row[first] = Fraction(1)
        else:
            row[second] = (c[i] - c[first]) / (c[second] - c[first])
            row[first] = 1 - row[second]
        return tuple(row)

    def _check_structure(self) -> None:
        for i, row in enumerate(self.a_exact):
            for j, entry in enumerate(row[i + 1 :], start=i + 1):
                if entry:
                    self._fail("diagonally implicit", f"a[{i}][{j}] = {float(entry):g} is not zero")
        if not any(self.a_exact[i][i] for i in range(self.n_stages)):
            self._fail("diagonally implicit", "the diagonal of a is zero; use an ERKTableau")


@frozen(kw_only=True)
class FIRKTableau(ImplicitTableau):
    """A fully implicit Runge-Kutta method: all stages are solved together."""

    @property
    def smoothing(self) -> float | None:
        """The size of the start weight, which is chosen as a filter's gamma."""
        weight = self.error_start_weight
        return None if weight is None else abs(weight)

    @cached_property
    def a_inverse(self) -> tuple[tuple[float, ...], ...]:
        """Inverse of `a`: stage derivatives from stage increments, rounded once."""
        return float_rows(inverse(self.a_exact))

    def _check_structure(self) -> None:
        try:
            inverse(self.a_exact)
        except ArithmeticError:
            self._fail("fully implicit", "a is singular; stage increments cannot be inverted")


@frozen(kw_only=True)
class RosenbrockTableau(Tableau):
    """A Rosenbrock method in the form that needs no product with the Jacobian.

    Stage ``i`` solves (Hairer & Wanner II, IV.7, eq. 7.25)::

        (I/(h*gamma) - J) u[i] = f(t + c[i]*h, y + sum(a[i][j]*u[j]))
                                 + sum(C[i][j]*u[j]) / h + d[i]*h*df/dt

    and the new solution is ``y + sum(b[i]*u[i])``: `a`, `b` and `error_weights`
    multiply the increments ``u`` without a factor ``h``. Books print the method
    with ``alpha``, ``Gamma`` and weights on ``k = Gamma**-1 u``; those are
    `alpha_exact`, `gamma_matrix_exact` and `weights_exact`.

    Parameters
    ----------
    gamma : number
        The shared diagonal of Gamma.
    C : rows of (n_stages,) numbers
        Coupling between increments, strictly lower triangular.
    d : (n_stages,) numbers
        Row sums of Gamma: weights of ``df/dt``.
    """

    implicit: ClassVar[bool] = True

    gamma_exact: Fraction = field(alias="gamma", converter=exact, repr=False)
    C_exact: Matrix = field(alias="C", converter=matrix, repr=False)
    d_exact: Vector = field(alias="d", converter=vector, repr=False)

    @property
    def gamma(self) -> float:
        return float(self.gamma_exact)

    @cached_property
    def C(self) -> tuple[tuple[float, ...], ...]:
        return float_rows(self.C_exact)

    @cached_property
    def d(self) -> tuple[float, ...]:
        return floats(self.d_exact)

    @cached_property
    def gamma_matrix_exact(self) -> Matrix:
        """Gamma of the book: the inverse of ``I/gamma - C``."""
        return inverse(
            tuple(
                tuple(
                    (1 / self.gamma_exact if i == j else Fraction(0)) - x for j, x in enumerate(r)
                )
                for i, r in enumerate(self.C_exact)
            )
        )

    @cached_property
    def alpha_exact(self) -> Matrix:
        """Alpha of the book: ``a Gamma``."""
        return product(self.a_exact, self.gamma_matrix_exact)

    @cached_property
    def weights_exact(self) -> Vector:
        """Weights of the book: ``Gamma^T b``."""
        return product((self.b_exact,), self.gamma_matrix_exact)[0]

    @cached_property
    def fsal(self) -> bool:
        """Whether the last stage evaluates f at the new solution, so the next step need not."""
        return self.a_exact[-1] == self.b_exact and self.c_exact[-1] == 1

    @cached_property
    def stiffly_accurate(self) -> bool:
        """Whether ``alpha[s][j] + Gamma[s][j]`` are the weights (H&W II, IV.7, eq. 7.19)."""
        last = self.n_stages - 1
        unit = tuple(Fraction(j == last) for j in range(self.n_stages))
        return self.c_exact[-1] == 1 and self.b_exact == tuple(
            x + y for x, y in zip(self.a_exact[-1], unit, strict=True)
        )

    def _extension(self) -> Interpolant:
        gammas, alphas = self.gamma_matrix_exact, self.alpha_exact
        chain = [
            [x + y for x, y in zip(*rows, strict=True)] for rows in zip(alphas, gammas, strict=True)
        ]
        found = continuous_extension(
            float_rows(alphas), float_rows(matrix(chain)), floats(self.weights_exact), self.order
        )
        # Of increments instead of derivatives: k = Gamma**-1 u, with Gamma**-1 = I/gamma - C.
        inverted = [
            [(1.0 / self.gamma if i == j else 0.0) - x for j, x in enumerate(row)]
            for i, row in enumerate(self.C)
        ]
        powers = range(found.degree)
        weights = [
            tuple(
                sum(
                    row[power] * entries[j]
                    for row, entries in zip(found.weights, inverted, strict=True)
                )
                for power in powers
            )
            for j in range(self.n_stages)
        ]
        return Interpolant(tuple(weights), found.order)

    def without_error_estimate(self) -> Self:
        """Return the method for fixed steps, without the stages that only the estimate reads."""
        fixed = super().without_error_estimate()
        read = [i for i, b in enumerate(self.b_exact) if b]
        if self.interpolant_exact is not None or read[-1] == self.n_stages - 1:
            return fixed
        s = read[-1] + 1
        return evolve(
            fixed,
            a=[row[:s] for row in self.a_exact[:s]],
            C=[row[:s] for row in self.C_exact[:s]],
            **{name: getattr(self, f"{name}_exact")[:s] for name in ("b", "c", "d")},
        )

    def stability_function(self, z: complex) -> complex:
        """Return the growth factor R(z) of the solution on y' = lambda*y, with z = h*lambda."""
        increments: list[complex] = []
        for a, coupling in zip(self.a, self.C, strict=True):
            value = 1 + sum(x * u for x, u in zip(a, increments, strict=False))
            coupled = sum(x * u for x, u in zip(coupling, increments, strict=False))
            increments.append((z * value + coupled) / (1 / self.gamma - z))
        return 1 + sum(b * u for b, u in zip(self.b, increments, strict=True))

    def _check_structure(self) -> None:
        if self.gamma_exact <= 0:
            self._fail("Rosenbrock", f"gamma = {self.gamma:g} must be positive")
        rows = [len(row) for row in self.C_exact]
        if rows != [self.n_stages] * self.n_stages or len(self.d_exact) != self.n_stages:
            self._fail(
                "shape",
                f"b has {self.n_stages} weights, but the rows of C have {rows} and d has "
                f"{len(self.d_exact)}",
            )
        for label, rows in (("a", self.a_exact), ("C", self.C_exact)):
            for i, row in enumerate(rows):
                if any(row[i:]):
                    self._fail("Rosenbrock", f"row {i} of {label} uses stages from {i} on")

    def _check_rows(self) -> None:
        named = (
            ("alpha", self.alpha_exact, "c", self.c_exact),
            ("Gamma", self.gamma_matrix_exact, "d", self.d_exact),
        )
        for label, rows, sums_label, sums in named:
            for i, (row, total) in enumerate(zip(rows, sums, strict=True)):
                where = f"sum of row {i} of {label}, which is {sums_label}[{i}],"
                self._require_zero(row, total, "row sums", where)

    def _check_weights(self) -> None:
        """Check the conditions of the trees whose leaves all hang from the root."""
        weights, alpha = self.weights_exact, self.c_exact
        self._require_zero(weights, 1, "quadrature", "sum of the weights w of k")
        if self.order >= 2:
            beta = tuple(x + y for x, y in zip(alpha, self.d_exact, strict=True))
            terms = tuple(w * x for w, x in zip(weights, beta, strict=True))
            self._require_zero(terms, Fraction(1, 2), "quadrature", "sum of w*(c + d)")
        for q in range(3, self.order + 1):
            terms = tuple(w * x ** (q - 1) for w, x in zip(weights, alpha, strict=True))
            self._require_zero(terms, Fraction(1, q), "quadrature", f"sum of w*c**{q - 1}")

    def _check_error_sum(self) -> None:
        assert self.error_weights_exact is not None
        weights = product((self.error_weights_exact,), self.gamma_matrix_exact)[0]
        self._require_zero(weights, 0, "error estimate", "sum of the error weights of k")
