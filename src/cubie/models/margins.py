"""Truth values as numbers that are above zero where they hold, and below where they do not."""

from __future__ import annotations

from cubie.models.formulas import Apply, Formula, apply, is_truth

LEAST = 1e-30  # how far from zero a number is at least, in single precision too


def margin_of(truth: Formula) -> Formula:
    """Return a number that is above zero where a formula is true, and below zero where it is not.

    Where numbers are compared it goes through zero as their difference does, and has the sign of
    the truth value at equality, so that roots of it are found fast and told exactly.
    """
    if not isinstance(truth, Apply):
        return apply("piecewise", 1.0, apply("neq", truth, 0.0), -1.0)
    function, arguments = truth.function, truth.arguments
    if not is_truth(truth):
        return apply("piecewise", 1.0, apply("neq", truth, 0.0), -1.0)
    if function == "not":
        return apply("negative", margin_of(arguments[0]))
    if function in ("and", "or"):
        margins = tuple(map(margin_of, arguments))
        if len(margins) < 2:
            return margins[0] if margins else (1.0 if function == "and" else -1.0)
        return Apply("min" if function == "and" else "max", margins)
    if function == "piecewise":
        *pairs, otherwise = arguments
        chosen = [margin_of(one) if i % 2 == 0 else one for i, one in enumerate(pairs)]
        return Apply("piecewise", (*chosen, margin_of(otherwise)))
    if any(map(is_truth, arguments)):
        return apply("piecewise", 1.0, truth, -1.0)
    apart = apply("plus", apply("abs", apply("minus", *arguments)), LEAST)
    if function in ("eq", "neq"):
        equal = apply("piecewise", 1.0, apply("eq", *arguments), apply("negative", apart))
        return equal if function == "eq" else apply("negative", equal)
    return apply("piecewise", apart, truth, apply("negative", apart))
