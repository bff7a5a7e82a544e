"""`Model`: what `load_model` returns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from attrs import frozen

from cubie.models.breaks import breaks_of
from cubie.models.courses import course_of
from cubie.models.description import Description
from cubie.models.errors import ModelError
from cubie.models.posing import Posed, called_in, equations_with, start_of, texts_with, y0_of
from cubie.models.sweeping import PosedSweep, differentiable, inputs_named, posed_sweep
from cubie.models.totals import without_totals
from cubie.models.transitions import events_of
from cubie.systems.symbolic.equations import Equations

# Models are stiff as often as not, and have amounts of all sizes. With these every case of the SBML
# test suite that is solved at all is reproduced to its tolerances.
USUAL: Mapping[str, Any] = MappingProxyType({"method": "auto", "rtol": 1e-6, "atol": 1e-12})


@frozen(eq=False, slots=False, repr=False)
class Model:
    """A model of a file, for `solve_ivp` and `sweep`.

    Attributes
    ----------
    description : Description
        What the model says, in no format's words.
    """

    description: Description

    def __attrs_post_init__(self) -> None:
        # What cannot be computed is said when a model is loaded.
        self.description.require_names()
        self.start  # noqa: B018
        self.equations  # noqa: B018

    def __repr__(self) -> str:
        described = self.description
        return (
            f"Model({described.name!r}, {len(self.states)} states, {len(self.parameters)} "
            f"constants, {len(described.formulas)} quantities, {len(described.events)} events)"
        )

    @property
    def name(self) -> str:
        """What the model is called."""
        return self.description.name

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the states, in the order of `y`."""
        return tuple(self.description.rates)

    @cached_property
    def _extended(self) -> Description:
        """The description with the states of its events."""
        return self._machine.model

    @cached_property
    def _machine(self) -> Any:
        return events_of(self.description)

    @cached_property
    def start(self) -> Mapping[str, float]:
        """What each state, constant and quantity is at the start, time zero."""
        start, _ = start_of(self._extended, None, None, 0.0)
        extended = self._extended
        names = (*extended.initial, *extended.formulas)
        return MappingProxyType({name: float(start.value(name)) for name in names})

    @property
    def initial_values(self) -> Mapping[str, float]:
        """What each state begins with."""
        return MappingProxyType({name: self.start[name] for name in self.description.rates})

    @property
    def parameters(self) -> Mapping[str, float]:
        """What each constant is: parameters, sizes of compartments, amounts that stay."""
        return MappingProxyType({name: self.start[name] for name in self._extended.constants})

    def _of_kind(self, kind: str) -> tuple[str, ...]:
        return tuple(name for name, one in self.description.kinds.items() if one == kind)

    @property
    def species(self) -> tuple[str, ...]:
        """Names of all species."""
        return self._of_kind("species")

    @property
    def compartments(self) -> tuple[str, ...]:
        """Names of all compartments."""
        return self._of_kind("compartment")

    @property
    def reactions(self) -> tuple[str, ...]:
        """Names of all reactions; their values are their rates."""
        return self._of_kind("reaction")

    @property
    def events(self) -> tuple[str, ...]:
        """Names of all events."""
        return tuple(event.name for event in self.description.events)

    @property
    def units(self) -> Mapping[str, str]:
        """Units as the model tells them, where it does."""
        return MappingProxyType({n: unit for n, unit in self.description.units.items() if unit})

    @property
    def titles(self) -> Mapping[str, str]:
        """Names for people, where the model has them."""
        return MappingProxyType({n: one for n, one in self.description.titles.items() if one})

    @cached_property
    def _called(self) -> Mapping[str, str]:
        return called_in(self._extended)

    @cached_property
    def equations(self) -> EquationsText:
        """The equations as text for `cubie.systems.equations`, with every constant by name."""
        described = self.description
        rates, quantities = texts_with(described, described.constants, self.start, self._called)
        lines = [f"d{name}/dt = {text}" for name, text in rates.items()]
        return EquationsText("\n".join([*lines, *(f"{n} = {t}" for n, t in quantities.items())]))

    def equations_of(self, *names: str) -> Equations:
        """Return the equations in which these constants are parameters, and others numbers."""
        known = self._posed_equations
        if names not in known:
            known[names] = equations_with(self._extended, names, self.start, self._called)
        return known[names]

    @cached_property
    def _posed_equations(self) -> dict[tuple[str, ...], Equations]:
        return {}

    def without_totals(self) -> Model:
        """Return the model with a state less for each total that its reactions keep.

        That state is a quantity of the others then, by its name as before, and the total a
        constant, ``total_S`` of a state S: fewer equations to solve, and totals to the last bit.
        Where what is left of a total is a small difference of large amounts it is less exact.
        """
        return Model(without_totals(self.description))

    def pose(self, y0: Any = None, args: Any = None, time: Any = 0.0) -> Posed:
        """Return what solvers take: equations, initial states, arguments and events.

        Parameters
        ----------
        y0 : mapping of str to (float or array_like (n_runs,)), or array_like, optional
            What states and species begin with, where that is not what the model says.
        args : mapping of str to (float or array_like (n_runs,)), optional
            Constants that have other values. What the model computes of them at its start follows.
        time : float or array_like (n_runs,)
            When runs start.

        Raises
        ------
        ModelError
        """
        extended = self._extended
        start, free = start_of(extended, y0, args, time)
        names = tuple(name for name in extended.constants if name in free)
        equations = self.equations_of(*names)
        parameters = {name: start.value(name) for name in extended.constants}
        return Posed(
            equations,
            y0_of(extended, start),
            tuple(parameters[name] for name in names),
            self._machine.events(equations, self._called, names, self.start),
            parameters,
            tuple(self._called[name] for name in self.description.rates),
            breaks_of(self.description, start.value) if extended.rates else None,
        )

    def differentiable(
        self, by: Any, y0: Any = None, args: Any = None, time: Any = 0.0
    ) -> tuple[Model, list[str], Any]:
        """Return the model as its solutions can be differentiated, by what, and its arguments.

        Constants that are named are arguments, of their own values where no others are given.

        Parameters
        ----------
        by : str or sequence of str
            What they are differentiated by, as `sensitivities` takes it.
        y0, args, time : object, optional
            As that of `pose`.

        Raises
        ------
        ModelError
            Where what a state begins with follows from these constants.
        """
        names, missing = inputs_named(self.description, self._called, by, args)
        if missing:
            values = self.pose(y0, args, time).parameters
            args = {**(args or {}), **{name: values[name] for name in missing}}
        described = differentiable(self.description, names, y0, args)
        model = self if described is self.description else Model(described)
        return model, [self._called.get(name, name) for name in names], args

    def differentiable_sweep(
        self, by: Any, names: Iterable[str], args: Any = None
    ) -> tuple[list[str], Any]:
        """Return by what runs of a sweep are differentiated, and its arguments.

        Parameters
        ----------
        by : str or sequence of str
            As that of `differentiable`.
        names : iterable of str
            What is swept.
        args : mapping of str to object, optional

        Raises
        ------
        ModelError
            For a constant that follows from what is swept or given.
        """
        own = {called: name for name, called in self._called.items()}
        given = (*names, *(args if isinstance(args, Mapping) else ()))
        varying = [own.get(name, name) for name in given]
        names, missing = inputs_named(
            self.description, self._called, by, dict.fromkeys(varying, 0.0)
        )
        follow = self.description.follow_from(varying)
        for name in missing:
            if name in follow:
                raise ModelError(
                    f"sensitivities has `{name}`, which follows from what differs between the runs "
                    "of this sweep: give its value in args, or sweep it."
                )
        if missing:
            args = {**(args or {}), **{name: self.parameters[name] for name in missing}}
        return [self._called.get(name, name) for name in names], args

    def pose_sweep(self, names: Iterable[str], y0: Any = None, args: Any = None) -> PosedSweep:
        """Return what `sweep` takes, where constants and states of these names are swept.

        Parameters
        ----------
        y0, args : mapping of str to object, optional
            Values of others.

        Raises
        ------
        ModelError
        """
        return posed_sweep(self.description, names, y0, args)

    def values(self, result: Any, id: str, kind: str | None = None) -> np.ndarray:
        """Return the course of a species, compartment, parameter or reaction in a result.

        Parameters
        ----------
        result : Result
            Of `solve_ivp` with this model.
        id : str
        kind : {"amount", "concentration"}, optional
            What of a species; by default what its name means in formulas of the model. What is no
            species has one value, whatever is asked for.

        Returns
        -------
        ndarray (n_points,) or (n_runs, n_points)
            As a row of `result.y`.

        Raises
        ------
        ModelError
        """
        return course_of(self.description, self._called, result, id, kind)

    def __getstate__(self) -> Any:
        return self.description

    def __setstate__(self, state: Any) -> None:
        object.__setattr__(self, "description", state)


class EquationsText(str):
    """Text of equations, that shows as it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)
