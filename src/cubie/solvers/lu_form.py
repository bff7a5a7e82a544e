"""In which form a factorisation is compiled: chosen by estimates of run and compile time.

Straight-line text is the fastest, and takes a compiler milliseconds an operation; loops over
tables do the same operations at a constant size of code; dense loops need no tables, and pay for
every zero. Where the last pivots have nearly full rows and columns, as those of networks and planes
have, loops over tables end with a dense matrix. What each costs depends on the target, which hands
down its `FormCosts`. Only their ratios decide.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from attrs import asdict, field, frozen, validators

from cubie.backend import OF_LANES, FormCosts
from cubie.errors import InvalidOption
from cubie.solvers.contract import Blocks
from cubie.solvers.elimination import Elimination

STRAIGHT_LINE, TABLES, DENSE = "straight_line", "tables", "dense"
FORMS = (STRAIGHT_LINE, TABLES, DENSE)

# Operations on real numbers that one on complex ones takes, about.
COMPLEX = 3
# Of a factorisation's time, what a dense matrix at the end must save.
LEAST_SAVED = 0.1


def _figures(value: float) -> str:
    """Return three figures, and never a power of ten."""
    return f"{value:.3g}" if value < 999.5 else f"{value:,.0f}"


_is_real, _is_count = validators.instance_of(float), validators.instance_of(int)


@frozen
class Estimate:
    """What a form is expected to take.

    Attributes
    ----------
    run : float
        Of a factorisation, in units of the target.
    compilation : float
        Seconds.
    n_entries : int
        Elements of the factors, of all blocks.
    unit : str
    """

    run: float = field(validator=_is_real)
    compilation: float = field(validator=_is_real)
    n_entries: int = field(validator=_is_count)
    unit: str = field(validator=validators.instance_of(str))

    def __str__(self) -> str:
        return (
            f"{_figures(self.run)} {self.unit}, {self.compilation:.2g} s to compile, "
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
    n_tail : int
        Pivots at the end of tables that are a dense matrix.
    """

    form: str = field(validator=validators.in_(FORMS))
    pinned: bool = field(validator=validators.instance_of(bool))
    estimates: dict[str, Estimate] = field(repr=False)
    n_states: int = field(validator=_is_count)
    n_entries: int = field(validator=_is_count)
    n_products: int = field(validator=_is_count)
    n_tail: int = field(default=0, validator=_is_count)

    def __str__(self) -> str:
        by = "by lu_form" if self.pinned else "by estimate"
        lines = [
            f"LU factors of {self.n_states} states: {self.n_entries} entries, "
            f"{self.n_products} products; {self.form}, chosen {by}"
        ]
        dense_end = f", the last {self.n_tail} pivots dense" if self.n_tail else ""
        lines += [
            f"  {form}: {estimate}{dense_end if form == TABLES else ''}"
            for form, estimate in self.estimates.items()
        ]
        return "\n".join(lines)


def written_choice(choice: FormChoice) -> dict[str, Any]:
    """Return a choice as numbers and texts, for `read_choice`."""
    return {"choice": asdict(choice)}


def read_choice(entry: Mapping[str, Any] | None) -> FormChoice | None:
    """Return the choice of what `written_choice` gave; None for anything else."""
    try:
        found = dict(entry["choice"])  # type: ignore[index]  (None is a TypeError as well)
        estimates = {form: Estimate(**each) for form, each in found.pop("estimates").items()}
        return FormChoice(estimates=estimates, **found)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def choose_form(
    elimination: Elimination, blocks: Blocks, asked: str, costs: FormCosts = OF_LANES
) -> FormChoice:
    """Choose the form of a factorisation.

    Parameters
    ----------
    elimination : Elimination
    blocks : Blocks
    asked : str
        "auto", or the form to take.
    costs : FormCosts
        Of the target.

    Raises
    ------
    InvalidOption
        If dense factors are asked for where pivots cannot lie on the diagonal.
    """
    n_tail = _dense_end(elimination, costs)
    estimates = {form: _estimate(form, elimination, blocks, n_tail, costs) for form in FORMS}
    if not elimination.in_place:
        del estimates[DENSE]
    if asked == DENSE and DENSE not in estimates:
        raise InvalidOption(
            "lu_form", asked, tuple(estimates), "The matrix has a zero where a pivot would be."
        )
    n, n_products = elimination.n, elimination.n_products
    form = _best(estimates, costs) if asked == "auto" else asked
    n_slots, pinned = elimination.n_slots, asked != "auto"
    return FormChoice(form, pinned, estimates, n, n_slots, n_products, n_tail)


def _dense_products(n):
    return n * (n - 1) * (2 * n - 1) // 6


def _dense_end(elimination: Elimination, costs: FormCosts) -> int:
    """Return how many pivots at the end are better a dense matrix."""
    n = np.arange(elimination.n, -1, -1)  # pivots that are left
    before = np.concatenate([[0], np.cumsum(elimination.products_of)])
    products = costs.tables[0] * before + costs.dense[0] * _dense_products(n)
    first = int(np.argmin(products))
    entries = costs.tables[1] * elimination.n_slots
    least = LEAST_SAVED * (products[-1] + entries)
    return elimination.n - first if products[-1] - products[first] > least else 0


def _best(estimates: dict[str, Estimate], costs: FormCosts) -> str:
    """Return the fastest form of those that compile in time; loops always do."""
    if estimates[STRAIGHT_LINE].compilation <= costs.most_seconds:
        return STRAIGHT_LINE
    loops = [form for form in estimates if form != STRAIGHT_LINE]
    return min(loops, key=lambda form: estimates[form].run)


def _estimate(
    form: str, elimination: Elimination, blocks: Blocks, n_tail: int, costs: FormCosts
) -> Estimate:
    n, n_products, n_entries = elimination.n, elimination.n_products, elimination.n_slots
    by_form = {STRAIGHT_LINE: costs.text, TABLES: costs.tables, DENSE: costs.dense}
    per_product, per_entry, per_pivot = by_form[form]
    in_tail = 0
    if form == DENSE:
        n_products, n_entries = _dense_products(n), n * n
    elif form == TABLES and n_tail:
        n_products = sum(elimination.products_of[: n - n_tail])
        in_tail, n_entries = _dense_products(n_tail), elimination.n_slots_with_tail(n_tail)
    weight = sum(COMPLEX if value.imag else 1 for value in blocks.eigenvalues)
    parts = sum(2 if value.imag else 1 for value in blocks.eigenvalues)
    products = per_product * n_products + costs.dense[0] * in_tail
    run = weight * (products + per_entry * n_entries + per_pivot * n)
    if form == STRAIGHT_LINE:
        compilation = weight * costs.operation * (n_products + n_entries)
    else:
        compilation = weight * costs.loops
    return Estimate(run / costs.per, compilation, parts * n_entries, costs.unit)
