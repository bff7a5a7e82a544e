"""The options of a solve that are about events."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

from cubie import checks
from cubie.errors import InvalidOption
from cubie.systems.events.given import Rules, read_events, rules_of, samples_of


@frozen
class EventSettings:
    """Options about events; see `cubie.solve_ivp`."""

    events: Any = field(default=None, kw_only=True)  # as given: attributes may change in place
    event_samples: int = field(default=1, converter=samples_of, kw_only=True)
    max_events: int | None = field(default=None, kw_only=True)

    @events.validator
    def _check_events(self, attribute: Any, given: Any) -> None:
        read_events(given)

    def event_room(self) -> int | None:
        """Return how many of each event are kept of a run at most; None where all are.

        Raises
        ------
        InvalidOption
            For what is about events where there are none.
        """
        there = bool(read_events(self.events))
        for name, usual in (("event_samples", 1), ("max_events", None)):
            given = getattr(self, name)
            if given != usual and not there:
                raise InvalidOption(name, given, advice="It is for `events`, and there are none.")
        given = self.max_events
        return None if given is None else checks.count("max_events", given, least=0)

    def event_rules(self) -> Rules | None:
        """Return what code depends on of events, as they are now; None where there are none."""
        return rules_of(self.events, self.event_samples)

    def ends_at_events(self) -> bool:
        """Tell whether an event may end a run."""
        rules = self.event_rules()
        return rules is not None and rules.ends
