"""What a run evaluates, from what its kernel counts."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from cubie.algorithms import StepAlgorithm


@frozen
class Work:
    """What each step and iteration of a method evaluates, beyond what the kernel counts."""

    rhs_at_start: int
    rhs_per_step: int
    rhs_per_iteration: int
    rhs_per_reading: int
    jacobians_per_step: int
    factorizations_per_step: int
    stiff: tuple[int, int, int] | None = None  # the last but one of these, of stiff steps

    @classmethod
    def of(cls, algorithm: StepAlgorithm, rhs_for_first_step: int) -> Work:
        """Read it off an algorithm; `rhs_for_first_step` finds the size of the first step."""
        stiff = (
            algorithm.rhs_per_stiff_step,
            algorithm.jacobians_per_stiff_step,
            algorithm.factorizations_per_stiff_step,
        )
        return cls(
            algorithm.rhs_per_start + rhs_for_first_step,
            algorithm.rhs_per_step,
            algorithm.rhs_per_iteration,
            algorithm.rhs_per_reading,
            algorithm.jacobians_per_step,
            algorithm.factorizations_per_step,
            None if None in stiff else stiff,  # pyright: ignore[reportArgumentType]
        )

    @property
    def implicit(self) -> bool:
        """Whether any step solves equations."""
        return self.stiff is not None or self.jacobians_per_step + self.factorizations_per_step > 0

    def of_steps(self, number: int, attempts: Any, n_stiff: Any) -> Any:
        """Return what all steps evaluate: the right-hand side, its Jacobian, or factors."""
        each = (self.rhs_per_step, self.jacobians_per_step, self.factorizations_per_step)[number]
        if self.stiff is None:
            return attempts * each
        return (attempts - n_stiff) * each + n_stiff * self.stiff[number]
