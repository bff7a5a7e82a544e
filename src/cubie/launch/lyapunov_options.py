"""What is solved where Lyapunov exponents are asked for: states, and directions at them."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from cubie.errors import Described, InvalidOption
from cubie.run.summaries.request import NOTHING
from cubie.systems.sensitivities.joint import joint_system
from cubie.systems.system import Input, System


def with_directions(system: System, settings: Any, in_pairs: bool) -> System:
    """Return the system of states, and of as many directions as there are exponents.

    `settings` are those of a solver; `in_pairs`: numbers are complex.

    Raises
    ------
    InvalidOption
        For more exponents than states, and where there are none.
    """
    labelled = (settings.summaries or NOTHING).exponents
    if labelled is None:
        return system
    if system.joint is not None:
        raise _refusal("They are found with directions of their own: solve for them and for "
                       "sensitivities apart.")  # fmt: skip
    if in_pairs:
        raise _refusal("Complex states and arguments have none: write the equations of their real "
                       "and imaginary parts.")  # fmt: skip
    if settings.dense_output:
        raise _refusal("With them there is no dense_output=True: leave it out, or solve apart.")
    if not settings.sensitivity_error_control:
        raise _refusal("With sensitivity_error_control=False nobody looks at errors of directions, "
                       "and exponents cannot be trusted: leave that out.")  # fmt: skip
    count = labelled[1].count(system.n_states)
    try:
        found = joint_system(system, [Input(f"direction {i}", True, i) for i in range(count)])
    except InvalidOption as error:
        raise _refusal("Equations with a singular mass matrix have none here yet: solve them for "
                       "their algebraic states.") from error  # fmt: skip
    assert found.joint is not None
    note = found.note.replace("Its sensitivities are", "Its directions are")
    return evolve(found, note=note, joint=evolve(found.joint, of_directions=True))


def _refusal(advice: str) -> InvalidOption:
    return InvalidOption("summaries", Described("Lyapunov exponents"), advice=advice)
