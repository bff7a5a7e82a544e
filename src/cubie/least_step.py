"""The smallest step worth attempting at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cubie.backend import Backend, absolute, maximum, shared_function


@shared_function
def build_least_step(backend: Backend) -> Callable:
    """Return ``least(t)``: ten spacings of the numbers there, and more than zero everywhere."""
    info = np.finfo(backend.dtype)
    spacing, smallest = backend.constant(10 * info.eps), backend.constant(info.tiny * 1e3)

    def least(t):
        return maximum(spacing * absolute(t), smallest)

    return backend.device(least)
