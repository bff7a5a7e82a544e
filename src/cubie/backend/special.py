"""Special functions of one plain number, with the values of the C library: never an error."""

import math

import numpy as np


def gamma(x):
    """Return the gamma function: NaN at negative whole numbers, infinite at zero."""
    try:
        with np.errstate(over="ignore"):
            return type(x)(math.gamma(x))
    except OverflowError:
        return type(x)(math.inf)
    except ValueError:
        return type(x)(math.copysign(math.inf, x) if x == 0.0 else math.nan)


def lgamma(x):
    """Return the logarithm of the absolute value of the gamma function: infinite at its poles."""
    try:
        with np.errstate(over="ignore"):
            return type(x)(math.lgamma(x))
    except (OverflowError, ValueError):
        return type(x)(math.inf)


def erf(x):
    """Return the error function."""
    return type(x)(math.erf(x))


def erfc(x):
    """Return one minus the error function, exact where that is small."""
    return type(x)(math.erfc(x))


SPECIAL = {"gamma": gamma, "lgamma": lgamma, "erf": erf, "erfc": erfc}
