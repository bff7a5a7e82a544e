"""Explicit Runge-Kutta methods made for 2N storage (`cubie.tableaus.two_registers`).

Their authors give no error estimate. Those here are of solutions one order lower on the same
stages, with no weight on some of them, so that there is one such solution alone. Of the method with
five stages no such estimate is safe: it is zero at z = -19.55, where steps are far from stable, and
a run that is stiff goes astray unseen. With the derivative at the end of the step there is one
that grows as the step does (`tests/cubie/test_error_estimates.py`).
"""

from fractions import Fraction

from cubie.tableaus.exact import Matrix, Vector, difference, lower, solve, vector
from cubie.tableaus.kinds import ERKTableau
from cubie.tableaus.method import Stability
from cubie.tableaus.two_registers import butcher_form


def _lower_order(a: Matrix, order: int, unweighted: tuple[int, ...]) -> Vector:
    """Return the weights of the solution of order 2 or 3, zero on some stages (HNW II.2)."""
    c = tuple(sum(row) for row in a)
    conditions = [((1,) * len(a), "1"), (c, "1/2")]
    if order == 3:
        in_turn = [sum(x * y for x, y in zip(row, c, strict=True)) for row in a]
        conditions += [([x * x for x in c], "1/3"), (in_turn, "1/6")]
    weighed = [i for i in range(len(a)) if i not in unweighted]
    rows = tuple(vector([row[i] for i in weighed]) for row, _ in conditions)
    found = solve(rows, tuple(vector([value]) for _, value in conditions))
    weights = dict(zip(weighed, (row[0] for row in found), strict=True))
    return vector([weights.get(i, 0) for i in range(len(a))])


_WILLIAMSON_A, _WILLIAMSON_B = butcher_form(vector("0 -5/9 -153/128"), vector("1/3 15/16 8/15"))

WILLIAMSON32 = ERKTableau(
    name="williamson32",
    a=_WILLIAMSON_A,
    b=_WILLIAMSON_B,
    c="0 1/3 3/4",
    order=3,
    error_weights=difference(_WILLIAMSON_B, _lower_order(_WILLIAMSON_A, 2, (0,))),
    error_order=2,
    stability=Stability.CONDITIONAL,
    source=(
        "Williamson, J. Comput. Phys. 35 (1980), 48-56, table 1, case 7; the estimate is of the "
        "solution of order two without the first stage"
    ),
)

_FIVE_A, _FIVE_B = butcher_form(
    vector(
        """0 -567301805773/1357537059087 -2404267990393/2016746695238
        -3550918686646/2091501179385 -1275806237668/842570457699"""
    ),
    vector(
        """1432997174477/9575080441755 5161836677717/13612068292357
        1720146321549/2090206949498 3134564353537/4481467310338 2277821191437/14882151754819"""
    ),
)
# The derivative at the end of the step, for the estimate, and for the next step where it is kept.
_CARPENTER_A = lower([*_FIVE_A, _FIVE_B])
_CARPENTER_B = (*_FIVE_B, Fraction(0))

CARPENTER_KENNEDY43 = ERKTableau(
    name="carpenter_kennedy43",
    a=_CARPENTER_A,
    b=_CARPENTER_B,
    c=[*(sum(row) for row in _FIVE_A), 1],
    order=4,
    error_weights=difference(_CARPENTER_B, _lower_order(_CARPENTER_A, 3, (2, 4))),
    error_order=3,
    stability=Stability.CONDITIONAL,
    source=(
        "Carpenter & Kennedy, NASA TM 109112 (1994), solution 3; the estimate is of the solution "
        "of order three without the third and the fifth stage"
    ),
)

LOW_STORAGE = (WILLIAMSON32, CARPENTER_KENNEDY43)
