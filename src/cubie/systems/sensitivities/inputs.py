"""What solutions are differentiated by: parameters and initial states, as users name them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cubie.errors import Described, InvalidOption, nearest
from cubie.systems.system import Input, System

ALL, PARAMETERS, INITIAL = "all", "parameters", "y0"
_FORMS = (
    Described("names of parameters, such as 'k1'"),
    Described("initial states, such as 'y0[2]'"),
    *map(Described, (f"{ALL!r}", f"{PARAMETERS!r}", f"{INITIAL!r}")),
)


def check_sensitivities(given: Any) -> None:
    """Refuse what is no collection of names.

    Raises
    ------
    InvalidOption
    """
    if given is None or isinstance(given, str):
        return
    if not isinstance(given, Sequence) or not all(isinstance(name, str) for name in given):
        raise InvalidOption("sensitivities", given, _FORMS)
    twice = next((name for name in given if list(given).count(name) > 1), None)
    if twice is not None:
        what = Described(f"a sequence with {twice!r} more than once")
        raise InvalidOption("sensitivities", what, _FORMS, "Name each once.")


def has_sensitivities(given: Any) -> bool:
    """Tell whether there are any, as far as they were given."""
    return given is not None and len(given) > 0


def inputs_of(given: Any, system: System) -> tuple[Input, ...]:
    """Return the inputs of a system that are meant, in the order given.

    Parameters
    ----------
    given : str or sequence of str
        "all", "parameters", "y0" (all initial states), or names: of a parameter ("k1", "k[2]"),
        of a whole argument ("k"), of an initial state by its number or its name ("y0[2]",
        "y0[prey]").
    system : System

    Raises
    ------
    InvalidOption
        For a name that the system does not have, or that means two things, and for an input that is
        named twice.
    """
    check_sensitivities(given)
    asked = (given,) if isinstance(given, str) else tuple(given)
    found = [one for name in asked for one in _named(name, given, system)]
    if len(set(found)) < len(found):
        twice = next(one.name for one in found if found.count(one) > 1)
        what = Described(f"{twice!r} in two ways")
        raise InvalidOption("sensitivities", what, advice="Name each input once.")
    names = [one.name for one in found]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        what = Described(f"{twice!r} as a parameter and as an initial state")
        raise InvalidOption("sensitivities", what, advice="Call the parameter otherwise.")
    return tuple(found)


def _named(name: str, given: Any, system: System) -> list[Input]:
    parameters = [Input(one, False, k) for k, one in enumerate(system.parameter_names)]
    initial = [Input(f"y0[{one}]", True, i) for i, one in enumerate(_short_names(system))]
    exact = [one for one in parameters if one.name == name]
    whole = [one for one in parameters if one.name.startswith(f"{name}[")]
    groups = {ALL: parameters + initial, PARAMETERS: parameters, INITIAL: initial}
    by_number = {f"y0[{one.number}]": one for one in initial}
    by_name = {f"y0[{state}]": one for state, one in zip(system.state_names, initial, strict=True)}
    either = by_number | by_name
    found = exact or whole
    others = groups.get(name) or [one for key, one in either.items() if key == name]
    if found and others:
        what = Described(f"{name!r}, which is a parameter and means {_meaning(others)} too")
        raise InvalidOption("sensitivities", what, advice="Call the parameter otherwise.")
    if found or others:
        return found or others
    known = [one.name for one in parameters] + list(either)
    meant = nearest(name, known)
    advice = f"Did you mean {meant!r}?" if meant else ""
    there = ", ".join(one.name for one in parameters) or "none"
    if system.drivers and not advice:
        advice = (
            "Samples of an Interpolant are no inputs: let it be a sum, of a parameter times an "
            "Interpolant that is one at its sample and zero at all others."
        )
    advice = f"Parameters are: {there}. Initial states are 'y0[0]' and so on. {advice}".rstrip()
    raise InvalidOption("sensitivities", name, advice=advice)


def _meaning(inputs: Sequence[Input]) -> str:
    first, *more = (one.name for one in inputs)
    return f"{first!r} and others" if more else "an initial state"


def _short_names(system: System) -> list[str]:
    """Return what initial states are called: by number, unless the equations name them."""
    numbered = [f"y{i}" for i in range(system.n_states)]
    named = system.state_names != tuple(numbered)
    return [name if named else str(i) for i, name in enumerate(system.state_names)]


def size_of(graph: Any, one: Input) -> Any:
    """Return the size of a parameter as an expression."""
    from cubie.systems.tracing.arithmetic import call, compare, select

    parameter = graph.leaf("p", one.number)
    return select(compare("==", parameter, 0.0), 1.0, call("fabs", parameter))


def require_numbers(inputs: Sequence[Input], system: System, what: str) -> None:
    """Refuse inputs that are ints and stand in code as numbers: nothing of it depends on them.

    Parameters
    ----------
    inputs : sequence of Input
    system : System
    what : str
        What the system computes.

    Raises
    ------
    InvalidOption
    """
    fixed = [one.name for one in inputs if not one.is_initial and one.number in system.baked]
    if fixed:
        given = Described(f"of {fixed[0]!r}, which is given as an int")
        why = (
            "counts with it, or asks how large it is"
            if system.kind == "traced"
            else ("cannot be traced, and is compiled with its ints as constants")
        )
        advice = (
            f"{what} {why}, so that no derivative by it would be seen. Give a float if it is a "
            "number that may change, or name the inputs that are meant."
        )
        raise InvalidOption("sensitivities", given, advice=advice)
