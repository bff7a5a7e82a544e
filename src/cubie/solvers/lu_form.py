"""In which form a factorisation is compiled: chosen by estimates of run and compile time.

Straight-line text is the fastest, and takes a compiler milliseconds an operation; loops over
tables do the same operations at a constant size of code; dense loops need no tables, and pay for
every zero. The estimates are fitted to factorisations in double precision on eight lanes (rings,
grids, Lorenz-96, random and full patterns of 30 to 300 states), which they meet within a fifth,
in memory beyond the first cache within a half. Only their ratios decide.
"""

from __future__ import annotations

from attrs import field, frozen

from cubie.errors import InvalidOption
from cubie.solvers.contract import Blocks
from cubie.solvers.elimination import Elimination

STRAIGHT_LINE, TABLES, DENSE = "straight_line", "tables", "dense"
FORMS = (STRAIGHT_LINE, TABLES, DENSE)

# Nanoseconds for a product, an entry of the factors, and a pivot.
RUN_COSTS = {
    STRAIGHT_LINE: (0.7, 1.0, 4.0),
    TABLES: (1.3, 1.4, 12.0),
    DENSE: (0.45, 1.0, 12.0),
}
# Seconds of a CPU: for a product or an entry of straight-line text, and for the loops of a block.
COMPILE_OPERATION, COMPILE_LOOPS = 1.3e-3, 0.4
# Text is compiled once, and cached; the first call should take a few seconds with all the rest.
MOST_COMPILE_SECONDS = 2.5
# Operations on real numbers that one on complex ones takes, about.
COMPLEX = 3


@frozen
class Estimate:
    """What a form is expected to take.

    Attributes
    ----------
    run : float
        Microseconds of a factorisation of eight runs.
    compilation : float
        Seconds.
    n_entries : int
        Elements of the factors, of all blocks.
    """

    run: float
    compilation: float
    n_entries: int

    def __str__(self) -> str:
        return (
            f"{self.run:.3g} us for eight runs, {self.compilation:.2g} s to compile, "
            f"{self.n_entries} elements a run"
        )


@frozen
class FormChoice:
    """The form that is taken, and what each that is possible would take.

    Attributes
    ----------
    form : str
    pinned : bool
        It was asked for by `lu_form`.
    estimates : dict of str to Estimate
    n_states, n_entries, n_products : int
        Of one block: entries of its factors, and products that its factorisation subtracts.
    """

    form: str
    pinned: bool
    estimates: dict[str, Estimate] = field(repr=False)
    n_states: int
    n_entries: int
    n_products: int

    def __str__(self) -> str:
        by = "by lu_form" if self.pinned else "by estimate"
        lines = [
            f"LU factors of {self.n_states} states: {self.n_entries} entries, "
            f"{self.n_products} products; {self.form}, chosen {by}"
        ]
        lines += [f"  {form}: {estimate}" for form, estimate in self.estimates.items()]
        return "\n".join(lines)


def choose_form(elimination: Elimination, blocks: Blocks, asked: str) -> FormChoice:
    """Choose the form of a factorisation.

    Parameters
    ----------
    elimination : Elimination
    blocks : Blocks
    asked : str
        "auto", or the form to take.

    Raises
    ------
    InvalidOption
        If dense factors are asked for where pivots cannot lie on the diagonal.
    """
    estimates = {form: _estimate(form, elimination, blocks) for form in FORMS}
    if not elimination.in_place:
        del estimates[DENSE]
    if asked == DENSE and DENSE not in estimates:
        raise InvalidOption(
            "lu_form", asked, tuple(estimates), "The matrix has a zero where a pivot would be."
        )
    n, n_products = elimination.n, elimination.n_products
    form = _best(estimates) if asked == "auto" else asked
    return FormChoice(form, asked != "auto", estimates, n, elimination.n_slots, n_products)


def _best(estimates: dict[str, Estimate]) -> str:
    """Return the fastest form of those that compile in time; loops always do."""
    if estimates[STRAIGHT_LINE].compilation <= MOST_COMPILE_SECONDS:
        return STRAIGHT_LINE
    loops = [form for form in estimates if form != STRAIGHT_LINE]
    return min(loops, key=lambda form: estimates[form].run)


def _estimate(form: str, elimination: Elimination, blocks: Blocks) -> Estimate:
    n, n_products, n_entries = elimination.n, elimination.n_products, elimination.n_slots
    if form == DENSE:
        n_products, n_entries = n * (n - 1) * (2 * n - 1) // 6, n * n
    per_product, per_entry, per_pivot = RUN_COSTS[form]
    weight = sum(COMPLEX if value.imag else 1 for value in blocks.eigenvalues)
    parts = sum(2 if value.imag else 1 for value in blocks.eigenvalues)
    run = weight * (per_product * n_products + per_entry * n_entries + per_pivot * n)
    if form == STRAIGHT_LINE:
        compilation = weight * COMPILE_OPERATION * (n_products + n_entries)
    else:
        compilation = weight * COMPILE_LOOPS
    return Estimate(run / 1000.0, compilation, parts * n_entries)
