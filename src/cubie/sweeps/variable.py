"""One array of what is kept of a sweep."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from attrs import field, frozen

from cubie.labelled.words import NOT_DONE, STATUS
from cubie.launch.results import Result


@frozen(eq=False)
class Variable:
    """One array of a sweep, with the dimensions of all runs first.

    Attributes
    ----------
    name : str
    dims : tuple of str
        Behind those of the runs.
    sizes : tuple of int
    dtype : dtype
    about : dict
        Attributes, as conventions of climate and forecast data call them.
    read : callable
        ``read(result)``: its values, (n_runs, *sizes).
    """

    name: str
    dims: tuple[str, ...]
    sizes: tuple[int, ...]
    dtype: np.dtype
    about: dict[str, Any] = field(repr=False)
    read: Callable[[Result], np.ndarray] = field(repr=False)

    @property
    def bytes_per_run(self) -> int:
        """How much of it there is of a run."""
        return self.dtype.itemsize * math.prod(self.sizes)

    @property
    def fill(self) -> Any:
        """What it holds of runs that nobody computed yet."""
        if self.name == STATUS:
            return NOT_DONE
        return self.dtype.type(np.nan if self.dtype.kind in "fc" else 0)
