"""Which options other choices have: for the message about one that the present choice has not."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import attrs

from cubie.controllers import CONTROLLERS
from cubie.errors import InvalidOption
from cubie.integrator import (
    ALGORITHMS,
    STRUCTURAL_OPTIONS,
    RunSettings,
    check_options,
    options_of,
)
from cubie.solvers import LINEAR_SOLVERS
from cubie.solvers.preconditioners import PRECONDITIONERS
from cubie.tableaus import (
    DIRKTableau,
    ERKTableau,
    FIRKTableau,
    Method,
    MultistepMethod,
    RosenbrockTableau,
    SwitchingMethod,
    get_method,
)

# A method of each family, with an error estimate and so with every controller.
FAMILIES: dict[type[Method], tuple[str, str]] = {
    ERKTableau: ("explicit", "tsit5"),
    DIRKTableau: ("diagonally implicit", "kvaerno5"),
    FIRKTableau: ("fully implicit", "radau_iia_5"),
    RosenbrockTableau: ("Rosenbrock", "rodas5p"),
    MultistepMethod: ("of several steps", "bdf"),
    SwitchingMethod: ("of two methods", "auto"),
}
LOW_STORAGE = "carpenter_kennedy43"


def options_elsewhere(settings: RunSettings, given: Mapping[str, Any]) -> dict[str, str]:
    """Return the options that the settings do not have and others have: name to "with ...".

    The nearest other choice is told: of a preconditioner, a linear solver, a controller, a method;
    of those that have an option the ones that take the value given, if there are some.
    """
    taken = _options_elsewhere(settings, given, given)
    return _options_elsewhere(settings, given, ()) | taken


def _options_elsewhere(
    settings: RunSettings, given: Mapping[str, Any], taken: Collection[str]
) -> dict[str, str]:
    """Return them; those in `taken` with choices only that take their values."""
    known = options_of(settings, given)
    chosen = {name: given[name] for name in STRUCTURAL_OPTIONS if name in given and name in known}
    found: dict[str, str] = {}
    for choices in (
        _observables(settings, chosen),
        _storages(settings, chosen),
        _preconditioners(settings, given),
        _linear_solvers(settings),
        _controllers(settings, chosen),
        _methods(),
        _linear_solvers_of_methods(),
    ):
        new: dict[str, list[str]] = {}
        for words, value, other, options in choices:
            for name in options_of(other, options) - known - set(found):
                if name in taken and not _takes(other, {**options, name: given[name]}):
                    continue
                told = new.setdefault(name, [words])
                if value not in told:
                    told.append(value)
        found |= {name: _told(words, values) for name, (words, *values) in new.items()}
    return found | dict.fromkeys(ARGUMENTS, "that `solve_ivp` and `Solver.solve` take")


def _takes(settings: RunSettings, options: Mapping[str, Any]) -> bool:
    """Tell whether a choice that has an option does not refuse its value."""
    try:
        check_options(settings, options)
    except InvalidOption:
        return False
    return True


Choice = tuple[str, str, RunSettings, Mapping[str, Any]]

# Arguments that are no options: a misspelt one is told so.
ARGUMENTS = ("t_span", "y0", "t_eval", "args")


def _observables(settings: RunSettings, chosen: Mapping[str, Any]) -> Iterator[Choice]:
    yield "with ", "observables=", attrs.evolve(settings, observes=True), chosen


def _storages(settings: RunSettings, chosen: Mapping[str, Any]) -> Iterator[Choice]:
    for name in ("vectors", "low_storage"):
        other = attrs.evolve(settings, stage_storage=name)
        try:
            other.sums_stages()
        except InvalidOption:
            continue  # the method has no such form, or no choice
        yield "with stage_storage=", repr(name), other, chosen


def _preconditioners(settings: RunSettings, given: Mapping[str, Any]) -> Iterator[Choice]:
    if "preconditioner" in options_of(settings, given):
        for name in PRECONDITIONERS:
            other = {"linear_solver": given["linear_solver"], "preconditioner": name}
            yield "with preconditioner=", repr(name), settings, other


def _linear_solvers(settings: RunSettings, words: str = "with linear_solver=") -> Iterator[Choice]:
    if "linear_solver" in options_of(settings):
        for name in LINEAR_SOLVERS:
            yield words, repr(name), settings, {"linear_solver": name}


def _controllers(settings: RunSettings, chosen: Mapping[str, Any]) -> Iterator[Choice]:
    for name in CONTROLLERS:
        other = attrs.evolve(settings, step_controller=name)
        try:
            other.controller_class()
        except InvalidOption:
            continue  # it needs an error estimate, and the method has none
        yield "with step_controller=", repr(name), other, chosen


def _methods() -> Iterator[Choice]:
    for kind in ALGORITHMS:
        family, name = FAMILIES[kind]
        value = f"{name!r} ({family})"
        yield "with methods such as ", value, RunSettings(get_method(name)), {}
    low_storage = RunSettings(get_method(LOW_STORAGE))
    yield "with methods such as ", f"{LOW_STORAGE!r} (of low storage)", low_storage, {}


def _linear_solvers_of_methods() -> Iterator[Choice]:
    for _, _, settings, _ in _methods():
        yield from _linear_solvers(settings, "with implicit methods and linear_solver=")


def _told(words: str, values: Sequence[str]) -> str:
    *others, last = values
    return words + (f"{', '.join(others)} or {last}" if others else last)
