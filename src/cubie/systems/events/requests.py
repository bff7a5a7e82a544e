"""Traces of events: of the numbers of all, or, where that cannot be, of each by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cubie.systems.from_function import ObservableRequest
from cubie.systems.references.originals import original


def values_of(functions: tuple, conditions: tuple[bool, ...], t: Any, y: Any, *args: Any) -> tuple:
    """Return what all events return; a part of it is the function that is traced."""
    return tuple(function(t, y, *args) for function in functions)


class NotTogether(Exception):
    """Some event cannot be traced: each is asked by itself."""


class AllEvents(ObservableRequest):
    """One trace of the numbers of all events, a part of `values_of`.

    Raises
    ------
    NotTogether
        Also where an earlier process found that out.
    """

    kind = "events"

    def _returned(self) -> Any:
        from cubie.systems.events.returned import EventValues

        return EventValues(self.conditions)

    @property
    def conditions(self) -> tuple[bool, ...]:
        """Which of the events are conditions."""
        fun = self.fun
        while fun.func is not values_of:  # of complex states
            fun = fun.args[0]
        return fun.args[1]

    def _about_outputs(self, returned):
        names = tuple(f"event{i}" for i in range(len(self.conditions)))
        return {"n_outputs": len(names), "output_names": names}

    def _refuse_call(self, called, reason):
        raise NotTogether(reason)

    def _untraced(self, why):
        self._remember(self._integers(), kind="compiled", note=why)
        raise NotTogether(why)

    def _compiled(self, reason):
        raise NotTogether(reason)

    def _title(self):
        return f"Events of {self.n_states} states, {len(self.parameter_names)} parameters."


class OneEvent(ObservableRequest):
    """One trace of an event, or its function as it stands."""

    kind, is_condition = "an event", False
    place = 0  # among the events, for messages

    def _returned(self) -> Any:
        from cubie.systems.events.returned import EventValue

        return EventValue(self.place, self.is_condition)

    def _about_outputs(self, returned):
        return {"n_outputs": 1, "output_names": ("event",)}

    def _untraced(self, why):
        self._remember(self._integers(), kind="compiled", note=why)
        return self._compiled(why)

    def _entries(self, samples) -> Any:
        # A number, or an array or sequence of one, as it was where the function was tried.
        function: Callable = original(self.fun)
        for t, y, _ in samples:
            try:
                with np.errstate(all="ignore"):
                    result = function(np.float64(t), y.copy(), *self.args)
            except Exception:
                continue
            is_flat_array = isinstance(result, np.ndarray) and result.ndim == 0
            return ("[()]" if is_flat_array else "[0]" * np.ndim(result),)
        return ("",)

    def _about_compiled(self):
        return {
            "n_outputs": 1,
            "output_names": ("event",),
            "output": f"the number of events[{self.place}]",
        }

    def _title(self):
        return f"Event of {self.n_states} states, {len(self.parameter_names)} parameters."


class OneCondition(OneEvent):
    """The same of a condition, which may return a truth value."""

    kind, is_condition = "a condition", True
