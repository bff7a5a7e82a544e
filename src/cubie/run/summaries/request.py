"""`summaries=` as users give it: which summaries of which quantities."""

from __future__ import annotations

import ast
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve, frozen

from cubie.errors import InvalidOption, nearest
from cubie.run.summaries import derivatives, integrals, kinds
from cubie.run.summaries.beside import beside
from cubie.run.summaries.checks import checked_own
from cubie.run.summaries.kinds import Summary
from cubie.run.summaries.levels import crossings, time_above
from cubie.run.summaries.lyapunov import lyapunov
from cubie.run.summaries.peaks import NPeaks, negative_peaks, peaks
from cubie.systems import fingerprint

SUMMARIES: Mapping[str, type[Summary]] = {
    summary.name: summary
    for summary in (
        kinds.Minimum, kinds.Maximum, kinds.ArgMin, kinds.ArgMax, kinds.Extrema,
        kinds.MaxMagnitude, integrals.Mean, integrals.Deviation, integrals.RootMeanSquare,
        integrals.Integral, kinds.Final, peaks, negative_peaks, NPeaks, crossings, time_above,
        derivatives.DerivativeMin, derivatives.DerivativeMax, derivatives.DerivativeExtrema,
        derivatives.SecondDerivativeMin, derivatives.SecondDerivativeMax,
        derivatives.SecondDerivativeExtrema, lyapunov,
    )
}  # fmt: skip
"""Every summary by name."""

Labelled = tuple[str, Summary]

ALL_STATES = "y"
"""What a summary of all states together is asked for by."""


@frozen
class Asked:
    """The summaries that were asked for, of quantities by name or number.

    Attributes
    ----------
    quantities : tuple of (str or int, tuple of (str, Summary))
    code : str
        Digest of the code of summaries that users wrote; "" where there are none.
    """

    quantities: tuple[tuple[str | int, tuple[Labelled, ...]], ...]
    code: str = ""

    def __bool__(self) -> bool:
        return bool(self.quantities)

    @property
    def exponents(self) -> tuple[str, lyapunov] | None:
        """The Lyapunov exponents that are asked for, with their label."""
        found = (one for _, labelled in self.quantities for one in labelled)
        return next(((label, one) for label, one in found if isinstance(one, lyapunov)), None)

    @property
    def follows(self) -> bool:
        """Whether quantities are followed between the steps."""
        found = (one for _, labelled in self.quantities for _, one in labelled)
        return not all(isinstance(one, lyapunov) for one in found)

    def asks_for(self, names: Sequence[str]) -> bool:
        """Tell whether one of these is summarised."""
        return any(key in names for key, _ in self.quantities)

    def as_now(self) -> Asked:
        """Return the same with the code of users' summaries as it is now.

        Globals that it reads, and attributes, may change while the objects stay the same.
        """
        return evolve(self, code=_code_of(self.quantities)) if self.code else self


@frozen
class Tracked:
    """One quantity, and what is summarised of it.

    Attributes
    ----------
    key : str or int
        As the user called it.
    index : int
        Its number among the states, or among the observables.
    slope_at : int
        The slot of the slope with which the last step ended; see `cubie.run.summaries.joints`.
    summaries : tuple of (str, Summary or Beside, int)
        Label, summary, and the first of its slots.
    by : int, optional
        Where derivatives of summaries by an input are followed: the number of the quantity's own
        derivative by it. Its slope is kept in the slot behind `slope_at`.
    """

    key: str | int
    index: int
    slope_at: int
    summaries: tuple[tuple[str, Any, int], ...]
    by: int | None = None

    @property
    def slopes_at(self) -> tuple[int, ...]:
        """All slots of slopes."""
        return (self.slope_at,) if self.by is None else (self.slope_at, self.slope_at + 1)


@frozen
class Tracking:
    """All that is summarised in a run.

    Attributes
    ----------
    states, observables : tuple of Tracked
    windowed : bool
        Only a part of the time counts.
    code : str
        See `Asked`.
    exponents : Tracked, optional
        Of all states together.
    """

    states: tuple[Tracked, ...]
    observables: tuple[Tracked, ...]
    windowed: bool
    code: str = ""
    exponents: Tracked | None = None

    @property
    def follows(self) -> bool:
        """Whether quantities are followed between the steps."""
        return bool(self.states or self.observables)

    @property
    def n_state_slots(self) -> int:
        """How many numbers of a run are of states; the first says since when it is summarised."""
        return 1 + _slots(self.states) if self.follows else 0

    @property
    def n_observable_slots(self) -> int:
        """How many are of observables."""
        return _slots(self.observables)

    @property
    def n_slots(self) -> int:
        """How many numbers of a run are kept: of states, of observables, and of all states."""
        last = () if self.exponents is None else self.exponents.summaries
        followed = self.n_state_slots + self.n_observable_slots
        return followed + sum(summary.n_slots for _, summary, _ in last)


def _slots(tracked: Sequence[Tracked]) -> int:
    own = sum(summary.n_slots for one in tracked for _, summary, _ in one.summaries)
    return sum(len(one.slopes_at) for one in tracked) + own


NOTHING = Asked(())


def read_summaries(given: Any) -> Asked:
    """Read `summaries=`.

    Parameters
    ----------
    given : mapping or sequence
        A mapping is of a state's or observable's name, or a state's number, to a summary, a
        sequence of them, or a mapping of labels to them. A sequence is of summaries of all states
        together, which in a mapping are those of "y". A summary is a `Summary`, or a name of
        `SUMMARIES`, with arguments in brackets where it takes some.

    Raises
    ------
    InvalidOption
        For what is no such mapping, unknown names, and labels that come twice.
    """
    if isinstance(given, Asked):
        return given
    if _names_exponents(given):
        given = {ALL_STATES: given}
    if not isinstance(given, Mapping):
        advice = 'It must be a mapping, such as {"v": ["max", "mean"]}, or ["lyapunov"].'
        raise InvalidOption("summaries", given, advice=advice)
    quantities = tuple((_key(key), _labelled(key, wanted)) for key, wanted in given.items())
    of_all = [(key, one) for key, many in quantities for _, one in many if _is_of_all(one)]
    for key, _ in of_all:
        if key != ALL_STATES or len(of_all) > 1:
            advice = (
                "Lyapunov exponents are of all states together: ask for them once, as "
                f"summaries={{{ALL_STATES!r}: cubie.lyapunov(3)}} or summaries=['lyapunov']."
            )
            raise InvalidOption(f"summaries[{key!r}]", "lyapunov", advice=advice)
    return Asked(quantities, _code_of(quantities))


def _names_exponents(given: Any) -> bool:
    """Tell whether something that is no mapping asks for exponents, and for nothing else."""
    wanted = given if isinstance(given, (list, tuple)) else [given]
    texts = [one.partition("(")[0].strip() if isinstance(one, str) else one for one in wanted]
    return bool(texts) and all(
        one == lyapunov.name or one is lyapunov or isinstance(one, lyapunov) for one in texts
    )


def _is_of_all(summary: Summary) -> bool:
    return isinstance(summary, lyapunov)


def apart(key: Any, wanted: Any) -> tuple[Any, Any]:
    """Return what is asked for of one state, and what of all together; None for nothing."""
    labelled = _labelled(key, wanted)
    of_all = {label: one for label, one in labelled if _is_of_all(one)}
    if not of_all or key != ALL_STATES:
        return wanted, None
    return {label: one for label, one in labelled if label not in of_all} or None, of_all


def _code_of(quantities: Sequence[tuple[str | int, tuple[Labelled, ...]]]) -> str:
    own = [s for _, labelled in quantities for _, s in labelled if not _is_ours(s)]
    if not own:
        return ""
    return fingerprint(*own, *map(type, own)) or uuid.uuid4().hex


def _is_ours(summary: Summary) -> bool:
    return type(summary) in SUMMARIES.values()


def _key(key: Any) -> str | int:
    if isinstance(key, str):
        return key
    if isinstance(key, bool) or not hasattr(key, "__index__"):
        raise InvalidOption(
            "summaries", key, advice="Its keys are names of states or observables, or numbers."
        )
    return int(key)


def _labelled(key: Any, wanted: Any) -> tuple[Labelled, ...]:
    if isinstance(wanted, Mapping):
        pairs = [(str(label), _summary(key, one)) for label, one in wanted.items()]
    else:
        several = isinstance(wanted, Sequence) and not isinstance(wanted, str)
        found = [_summary(key, one) for one in (wanted if several else [wanted])]
        pairs = [(one.name, one) for one in found]
    labels = [label for label, _ in pairs]
    for label in labels:
        if labels.count(label) > 1:
            raise InvalidOption(
                f"summaries[{key!r}]", wanted,
                advice=f"It has {label!r} twice; give labels of your own: "
                f"{{'first': {label}(...), 'second': {label}(...)}}.",
            )  # fmt: skip
    if not pairs:
        raise InvalidOption(f"summaries[{key!r}]", wanted, advice="Name at least one summary.")
    return tuple(pairs)


def _summary(key: Any, one: Any) -> Summary:
    where = f"summaries[{key!r}]"
    if isinstance(one, type) and issubclass(one, Summary):
        one = one.name if one in SUMMARIES.values() else _made(where, one)
    if isinstance(one, Summary):
        return one if _is_ours(one) else checked_own(where, one)
    if not isinstance(one, str):
        raise InvalidOption(where, one, advice="Give names, or objects such as `crossings(0.5)`.")
    name, positional, by_name = _call(where, one)
    kind = SUMMARIES.get(name)
    if kind is None:
        raise InvalidOption(where, one if name == one else name, SUMMARIES)
    if kind in (crossings, time_above) and not positional and not by_name:
        raise InvalidOption(
            where, one, advice=f"It needs a level: `cubie.{one}(0.5)` instead of {one!r}."
        )
    try:
        return kind(*positional, **by_name)
    except TypeError as error:
        raise InvalidOption(where, one, advice=f"{error}.") from error


def _call(where: str, text: str) -> tuple[str, list[Any], dict[str, Any]]:
    """Read ``name`` or ``name(0.5, k=3)``, as models in files have it: numbers and words only."""
    if "(" not in text:
        return text, [], {}
    try:
        call = ast.parse(text.strip(), mode="eval").body
        assert isinstance(call, ast.Call)
        assert isinstance(call.func, ast.Name)
        positional = [ast.literal_eval(value) for value in call.args]
        by_name = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
    except (SyntaxError, ValueError, AssertionError, RecursionError, MemoryError) as error:
        advice = "It must be a name, or one with numbers, such as 'crossings(0.5, k=3)'."
        raise InvalidOption(where, text, advice=advice) from error
    return call.func.id, positional, by_name


def _made(where: str, kind: type[Summary]) -> Summary:
    try:
        return kind()
    except TypeError as error:
        advice = f"Its parameters are missing: give an object, `{kind.__name__}(...)`. {error}"
        raise InvalidOption(where, kind, advice=advice) from error


def resolve(
    asked: Asked,
    states: Sequence[str],
    observables: Sequence[str],
    windowed: bool,
    n_inputs: int = 0,
) -> Tracking:
    """Find the quantities among the names of a system.

    Summaries that have derivatives are differentiated by so many inputs.

    Raises
    ------
    InvalidOption
        For what is none of them.
    """
    of_states: list[Tracked] = []
    of_observables: list[Tracked] = []
    state_slots, observable_slots, exponents = 1, 0, None
    for key, labelled in asked.quantities:
        of_all = tuple((label, one) for label, one in labelled if isinstance(one, lyapunov))
        labelled = tuple(one for one in labelled if one not in of_all)
        if of_all:
            label, one = of_all[0]
            counted = (label, evolve(one, k=one.count(len(states))), 0)
            exponents = Tracked(key, -1, 0, (counted,))
        if of_all and not labelled:
            continue
        if key in observables:
            index = list(observables).index(str(key))
            one, observable_slots = _placed(key, index, labelled, observable_slots)
            of_observables.append(one)
        else:
            one, state_slots = _placed(key, _state(key, states, observables), labelled, state_slots)
            of_states.append(one)
    for k in range(1, n_inputs + 1):
        for found, names in ((of_states, states), (of_observables, observables)):
            for one in [one for one in found if one.by is None]:
                at = _slots(found) + (found is of_states)
                found += _beside(one, one.index + k * len(names), at)
    of_each = tuple(of_states), tuple(of_observables)
    return Tracking(*of_each, windowed, asked.code, exponents)


def roughly(asked: Asked, windowed: bool) -> Tracking:
    """Return what tracks as much of a system that is not known yet: of its first state."""
    numbers = tuple((0, tuple(map(_one_of_many, labelled))) for _, labelled in asked.quantities)
    return resolve(Asked(numbers, asked.code), ("y0",), (), windowed)


def _one_of_many(one: Labelled) -> Labelled:
    return (one[0], lyapunov()) if isinstance(one[1], lyapunov) else one


def _placed(key, index, labelled, at) -> tuple[Tracked, int]:
    placed, slope_at = [], at
    at += 1
    for label, summary in labelled:
        placed.append((label, summary, at))
        at += summary.n_slots
    return Tracked(key, index, slope_at, tuple(placed)), at


def _beside(one: Tracked, by: int, slope_at: int) -> list[Tracked]:
    """Return what follows derivatives of the summaries of a quantity; none where it has none."""
    placed, at = [], slope_at + 2
    for label, summary, _ in one.summaries:
        derivative = beside(summary)
        if derivative is not None:
            placed.append((label, derivative, at))
            at += derivative.n_slots
    return [Tracked(one.key, one.index, slope_at, tuple(placed), by)] if placed else []


def _state(key: str | int, states: Sequence[str], observables: Sequence[str]) -> int:
    if key in states:
        return list(states).index(str(key))
    if isinstance(key, int) and -len(states) <= key < len(states):
        return key % len(states)
    if isinstance(key, int):
        advice = f"There are {len(states)} states: numbers from 0 to {len(states) - 1}."
        raise InvalidOption("summaries", key, advice=advice)
    names = (*states, *observables)
    close = nearest(key, names)
    meant = f" Did you mean {close!r}?" if close else ""
    raise InvalidOption(
        "summaries", key, advice=f"There is no state or observable of this name.{meant} "
        f"There are: {', '.join(names)}.",
    )  # fmt: skip
