"""One vocabulary of outcomes: each with its code, its sentence and its remedy."""

from __future__ import annotations

from enum import IntEnum


class RunStatus(IntEnum):
    """How the integration of one run ended. Negative codes are failures."""

    def __new__(cls, code: int, sentence: str, remedy: str):
        member = int.__new__(cls, code)
        member._value_ = code
        member.sentence = sentence
        member.remedy = remedy
        return member

    sentence: str
    remedy: str

    SUCCESS = (0, "The solver successfully reached the end of the integration interval.", "")
    EVENT = (1, "A termination event occurred.", "")
    STEP_TOO_SMALL = (
        -1,
        "The step size needed for the tolerance fell below the spacing of numbers.",
        "Loosen rtol or atol, use dtype=float64, or check the right-hand side for a singularity; "
        "with a singular mass_matrix check that y0 satisfies the algebraic equations.",
    )
    TOO_MANY_STEPS = (
        -2,
        "The run used max_steps attempted steps before the end of the interval.",
        "Raise max_steps, loosen rtol or atol, or use an implicit method if the system is stiff.",
    )
    NON_FINITE = (
        -3,
        "The solution became infinite or NaN and no smaller step avoided it.",
        "Check the right-hand side and parameters of the run, or reduce first_step or max_step.",
    )
    NEWTON_DIVERGED = (
        -4,
        "The iteration for the equations of an implicit step failed at every step size.",
        "Check the right-hand side for a discontinuity, use linear_solver='lu', or raise "
        "max_newton_iterations (of methods with Newton's iteration) or max_linear_iterations "
        "(of linear solvers other than 'lu').",
    )
    SINGULAR_JACOBIAN = (
        -5,
        "The linear equations of an implicit step were singular at every step size.",
        "Check the Jacobian and the parameters of the run; a mass matrix that is singular needs "
        "equations that determine the states without a derivative, and a y0 that satisfies them.",
    )
    CLOCK_STANDS_STILL = (
        -6,
        "The steps fell below the spacing of numbers at the run's time, which no longer grew.",
        "Raise max_step, loosen rtol or atol, or use dtype=float64.",
    )
    FUNCTION_RAISED = (
        -7,
        "The right-hand side raised an exception, or used an index outside of an array, at every "
        "step size.",
        "Call fun(t, y, *args) in Python at the run's t_reached and last y, and just after, to see "
        "where; extend the table, or clip the index.",
    )
    DRIVER_OUT_OF_RANGE = (
        -9,
        "The right-hand side asked an interpolant for a time outside of its samples, at every step "
        "size.",
        "Give samples for all of t_span, or extend='hold', 'zero' or 'periodic'.",
    )
    INCONSISTENT_AT_BREAK = (
        -10,
        "Behind a break (one of breakpoints, where an input jumps or bends, or the `apply` of an "
        "event) no values were found that satisfy the algebraic equations.",
        "The break is at the run's t_reached: check that the equations have a solution just after "
        "it, near the last y, and determine the states without a derivative there.",
    )
    EVENTS_TOO_CLOSE = (
        -11,
        "An event would happen again at once: its `apply` left the state where the event is, and "
        "the way from there is none, or shorter than times can be told.",
        "At the run's t_reached whatever bounces has come to rest: end runs there (`terminal`, or "
        "another event that looks at the speed), or let `apply` put the state beyond the event.",
    )
    EVENT_RAISED = (
        -12,
        "An event, or its `apply`, raised an exception, or used an index outside of an array.",
        "Call event(t, y, *args) in Python at the run's t_reached and last y, and just after, to "
        "see where.",
    )
    INTERRUPTED = (
        -8,
        "The solve was interrupted before the run ended.",
        "Solve this run again.",
    )

    @property
    def message(self) -> str:
        """The sentence a user reads, with what to do about it."""
        return f"{self.sentence} {self.remedy}".strip()
