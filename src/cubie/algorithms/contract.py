"""What every step algorithm offers the loop: one contract for all families.

An algorithm is called at three points. Its phases `solution` and
`error_estimate` tell the loop when the proposed state and the error are first
written, so that their bytes are free for the stages before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from attrs import frozen

from cubie.factory import CUDAFactory


@frozen
class StepFunctions:
    """Device functions of a step algorithm. All buffers are those of one run (group).

    Attributes
    ----------
    start : callable
        ``start(shared, persistent, fresh, t, state, parameters)``, before the first
        step of a run: fills what the algorithm keeps from step to step, in the
        lanes of the mask `fresh` only, since others may be in the middle of a run.
    step : callable
        ``step(shared, persistent, t, h, state, parameters, proposed_state, error)``:
        attempts a step of signed size `h`. Reads `state` (n,) and `parameters`
        (m,); writes `proposed_state` (n,) and, where the method has error
        estimates, `error` (n * n_error_estimates,), in units of y.
    commit : callable
        ``commit(shared, persistent, accept)``, after every attempt: keeps or
        drops what the algorithm carries, per lane.
    """

    start: Callable
    step: Callable
    commit: Callable


class StepAlgorithm(CUDAFactory):
    """Base of the algorithm families.

    Attributes
    ----------
    order : int
    error_order : int or None
        The error shrinks as h**(error_order + 1); None without an estimate.
    n_error_estimates : int
        0, 1, or 2 where a second, lower-order estimate damps the first.
    rhs_per_start, rhs_per_step : int
        Evaluations of the right-hand side in `start` and in each `step`.
    """

    name = "algorithm"
    entries: ClassVar[Mapping[str, tuple[str, ...]]]

    order: int
    error_order: int | None
    n_error_estimates: int
    rhs_per_start: int
    rhs_per_step: int
