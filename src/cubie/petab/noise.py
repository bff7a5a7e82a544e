"""Measurements beside simulations: likelihood and residuals, with their slopes."""

from __future__ import annotations

import numpy as np
from attrs import frozen

from cubie.petab.document import Noise, Scale


@frozen(eq=False)
class Terms:
    """What each of n measurements adds, with slopes by what is simulated and by its noise.

    Attributes
    ----------
    likelihood, likelihood_by_value, likelihood_by_noise : ndarray (n,)
        Logarithm of the likelihood.
    residual, residual_by_value, residual_by_noise : ndarray (n,)
        In standard deviations, or scales of Laplace's distribution.
    """

    likelihood: np.ndarray
    likelihood_by_value: np.ndarray
    likelihood_by_noise: np.ndarray
    residual: np.ndarray
    residual_by_value: np.ndarray
    residual_by_noise: np.ndarray


def terms(
    noise: Noise, scale: Scale, measured: np.ndarray, value: np.ndarray, sigma: np.ndarray
) -> Terms:
    """Return the terms of measurements of one observable, (n,) each.

    Noise is added on its scale, and the density is that of the measurement itself.
    """
    with np.errstate(all="ignore"):
        on_scale, slope = {
            Scale.LIN: (lambda x: x, np.ones_like),
            Scale.LOG: (np.log, lambda x: 1.0 / x),
            Scale.LOG10: (np.log10, lambda x: 1.0 / (x * np.log(10.0))),
        }[scale]
        z = (on_scale(value) - on_scale(measured)) / sigma
        by_value, by_noise = slope(value) / sigma, -z / sigma
        density = np.log(slope(measured)) - np.log(sigma)
        if noise is Noise.NORMAL:
            likelihood, slope_of_z = density - 0.5 * np.log(2.0 * np.pi) - 0.5 * z**2, -z
        else:
            likelihood, slope_of_z = density - np.log(2.0) - np.abs(z), -np.sign(z)
        return Terms(
            likelihood, slope_of_z * by_value, slope_of_z * by_noise - 1.0 / sigma,
            z, by_value, by_noise,
        )  # fmt: skip
