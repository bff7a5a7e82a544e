"""The keyword arguments of a solve that are about sensitivities, and what they mean."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

from cubie.errors import InvalidOption
from cubie.launch.event_options import EventSettings
from cubie.launch.lyapunov_options import with_directions
from cubie.reals import is_flag
from cubie.systems.events.traced import EventSystems
from cubie.systems.sensitivities.events import joint_events
from cubie.systems.sensitivities.given import check_jac_p
from cubie.systems.sensitivities.inputs import (
    check_sensitivities,
    has_sensitivities,
    inputs_of,
    require_numbers,
)
from cubie.systems.sensitivities.joint import joint_system
from cubie.systems.system import System


@frozen
class SensitivitySettings(EventSettings):
    """What solutions are differentiated by.

    Attributes
    ----------
    sensitivities : str or sequence of str, optional
        See `cubie.systems.sensitivities.inputs.inputs_of`.
    sensitivity_error_control : bool
        Steps are held to the tolerances for sensitivities too, times the size of their input, and
        not for states alone.
    jac_p : callable, optional
        ``jac_p(t, y, *args)``, derivatives by all numbers in `args` of equations that cannot be
        traced; see `cubie.systems.sensitivities.given.with_jac_p`.
    """

    sensitivities: Any = field(default=None, kw_only=True)
    sensitivity_error_control: bool = field(default=True, validator=is_flag, kw_only=True)

    jac_p: Any = field(default=None, kw_only=True)

    @jac_p.validator
    def _check_jac_p(self, attribute: Any, given: Any) -> None:
        check_jac_p(given)

    @sensitivities.validator
    def _check_sensitivities(self, attribute: Any, given: Any) -> None:
        check_sensitivities(given)

    @property
    def has_sensitivities(self) -> bool:
        return has_sensitivities(self.sensitivities)

    def jointly(self, system: System, in_pairs: bool, on_device: bool) -> System:
        """Return the system that is solved: the given one, with sensitivities or with directions.

        `in_pairs`: numbers are complex; `on_device`: results are to stay on a device.

        Raises
        ------
        InvalidOption
            For inputs that there are not, and where sensitivities cannot be had.
        """
        if not self.has_sensitivities:
            return with_directions(system, self, in_pairs)
        if in_pairs:
            self._refuse("Complex states and arguments have none: write the equations of their "
                         "real and imaginary parts.")  # fmt: skip
        if on_device:
            self._refuse("With on_device=True they stay apart: leave that out.")
        inputs = inputs_of(self.sensitivities, system)
        require_numbers(inputs, system, "fun")
        joint = joint_system(system, inputs)
        return with_directions(joint, self, in_pairs)

    def events_jointly(self, states: System, events: EventSystems) -> EventSystems:
        """Return events of a joint system, which change sensitivities as well."""
        rules = self.event_rules()
        assert rules is not None
        return joint_events(states, events, rules)

    def _refuse(self, advice: str) -> None:
        raise InvalidOption("sensitivities", self.sensitivities, advice=advice)


def all_of(chosen: tuple[int, ...] | None, system: System | None) -> tuple[int, ...] | None:
    """Return, for states or observables that are kept, these and their derivatives by inputs.

    Of directions nothing is kept.
    """
    if system is None or system.joint is None:
        return chosen
    n = system.joint.base.n_outputs
    if system.joint.of_directions:
        return tuple(range(n)) if chosen is None else chosen
    if chosen is None:
        return None
    return tuple(n * block + i for block in range(system.joint.n_blocks) for i in chosen)


def alone(system: System) -> System:
    """Return a system without the sensitivities that it may have."""
    return system if system.joint is None else system.joint.base
