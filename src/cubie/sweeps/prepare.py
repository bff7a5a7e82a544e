"""From what a user asks for to the `Model` of a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import attrs
import numpy as np

from cubie import checks
from cubie.errors import InvalidOption, InvalidProblem, nearest
from cubie.launch.prepared import PreparedSolve
from cubie.problem import Systems
from cubie.settings import OF_RUNS
from cubie.solver import Solver
from cubie.sweeps.axes import Space
from cubie.sweeps.draws import Draws, is_distribution
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
from cubie.systems import Batch, Pairs, System
from cubie.systems.drivers.interpolant import Driver
from cubie.systems.parameters import leaves_of

# How runs are grouped on a CPU depends on how many there are: from so many on it never does.
MANY_RUNS = 4096
# What of the settings a model does not need: it has what they became.
BECAME = ("jac", "jac_sparsity", "lband", "uband", "mass_matrix", "observables", "events",
          "summaries", "breakpoints", "save_states", "save_observables", "window", "after",
          "max_events", "event_samples", "vectorized", "rtol", "atol", "first_step", "max_step",
          "min_step", "max_steps", "save")  # fmt: skip


class Asked(NamedTuple):
    """A problem as users give it."""

    fun: Any
    t_span: Any
    y0: Any
    args: Any
    t_eval: Any
    options: Mapping[str, Any]


def model_of(asked: Asked, space: Space, seed: int) -> tuple[Model, Draws | None]:
    """Return the model of a sweep, and what is drawn for each run.

    Raises
    ------
    UnknownOption, InvalidOption, InvalidProblem
    """
    options, renamed = _with_state_names(asked)
    solver = Solver(asked.fun, **options)
    start, names = _start_of(solver, asked.y0)
    words = words_of(solver.fun, solver.equations, names)
    drawn, asked = _taken_out(asked, words, seed)
    swept = [words.find(name) for name in (*space.names, *(drawn.names if drawn else ()))]
    first = _first_values(space, drawn)
    args = arguments(solver.fun, solver.equations, asked.args, swept, first)
    swept = [
        attrs.evolve(named, path=normalised(args, named.path)) if named.of == "argument" else named
        for named in swept
    ]
    _require_once(swept)
    span = _span(asked.t_span, swept, first)
    times = checks.save_times(asked.t_eval, span)
    if times is not None and times.ndim > 1:
        raise InvalidProblem("t_eval", "has a row for each run; of a sweep all have the same.")
    start = _started(start, swept, first)
    own_clock = any(named.of in TIMES for named in swept)
    made = _Made(solver, span, times, space.n_runs < MANY_RUNS, own_clock)
    return made.model(start, args, swept, first, names, renamed), drawn


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


def _with_state_names(asked: Asked) -> tuple[dict[str, Any], tuple[tuple[str, str], ...]]:
    """Return the options, in which summaries and choices of named states go by number.

    A function's states have the names that a mapping `y0` gives them.
    """
    options = dict(asked.options)
    if not isinstance(asked.y0, Mapping) or not callable(asked.fun):
        return options, ()
    names = [str(name) for name in asked.y0]
    if isinstance(options.get("summaries"), Mapping):
        options["summaries"] = {
            f"y{names.index(key)}" if key in names else key: wanted
            for key, wanted in options["summaries"].items()
        }
    chosen = options.get("save_states")
    if isinstance(chosen, (list, tuple)):
        options["save_states"] = [names.index(c) if c in names else c for c in chosen]
    elif chosen in names:
        options["save_states"] = names.index(chosen)
    return options, tuple((f"y{i}", name) for i, name in enumerate(names))


def _start_of(solver: Solver, y0: Any) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the initial state, and what its entries are called."""
    equations = solver.equations
    if isinstance(y0, Mapping) and equations is None:
        names = tuple(str(name) for name in y0)
        y0 = list(y0.values())
    else:
        names = () if equations is None else equations.states
    if equations is not None:
        y0 = _of_equations(equations, y0)
    start = np.asarray(y0)
    if start.ndim != 1 or not start.size:
        raise InvalidProblem(
            "y0",
            f"has shape {start.shape}; of a sweep it is one state, (n_states,): sweep initial "
            "values by name, over=grid(y0=...) or, from a table, over=table(...).",
        )
    return start, names or tuple(f"y{i}" for i in range(len(start)))


def _of_equations(equations: Any, y0: Any) -> Any:
    if isinstance(y0, Mapping):
        unknown = [name for name in y0 if name not in equations.states]
        if unknown:
            like = nearest(str(unknown[0]), equations.states)
            meant = f" (did you mean {like!r}?)" if like else ""
            raise InvalidProblem(
                "y0", f"has {unknown[0]!r}{meant}; the states are {', '.join(equations.states)}."
            )
        # A state that is swept need not be given.
        return [y0.get(name, np.nan) for name in equations.states]
    return equations.initial_state(y0)


def _started(start: np.ndarray, swept: Sequence[Named], first: Mapping[str, Any]) -> np.ndarray:
    """Return the initial state of the first run."""
    given = {named.path[0]: first[named.name] for named in swept if named.of == "state"}
    complex_too = any(isinstance(value, complex) for value in given.values())
    started = start.astype(complex if complex_too else start.dtype)
    if given and started.dtype.kind in "iu":
        started = started.astype(float)
    for i, value in given.items():
        started[i] = value
    return started


def _taken_out(asked: Asked, words: Words, seed: int) -> tuple[Draws | None, Asked]:
    """Return what each run draws for itself, of distributions among args, and the rest."""
    args = asked.args
    if isinstance(args, Mapping):
        drawn = {str(name): value for name, value in args.items() if is_distribution(value)}
        kept: Any = {name: value for name, value in args.items() if str(name) not in drawn}
    elif isinstance(args, (list, tuple)):
        drawn = {
            words.arguments[i] if i < len(words.arguments) else f"args[{i}]": value
            for i, value in enumerate(args)
            if is_distribution(value)
        }
        # Something in their place, until each run has its own.
        kept = tuple(0.0 if is_distribution(value) else value for value in args)
    else:
        return None, asked
    if not drawn:
        return None, asked
    return Draws.of(None, drawn, "random", seed), asked._replace(args=kept)


def _refuse_drivers_of_runs(args: Sequence[Any]) -> None:
    for leaf in leaves_of(tuple(args)):
        if isinstance(leaf.value, Driver) and leaf.value.n_runs is not None:
            raise InvalidProblem(
                leaf.label,
                f"has samples of {leaf.value.n_runs} runs; of a sweep all runs have the same.",
            )


def _span(t_span: Any, swept: Sequence[Named], first: Mapping[str, Any]) -> tuple[float, float]:
    start, end = checks.time_span(t_span)
    if isinstance(start, np.ndarray):
        raise InvalidProblem(
            "t_span", "has one for each run; sweep 't_start' or 't_end' in `over` instead."
        )
    for named in swept:
        if named.of in TIMES and isinstance(first[named.name], complex):
            raise InvalidProblem("over", f"sweeps {named.name!r} over complex numbers.")
    return start, end


class _Made:
    """One preparation: a solver is asked for the kernel of a few runs."""

    def __init__(
        self, solver: Solver, span: tuple[float, float], times: Any, small: bool, own_clock: bool
    ):
        self.solver, self.span, self.times = solver, span, times
        self.small, self.own_clock = small, own_clock

    def model(
        self,
        start: np.ndarray,
        args: tuple[Any, ...],
        swept: Sequence[Named],
        first: Mapping[str, Any],
        names: tuple[str, ...],
        renamed: tuple[tuple[str, str], ...],
    ) -> Model:
        problem, settings = self.solver._problem, self.solver._setup.settings
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
        own_spans = np.full(n_probe, self.span[0]), np.full(n_probe, self.span[1])
        span = own_spans if self.own_clock else self.span

        def prepare(batch: Batch) -> PreparedSolve:
            checks.initial_states(batch.y0)
            batch = batch._replace(span=self.span, n_runs=1 if self.small else MANY_RUNS**2)
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
        _, _, _, options, _, _ = integrator._made_of
        return Model(
            systems=_placeless(prepared),
            run_settings=integrator.settings,
            options=options,
            settings=kept,
            dtype=prepared.dtype.name,
            rtol=prepared.rtol,
            atol=prepared.atol,
            max_step=prepared.max_step,
            min_step=prepared.min_step,
            first_step=settings.checked_first_step(prepared.adaptive, self.span),
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
            window=prepared.window,
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
        events = attrs.evolve(events, values=tuple(map(_anywhere, events.values)), applied=applied)
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
