"""From what a user asks for to the `Model` of a sweep."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from cubie import checks
from cubie.errors import InvalidOption, InvalidProblem
from cubie.launch.prepared import PreparedSolve
from cubie.problem import Systems
from cubie.settings import OF_RUNS, SolverSettings
from cubie.solver import Solver
from cubie.sweeps.asked import (
    Asked,
    drawn_of,
    in_order,
    require_told_apart,
    spans_of_first,
    start_of,
    start_of_first,
    with_state_names,
)
from cubie.sweeps.axes import Rows, Space
from cubie.sweeps.columns import advice_of_labels
from cubie.sweeps.draws import Draws, checked_seed
from cubie.sweeps.limits import checked_times, require_runs
from cubie.sweeps.model import Model
from cubie.sweeps.places import (
    TIMES,
    Named,
    Place,
    Words,
    arguments,
    for_several,
    normalised,
    slot_of,
    words_of,
)
from cubie.sweeps.values import as_written
from cubie.systems import Batch, Pairs, RightHandSideError, System
from cubie.systems.drivers.interpolant import Driver
from cubie.systems.parameters import leaves_of

# How runs are grouped on a CPU depends on how many there are: from so many on it never does.
MANY_RUNS = 4096
# What of the settings a model does not need: it has what they became.
BECAME = ("jac", "jac_p", "jac_sparsity", "lband", "uband", "mass_matrix", "observables", "events",
          "summaries", "breakpoints", "save_states", "save_observables", "window", "after",
          "max_events", "event_samples", "vectorized", "rtol", "atol", "first_step", "max_step",
          "min_step", "max_steps", "save", "sensitivities")  # fmt: skip


def model_of(asked: Asked, space: Space, seed: int) -> tuple[Model, Draws | None]:
    """Return the model of a sweep, and what is drawn for each run.

    Raises
    ------
    UnknownOption, InvalidOption, InvalidProblem
    """
    checked_seed(seed)
    asked = in_order(asked)
    options, renamed = with_state_names(asked)
    try:
        solver = Solver(asked.fun, **options)
    except InvalidOption as error:
        raise _with_names(error, renamed) from error
    if not callable(solver.fun):
        raise TypeError(
            f"fun must be callable, fun(t, y, *args), or equations; got {asked.fun!r:.80}."
        )
    start, names = start_of(solver, asked.y0)
    words = words_of(solver.fun, solver.equations, names)
    drawn, asked = drawn_of(asked, words, seed)
    swept = [_found(words, space, name) for name in space.names]
    swept += [words.find(name) for name in (drawn.names if drawn else ())]
    require_told_apart(words, asked.args, swept[: len(space.names)])
    first = _first_values(space, drawn)
    args = arguments(solver.fun, solver.equations, asked.args, swept, first)
    swept = [
        attrs.evolve(named, path=normalised(args, named.path)) if named.of == "argument" else named
        for named in swept
    ]
    _require_once(swept)
    span, of_first = spans_of_first(asked.t_span, swept, first)
    times = checked_times(asked.t_eval, of_first)
    start = start_of_first(start, names, swept, first)
    own_clock = any(named.of in TIMES for named in swept)
    made = _Made(solver, span, of_first, times, space.n_runs < MANY_RUNS, own_clock)
    try:
        model = made.model(start, args, swept, first, names, renamed)
    except RightHandSideError as error:
        raise _explained(error, space, asked.y0, _arrays_in(words, args)) from error.__cause__
    except InvalidOption as error:
        raise _with_names(error, renamed) from error
    require_runs(model, made.settings, space, drawn)
    return model, drawn


def _found(words: Words, space: Space, name: str) -> Named:
    """Return what a name of an axis means; of a table it may be meant as a label."""
    try:
        return words.find(name)
    except InvalidProblem as error:
        axis = next(axis for axis in space.axes if name in axis.names)
        if not isinstance(axis, Rows) or len(axis.names) < 2:
            raise
        told = str(error).removeprefix("`over` ")
        raise InvalidProblem("over", f"{told} {advice_of_labels(name)}") from error


def _arrays_in(words: Words, args: Sequence[Any]) -> dict[str, int]:
    """Return the arguments that are arrays, or lists of numbers, and how many each has."""
    named = (*words.arguments, *(f"args[{i}]" for i in range(len(words.arguments), len(args))))
    return {
        name: len(value)
        for name, value in zip(named, args, strict=False)
        if isinstance(value, (np.ndarray, list, tuple)) and np.ndim(value) == 1
    }


def _explained(
    error: RightHandSideError, space: Space, y0: Any, arrays: Mapping[str, int]
) -> RightHandSideError:
    """Return an error that says what a function gets of axes, arrays and a mapping `y0`."""
    whole = [
        name
        for axis in space.axes
        if isinstance(axis, Rows)
        for name, values in zip(axis.names, axis.columns, strict=True)
        if np.array_equal(values, np.round(np.real(values)))
    ]
    told = [str(error)]
    if isinstance(error.__cause__, TypeError) and "integer" in str(error.__cause__) and whole:
        told.append(
            f"What is swept, here {', '.join(map(repr, whole))}, is a float that differs between "
            "runs: to look something up by it write k[int(n)]; a number of terms or of turns "
            "cannot differ, so begin a sweep for each."
        )
    for name, n in arrays.items():
        told.append(
            f"`{name}` is an array of {n:,}, which each run gets whole: what differs between runs "
            f"is an axis, over=cubie.grid({as_written(name)}) or zipped(...)."
        )
    if isinstance(y0, Mapping):
        told.append(f"y0 names {len(y0)} states: {', '.join(map(str, y0))}.")
    return type(error)(" ".join(told))


def _with_names(error: InvalidOption, renamed: Sequence[tuple[str, str]]) -> InvalidOption:
    """Return an error that calls states as users do."""
    if error.option in ("summaries", "save_states") and renamed:
        advice = f"The states are {', '.join(name for _, name in renamed)}."
        return InvalidOption(error.option, error.given, advice=advice)
    for number, name in renamed:
        option = f"summaries[{number!r}]"
        if error.option == option:
            changed = copy.copy(error)
            changed.option = f"summaries[{name!r}]"
            changed.args = (str(error).replace(option, changed.option),)
            return changed
    return error


def _require_once(swept: Sequence[Named]) -> None:
    seen: dict[Any, str] = {}
    for named in swept:
        key = named.of, named.path
        if key in seen:
            raise InvalidProblem(
                "over", f"sweeps the same twice, as {seen[key]!r} and as {named.name!r}."
            )
        seen[key] = named.name


def _first_values(space: Space, drawn: Draws | None) -> dict[str, Any]:
    """Return the values of the first run, as Python numbers."""
    zero = np.zeros(1, dtype=np.int64)
    found = space.of_runs(zero) | (drawn.at(zero) if drawn else {})
    return {name: values[0].item() for name, values in found.items()}


def _refuse_drivers_of_runs(args: Sequence[Any]) -> None:
    for leaf in leaves_of(tuple(args)):
        if isinstance(leaf.value, Driver) and leaf.value.n_runs is not None:
            raise InvalidProblem(
                leaf.label,
                f"has samples of {leaf.value.n_runs} runs; of a sweep all runs have the same.",
            )


class _Made:
    """One preparation: a solver is asked for the kernel of a few runs."""

    def __init__(
        self,
        solver: Solver,
        span: tuple[float, float],
        of_first: tuple[float, float],
        times: Any,
        small: bool,
        own_clock: bool,
    ):
        self.solver, self.span, self.of_first, self.times = solver, span, of_first, times
        self.small, self.own_clock = small, own_clock

    @property
    def settings(self) -> SolverSettings:
        """Those that were asked for."""
        return self.solver._setup.settings

    def model(
        self,
        start: np.ndarray,
        args: tuple[Any, ...],
        swept: Sequence[Named],
        first: Mapping[str, Any],
        names: tuple[str, ...],
        renamed: tuple[tuple[str, str], ...],
    ) -> Model:
        problem, settings = self.solver._problem, self.settings
        self._refuse(settings)
        if settings.dtype is None:
            settings = attrs.evolve(settings, dtype=settings.run_dtype(start).name)
        given_start, given_args = problem.by_position(start, args)
        if pairs_in(start, swept, first):
            given_start = np.asarray(given_start, dtype=complex)
        y0, real_args, pairs = problem.in_pairs(given_start, given_args)
        _refuse_drivers_of_runs(real_args)
        paths = self._paths(swept, first)
        n_probe = _number_of_probes(real_args)
        batch, prepared = self._prepared(
            settings,
            np.repeat(np.asarray(y0, dtype=float)[None], n_probe, axis=0),
            for_several(tuple(real_args), [p for ps in paths.values() for p in ps], n_probe),
            pairs,
            n_probe,
        )
        leaves = leaves_of(tuple(real_args), frozenset(batch.constants))
        places = tuple(
            self._place(named, paths.get(named.name, ()), leaves, pairs) for named in swept
        )
        return self._from_prepared(prepared, settings, batch, places, names, renamed)

    def _refuse(self, settings: Any) -> None:
        """Refuse what a sweep cannot have, each with what to do instead."""
        if settings.dense_output:
            raise InvalidOption(
                "dense_output", True, advice="Runs of a sweep have no `sol`: give `t_eval`."
            )
        if settings.save == "steps":
            raise InvalidOption(
                "save", "steps", advice="Runs of a sweep are saved at their end, or at `t_eval`."
            )
        if settings.on_device:
            raise InvalidOption("on_device", True, advice="Results of a sweep are stored.")
        if settings.event_rules() is not None and settings.max_events is None:
            raise InvalidOption(
                "max_events",
                None,
                advice="Give how many of each event are kept of a run, 0 to only count them: "
                "results of a sweep have a size that is known before.",
            )
        for name in OF_RUNS:
            if np.ndim(getattr(settings, name)) > (1 if name in ("rtol", "atol") else 0):
                raise InvalidOption(
                    name, getattr(settings, name), advice="Of a sweep all runs have the same."
                )
        if np.ndim(settings.breakpoints) > 1:
            raise InvalidOption(
                "breakpoints", settings.breakpoints, advice="Of a sweep all runs have the same."
            )

    def _paths(self, swept: Sequence[Named], first: Mapping[str, Any]) -> dict[str, list[tuple]]:
        """Return where in args axes go: a complex number is a pair there."""
        found = {}
        for named in swept:
            if named.of == "argument":
                parts = ((0,), (1,)) if isinstance(first[named.name], complex) else ((),)
                found[named.name] = [(*named.path, *part) for part in parts]
        return found

    def _prepared(
        self, settings: Any, y0: Any, args: Any, pairs: Pairs | None, n_probe: int
    ) -> tuple[Batch, PreparedSolve]:
        solver, options = self.solver, self.solver._setup.options
        own_spans = tuple(np.full(n_probe, one) for one in self.of_first)
        span = own_spans if self.own_clock else self.span

        def prepare(batch: Batch) -> PreparedSolve:
            checks.initial_states(batch.y0)
            n_runs = 1 if self.small else MANY_RUNS**2
            # That the probes are a batch is nobody's concern: errors are to say nothing of it.
            batch = batch._replace(
                span=self.of_first, n_runs=n_runs, in_rows=False, unswept=(), doubtful=()
            )
            mode = settings.save_mode(False, self.times is not None)
            own_clock = settings.own_clock(span, self.times, mode)
            dtype = settings.run_dtype(batch.y0)
            return solver._prepare(settings, options, batch, pairs, mode, dtype, own_clock)

        return solver._splits.prepare(y0, args, None, prepare, n_probe)

    def _place(
        self, named: Named, paths: Sequence[tuple], leaves: Sequence[Any], pairs: Pairs | None
    ) -> Place:
        if named.of in TIMES:
            return Place(named.name, named.of)
        if named.of == "state":
            i = named.path[0]
            return Place(
                named.name, "state", (2 * i, 2 * i + 1) if pairs and pairs.states else (i,)
            )
        return Place(named.name, "parameter", tuple(slot_of(leaves, path) for path in paths))

    def _from_prepared(
        self,
        prepared: PreparedSolve,
        settings: Any,
        batch: Batch,
        places: tuple[Place, ...],
        names: tuple[str, ...],
        renamed: tuple[tuple[str, str], ...],
    ) -> Model:
        integrator = prepared.kernel.integrator
        usual = {field.name: field.default for field in attrs.fields(type(settings))}
        kept = attrs.evolve(settings, **{name: usual[name] for name in BECAME})
        return Model(
            systems=_placeless(prepared),
            run_settings=integrator.settings,
            options=integrator.given,
            settings=kept,
            dtype=prepared.dtype.name,
            rtol=prepared.rtol,
            atol=prepared.atol,
            max_step=prepared.max_step,
            min_step=prepared.min_step,
            first_step=settings.checked_first_step(prepared.adaptive, self.of_first),
            max_steps=prepared.max_steps,
            small=self.small,
            start=batch.y0[:, 0].copy(),
            parameters=batch.parameters[:, 0].copy(),
            span=self.span,
            times=self.times,
            drivers=tuple((batch.drivers or {}).items()),
            constants=tuple(batch.constants.items()),
            places=places,
            state_names=names,
            summary_names=renamed,
            notes=prepared.notes,
            # Whether any run has something of it does not depend on how runs are cut.
            window=prepared.window and attrs.evolve(prepared.window, may_miss=True),
            breakpoints=prepared.breakpoints,
            in_pairs=prepared.in_pairs,
            named=prepared.named,
            events_asked=prepared.events_asked,
            event_room=prepared.event_room,
        )


def _placeless(prepared: PreparedSolve) -> Systems:
    """Return what runs compute, without where this machine keeps its text."""
    observables, events = prepared.observables, prepared.events
    if events is not None:
        applied = tuple(None if one is None else _anywhere(one) for one in events.applied)
        timings = tuple(None if one is None else _anywhere(one) for one in events.timings)
        values = tuple(map(_anywhere, events.values))
        events = attrs.evolve(events, values=values, applied=applied, timings=timings)
    return Systems(
        _anywhere(prepared.system), None if observables is None else _anywhere(observables), events
    )


def _anywhere(system: System) -> System:
    rows = tuple(map(_anywhere, system.jacobian_rows))
    return attrs.evolve(system, path=Path(system.path.name), jacobian_rows=rows)


def pairs_in(start: np.ndarray, swept: Sequence[Named], first: Mapping[str, Any]) -> bool:
    """Tell whether an initial state is swept over complex numbers."""
    return any(named.of == "state" and isinstance(first[named.name], complex) for named in swept)


def _number_of_probes(args: Sequence[Any]) -> int:
    """Return a number of runs that no array which all have in common could be taken for."""
    lengths = {len(leaf.value) for leaf in leaves_of(tuple(args)) if _has_length(leaf.value)}
    return next(n for n in range(2, len(lengths) + 3) if n not in lengths)


def _has_length(value: Any) -> bool:
    try:
        return len(value) >= 0
    except TypeError:
        return False
