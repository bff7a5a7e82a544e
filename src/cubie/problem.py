"""What a solver is of: a function or equations, and the systems that they were traced to."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import attrs
import numpy as np

from cubie import checks
from cubie.errors import level_of_caller, shown
from cubie.memory import MAX_REMEMBERED, Setup, structure_of_batch
from cubie.recent import Recent
from cubie.settings import SolverSettings
from cubie.systems import (
    Batch,
    EquationError,
    Pairs,
    System,
    Watched,
    advised,
    derivatives_of,
    fingerprint,
    has_observables,
    in_columns,
    note_on_sparsity,
    observables_of,
    pairs_of,
    read_equations,
    read_jacobian,
    trace,
    uncalled,
    with_jacobian,
    with_mass,
    with_sparsity,
)
from cubie.systems.events.given import read_events
from cubie.systems.events.traced import EventSystems, events_of
from cubie.systems.sensitivities.given import with_jac_p
from cubie.systems.sensitivities.inputs import inputs_of
from cubie.systems.sensitivities.observables import joint_observables
from cubie.systems.system import Joint


class UntracedWarning(UserWarning):
    """A right-hand side, or an event, works, but not as straight-line code."""


class ToleranceWarning(UserWarning):
    """A tolerance is smaller than numbers can resolve."""


class SensitivityWarning(UserWarning):
    """Sensitivities may lack what a jump of the equations contributes."""


NOTE_ON_JUMPS = (
    "The equations take branches, or steps, that states or what is differentiated by decide on. "
    "Sensitivities are of the branch that is taken: where the equations jump there, what the time "
    "of the jump contributes is not in them. Let the branch be a state of its own, of derivative "
    "zero, that an event changes (`cubie.Event` with `apply`): times of events are differentiated."
)


class Systems(NamedTuple):
    """What runs compute."""

    states: System
    observables: System | None
    events: EventSystems | None = None

    def all(self) -> list[System]:
        """Return all that there are."""
        first = [self.states] if self.observables is None else [self.states, self.observables]
        return first + list(self.events or ())


class Problem:
    """A right-hand side, and the systems that it was traced to.

    Parameters
    ----------
    fun : callable, or equations as text or in SymPy

    Attributes
    ----------
    watched : Watched
        The content of the function.
    """

    def __init__(self, fun: Callable):
        if hasattr(fun, "equations_of"):
            raise TypeError(
                "A solver is of equations, and this is a model of a file: give "
                "`model.equations_of('k1', ...)`, with the constants that runs vary, or use "
                "`solve_ivp`, which takes models."
            )
        self.equations = read_equations(fun)
        self.fun = fun if self.equations is None else self.equations.function
        self.watched = Watched(self.fun)
        self._systems: Recent[Any] = Recent(MAX_REMEMBERED)

    def __getstate__(self) -> Any:
        """Return what it was made of."""
        return self.fun if self.equations is None else None, self.equations

    def __setstate__(self, state: Any) -> None:
        fun, self.equations = state
        self.fun = fun if self.equations is None else self.equations.function
        self.watched = Watched(self.fun)
        self._systems = Recent(MAX_REMEMBERED)

    def by_position(self, y0: Any, args: Any) -> tuple[Any, Any]:
        """Return `y0` and `args`, which of equations may be mappings by name."""
        if self.equations is not None:
            y0, args = self.equations.initial_state(y0), self.equations.arguments(args)
        return y0, () if args is None else args

    def in_pairs(self, y0: Any, args: Any) -> tuple[Any, Any, Pairs | None]:
        """Return what `by_position` does as real numbers, and which of them were complex."""
        pairs = pairs_of(y0, args)
        if pairs is None:
            return y0, args, None
        if self.equations is not None:
            raise EquationError(
                "y0 or args hold complex numbers, and equations given as text are of real ones: "
                "give a function, or real and imaginary parts as two states."
            )
        return *pairs.split(y0, args), pairs

    def systems(self, settings: SolverSettings, batch: Batch, pairs: Pairs | None) -> Systems:
        """Return what runs of a batch compute, as the functions are now."""
        observables = events = None
        states = self._states(settings, batch, pairs)
        states = settings.jointly(states, pairs is not None, settings.on_device)
        if states.joint is not None and states.joint.jumps:
            warnings.warn(NOTE_ON_JUMPS, SensitivityWarning, stacklevel=level_of_caller())
        if has_observables(settings.observables):
            observables = self._observables(settings, batch, pairs)
            if states.joint is not None and not states.joint.of_directions:
                observables = joint_observables(states, observables)
        if read_events(settings.events):
            events = self._events(settings, batch, pairs)
            if states.joint is not None:
                events = settings.events_jointly(states, events)
        return Systems(states, observables, events)

    def _states(self, settings: SolverSettings, batch: Batch, pairs: Pairs | None) -> System:
        """Return the system as it is now, from an earlier solve where nothing in it changed."""
        jac, mass, sparsity = read_jacobian(settings.jac), settings.mass_matrix, settings.sparsity()
        n = batch.y0.shape[0]
        jac_p, named = settings.jac_p, settings.sensitivities
        named = tuple(named or ()) if jac_p is not None and not isinstance(named, str) else named
        given = (jac, mass, sparsity, *(() if jac_p is None else (jac_p, named)))
        of_given = "" if all(one is None for one in given) else fingerprint(*given)
        parts = (self.watched.current(), structure_of_batch(batch), of_given)
        key = None if None in parts else (n, *parts, settings.vectorized, pairs)
        known = None if key is None else self._systems.get(key)
        if known is not None:
            return known
        names = self._names(n, pairs)
        if names is not None and len(names) != n:
            raise EquationError(
                f"y0 has {n} states, but the equations have {len(names)}: {', '.join(names)}."
            )
        fun, watched = self.fun, self.watched
        if settings.vectorized:
            fun, watched = in_columns(fun), None
        if pairs is not None:
            fun, watched = pairs.of_states(fun, n), None
            mass, sparsity = pairs.mass_matrix(mass, n), None
        system = advised(batch, trace, fun, n, batch.args, names=names, watched=watched)
        of_jac = (jac, batch.args, batch.constants, sparsity, n_given(n, pairs))
        system = with_jacobian(system, *of_jac)
        if jac_p is not None:
            inputs = inputs_of(named, system) if named else ()
            system = with_jac_p(system, jac_p, inputs, batch.args, batch.constants)
        system = with_sparsity(with_mass(system, mass), sparsity)
        _warn_of_untraced(system)
        return system if key is None else self._systems.put(key, system)

    def _names(self, n: int, pairs: Pairs | None) -> tuple[str, ...] | None:
        if pairs is not None and pairs.states:
            return pairs.part_names(n)
        return None if self.equations is None else self.equations.states

    def _observables(self, settings: SolverSettings, batch: Batch, pairs: Pairs | None) -> System:
        """Return the observables as they are now, as `_states` does."""
        given, n = settings.observables, batch.y0.shape[0]
        parts = (fingerprint(self.equations, given), structure_of_batch(batch))
        key = None if None in parts else ("observables", n, *parts, pairs)
        known = None if key is None else self._systems.get(key)
        if known is not None:
            return known
        names, of = self._names(n, pairs), None if pairs is None else pairs.of_observables
        equations = self.equations
        made = advised(batch, observables_of, given, equations, n, batch.args, names, of=of)
        return made if key is None else self._systems.put(key, made)

    def _events(self, settings: SolverSettings, batch: Batch, pairs: Pairs | None) -> EventSystems:
        """Return the events as they are now, as `_states` does."""
        given, n = settings.events, batch.y0.shape[0]
        parts = (fingerprint(self.equations, given), structure_of_batch(batch))
        key = None if None in parts else ("events", n, *parts, pairs)
        known = None if key is None else self._systems.get(key)
        if known is not None:
            return known
        names, equations = self._names(n, pairs), self.equations
        made = advised(batch, events_of, given, equations, n, batch.args, names, pairs=pairs)
        _warn_of_untraced(*made)
        return made if key is None else self._systems.put(key, made)

    def notes(
        self,
        systems: Systems,
        settings: SolverSettings,
        batch: Batch,
        pairs: Pairs | None,
        dtype: np.dtype,
        unseen: str,
    ) -> tuple[str, ...]:
        """Return what users are told of the systems: how they are computed, what is not used.

        `unseen` says of the settings what could not be looked at.
        """
        system, explicit = systems.states, not settings.method.implicit
        of_jac, of_zeros, sparsity = system.jacobian_note, "", settings.sparsity()
        if explicit:
            joint = system.joint
            is_used = joint is not None and joint.rates is not None and joint.base.jacobian_rows
            given = "jac" if settings.jac is not None and not is_used else ""
            given = " and ".join(
                f"`{one}`" for one in (given, getattr(sparsity, "option", "")) if one
            )
            verb = "are" if "and" in given else "is"
            why = f"not used: `{settings.method.name}` is explicit."
            of_jac = f"{given} {verb} {why}" if given else of_jac
        else:
            alone = system if system.joint is None else system.joint.base
            n = n_given(alone.n_states, pairs)
            pattern = lambda: derivatives_of(alone).pattern  # noqa: E731
            of_zeros = note_on_sparsity(sparsity, alone, n, pattern)
        unseen = self.watched.unseen or unseen
        note = f"Nothing is remembered from one solve to the next, because {unseen}."
        of_rtol = checks.note_on_rtol(settings.rtol, dtype)
        if of_rtol:
            warnings.warn(of_rtol, ToleranceWarning, stacklevel=level_of_caller())
        there = systems.all()
        names = None if self.equations is None else self.equations.parameters
        joint = systems.states.joint
        notes = [NOTE_ON_JUMPS] if joint is not None and joint.jumps else []
        notes += [one.note for one in there] + [
            of_rtol,
            of_jac,
            system.parameter_note,
            of_zeros,
            *uncalled(there, batch, names),
        ]
        notes += [*batch.notes, note if unseen else ""]
        return tuple(filter(None, notes))


def _warn_of_untraced(*systems: System) -> None:
    for system in systems:
        if system.kind == "compiled":
            warnings.warn(system.note, UntracedWarning, stacklevel=level_of_caller())


def tolerances_of(
    settings: SolverSettings, n_states: int, dtype: np.dtype, pairs: Pairs | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return rtol and atol, one each or one for each state; of complex states for both parts.

    Where runs have their own, with a row for each.
    """
    n = n_given(n_states, pairs)
    given = checks.tolerances(settings.rtol, settings.atol, n, dtype)
    rtol, atol = (one.repeat(n_states // n, axis=-1) if one.shape[-1] > 1 else one for one in given)
    return rtol, atol


def tolerances_with(joint: Joint | None, tolerances: np.ndarray) -> np.ndarray:
    """Return the tolerances of states for their sensitivities as well."""
    if joint is None or tolerances.shape[-1] == 1:
        return tolerances
    return np.concatenate([tolerances] * joint.n_blocks, axis=-1)


def n_given(n_states: int, pairs: Pairs | None) -> int:
    """Return how many states there are as the user counts them: of complex ones half."""
    return n_states // 2 if pairs is not None and pairs.states else n_states


def described(problem: Problem, setup: Setup) -> str:
    """Return what `repr` of a solver shows: the function, the method, and what was chosen."""
    fun, settings, usual = problem.fun, setup.settings, SolverSettings()
    if problem.equations is not None:
        what = f"equations of {', '.join(problem.equations.states)}"
    else:
        what = getattr(fun, "__qualname__", None) or type(fun).__qualname__
    chosen = {
        setting.name: value
        for setting in attrs.fields(SolverSettings)
        if (value := getattr(settings, setting.name)) is not getattr(usual, setting.name)
        and setting.name != "method"
    }
    given = "".join(
        f", {name}={shown(value)}" for name, value in (chosen | dict(setup.options)).items()
    )
    return f"Solver({what}, method={settings.method.name!r}{given})"
