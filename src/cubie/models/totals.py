"""Totals that reactions keep, and a model in which a state of each follows from the others.

What reactions do to amounts is a matrix of numbers, the stoichiometry: amounts whose rows cancel,
with weights, have a total that stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from attrs import evolve, frozen

from cubie.models.description import Description, View
from cubie.models.formulas import Apply, Formula, Name, apply

Row = dict[str, Fraction]


@frozen
class Total:
    """Amounts, with weights, that add up to what stays.

    Attributes
    ----------
    state : str
        The one that the others tell.
    weights : mapping of str to Fraction
        Of each state's amount; that of `state` is one.
    """

    state: str
    weights: Mapping[str, Fraction]


def totals_of(model: Description) -> tuple[Total, ...]:
    """Return totals that the reactions of a model keep, each with a state of its own.

    States that events set, or that rules determine, are in none.
    """
    set_by_events = {change.state for event in model.events for change in event.changes}
    set_by_events |= {name for event in model.events for name, _ in event.kept}
    rows: dict[str, Row] = {}
    for state, rate in model.rates.items():
        row = _row_of(model, rate)
        if row and state not in set_by_events:
            rows[state] = row
    found, reduced = [], []  # what is left of rows, each with the weights that made it of amounts
    for state, row in rows.items():
        weights: Row = {state: Fraction(1)}
        for pivot, other, others in reduced:
            if pivot in row:
                factor = -row[pivot] / other[pivot]
                row, weights = _added(row, other, factor), _added(weights, others, factor)
        if row:
            reduced.append((next(iter(row)), row, weights))
        else:
            found.append(Total(state, _without_negative(weights, found)))
    return tuple(found)


def _without_negative(weights: Row, totals: list[Total]) -> Row:
    """Return weights to which others were added, as far as fewer are negative then."""
    for other in totals:
        for state, weight in list(weights.items()):
            if weight < 0 and other.weights.get(state, 0) > 0:
                sums = _added(weights, dict(other.weights), -weight / other.weights[state])
                if sum(one < 0 for one in sums.values()) < sum(one < 0 for one in weights.values()):
                    weights = sums
    return weights


def _row_of(model: Description, rate: Formula) -> Row | None:
    """Return how much of each reaction is in the derivative of an amount; None where it is none."""
    _, rate = _taken_apart(model, rate)
    if isinstance(rate, Apply) and rate.function == "times" and len(rate.arguments) == 2:
        first, second = rate.arguments
        if isinstance(first, Name) and first.name in model.constants:
            # A factor of conversion: amounts with different ones have no total.
            inner = _terms(model, second)
            return inner and {f"{first.name} {name}": value for name, value in inner.items()}
    return _terms(model, rate)


def _terms(model: Description, formula: Formula) -> Row | None:
    if isinstance(formula, Name):
        return {formula.name: Fraction(1)} if model.kinds.get(formula.name) == "reaction" else None
    if not isinstance(formula, Apply):
        return None
    if formula.function == "plus":
        found: Row | None = {}
        for term in formula.arguments:
            row = _terms(model, term)
            if row is None or found is None:
                return None
            found = _added(found, row, Fraction(1))
        return found
    if formula.function == "negative":
        return _scaled(_terms(model, formula.arguments[0]), Fraction(-1))
    if formula.function == "times" and len(formula.arguments) == 2:
        number, rest = formula.arguments
        if isinstance(number, float) and number == number and abs(number) != float("inf"):
            return _scaled(_terms(model, rest), Fraction(number))
    return None


def _taken_apart(model: Description, rate: Formula) -> tuple[Formula, Formula]:
    """Return the size that a derivative is of a concentration in, and that of the amount."""
    if isinstance(rate, Apply) and rate.function == "divide":
        above, below = rate.arguments
        if isinstance(below, Name) and below.name in model.constants:
            return below, above
    return 1.0, rate


def _scaled(row: Row | None, factor: Fraction) -> Row | None:
    return None if row is None else {name: factor * value for name, value in row.items()}


def _added(row: Row, other: Row, factor: Fraction) -> Row:
    names = dict.fromkeys((*row, *other))
    sums = {name: row.get(name, 0) + factor * other.get(name, 0) for name in names}
    return {name: Fraction(value) for name, value in sums.items() if value}


def without_totals(model: Description) -> Description:
    """Return a model in which a state of each total is a quantity of the others.

    What they add up to becomes a constant, which follows from what the states begin with.
    """
    rates, formulas, initial = dict(model.rates), dict(model.formulas), dict(model.initial)
    views, kinds = dict(model.views), dict(model.kinds)
    for total in totals_of(model):
        name = f"total_{total.state}"
        while name in initial or name in formulas:
            name += "_"
        sizes = {state: _taken_apart(model, model.rates[state])[0] for state in total.weights}
        own = apply("times", initial.pop(total.state), sizes[total.state])
        others = [
            apply("times", float(weight), apply("times", Name(state), sizes[state]))
            for state, weight in total.weights.items()
            if state != total.state
        ]
        initial[name] = apply("plus", own, *others)
        left = apply("plus", Name(name), *(apply("negative", other) for other in others))
        formulas[total.state] = apply("divide", left, sizes[total.state])
        views[name], kinds[name] = View(Name(name)), "total"
        del rates[total.state]
    return evolve(model, rates=rates, formulas=formulas, initial=initial, views=views, kinds=kinds)
