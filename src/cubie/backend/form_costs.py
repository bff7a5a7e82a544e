"""What the forms of a factorisation cost on a target: what chooses among them goes by these.

A form is straight-line text, loops over tables of integers, or loops over a whole matrix.
"""

from __future__ import annotations

from attrs import field, frozen, validators

Costs = tuple[float, float, float]

_is_positive = validators.gt(0.0)


@frozen
class FormCosts:
    """Costs of a product that is subtracted, an entry of the factors, and a pivot, by form.

    Attributes
    ----------
    text, tables, dense : (float, float, float)
        To run; only ratios decide.
    unit : str
        What they are counted in.
    per : float
        Of them, how many are one of the unit.
    operation : float
        Seconds of a processor to compile a product or an entry of text.
    loops : float
        Seconds to compile the loops of a block.
    most_seconds : float
        That text may take: more makes a first call too long.
    """

    text: Costs
    tables: Costs
    dense: Costs
    unit: str
    per: float = field(validator=_is_positive)
    operation: float = field(validator=_is_positive)
    loops: float = field(validator=_is_positive)
    most_seconds: float = field(validator=_is_positive)


# Nanoseconds, fitted to factorisations in double precision on eight lanes (rings, grids, Lorenz-96,
# random and full patterns of 30 to 300 states), which they meet within a fifth, in memory beyond
# the first cache within a half. A first call takes a few seconds with all the rest.
OF_LANES = FormCosts(
    text=(0.7, 1.0, 4.0),
    tables=(1.3, 1.4, 12.0),
    dense=(0.45, 1.0, 12.0),
    unit="us for eight runs",
    per=1000.0,
    operation=1.3e-3,
    loops=0.4,
    most_seconds=2.5,
)

# Instructions of a thread: of a product, read in machine code of Lorenz-96 and full matrices of 20
# and 40 states (`python -m benchmarks lu-forms`); of entries and pivots estimated, and not fitted,
# since steps over tables have upper bounds alone. In text an operation is one or two of them; over
# tables indices are loaded, addresses made of them, and rows of a few entries begun and ended.
# Text is solved with in every stage, and copied there: of a chain of 200 states, 3170 operations,
# Rosenbrock methods compile for a minute with it, and with tables for 17 seconds; a full matrix of
# 20, 2870 operations, takes ten.
OF_THREADS = FormCosts(
    text=(1.5, 2.0, 12.0),
    tables=(11.0, 50.0, 300.0),
    dense=(3.5, 8.0, 300.0),
    unit="instructions of a run",
    per=1.0,
    operation=1.5e-3,
    loops=0.4,
    most_seconds=4.5,
)
