"""The keyword arguments of a solve that no component of the integrator owns, and what they mean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from attrs import field, frozen, validators
from attrs.converters import optional

from cubie import checks, per_run
from cubie.backend import Backend, make_backend
from cubie.errors import Described, InvalidOption, InvalidProblem
from cubie.integrator import RunSettings
from cubie.launch.planned import DEFAULT_BLOCK_SIZE, MAX_BLOCKS, REGISTERS, BatchSolverConfig
from cubie.launch.sensitivity_options import SensitivitySettings, all_of, alone
from cubie.launch.summaries import Window
from cubie.numerics.error_norm import Tolerances
from cubie.per_run import Span, is_of_runs
from cubie.reals import is_flag
from cubie.run.saving import Choice, SaveMode
from cubie.run.summaries.request import NOTHING, Asked, read_summaries
from cubie.sizes import parse_size
from cubie.systems import (
    Sparsity,
    System,
    check_choice,
    check_observables,
    chosen,
    has_observables,
    read_jacobian,
    read_sparsity,
)
from cubie.systems.drivers.interpolant import Driver
from cubie.tableaus import get_method
from cubie_planner.checked import EFFORT
from cubie_planner.gpu.cards import Target
from cubie_planner.gpu.device import DeviceError

DTYPES = ("float32", "float64")
MAX_BLOCK_SIZE = 1024
OF_RUNS = ("first_step", "max_step", "min_step", "rtol", "atol")  # may be of each run


def _within(name: str, given: Any, least: int, most: int) -> int | None:
    if given is None:
        return None
    number = checks.count(name, given)
    if not least <= number <= most:
        raise InvalidOption(name, number, advice=f"Give a number from {least} to {most}.")
    return number


def _target(given: Any) -> Target:
    """Return the device that is meant, which need not be there."""
    try:
        return Target.find(given)
    except DeviceError as error:
        raise InvalidOption("device", given, advice=str(error)) from error


@frozen
class SolverSettings(SensitivitySettings):
    """Everything about a solve that no component of the integrator owns.

    The fields are the keyword arguments of `solve_ivp`, see there.
    """

    method: Any = field(default="tsit5", converter=get_method)
    step_controller: str | None = None
    rtol: Any = 1e-3
    atol: Any = 1e-6
    first_step: Any = None  # a number, or an array with one for each run, as those below
    max_step: Any = math.inf
    max_steps: int = 100_000
    locations: Any = "auto"
    max_shared: int | str | None = None
    max_local: int | str | None = None
    block_size: int | None = None
    max_registers: int | None = None
    min_blocks: int | None = None
    verify: bool = field(default=True, validator=is_flag)
    effort: int = EFFORT
    backend: str = "auto"
    device: Target | None = field(default=None, converter=optional(_target))
    dtype: Any = None
    fastmath: bool = field(default=True, validator=is_flag)
    refill: bool = field(default=False, validator=is_flag)
    time_slices: bool | None = field(default=None, validator=validators.optional(is_flag))
    on_device: bool = field(default=False, validator=is_flag)
    lanes: int | None = None
    save: str | None = None
    t_eval_exact: bool = field(default=False, validator=is_flag)
    stage_storage: str = "auto"
    dense_output: bool = field(default=False, validator=is_flag)
    jac: Any = field(default=None)  # as given: a matrix may change in place
    jac_sparsity: Any = field(default=None)  # as given, too
    lband: Any = field(default=None)
    uband: Any = field(default=None)
    vectorized: bool = field(default=False, validator=is_flag)
    min_step: Any = 0.0
    mass_matrix: Any = None
    breakpoints: Any = None
    observables: Any = field(default=None)  # as given, too
    save_states: Any = field(default=None)
    save_observables: Any = field(default=None)
    summaries: Asked | None = field(default=None, converter=optional(read_summaries))
    window: Any = None
    after: Any = None

    def summary_window(self) -> Window | None:
        """Return the part of time that summaries are of, None for all of it."""
        found = Window.read(self.window, self.after)
        if found is not None and not self.summaries:
            name, given = ("window", self.window) if self.after is None else ("after", self.after)
            advice = "It is for `summaries`, and none are asked for."
            raise InvalidOption(name, given, advice=advice)
        return found

    @jac.validator
    def _check_jac(self, attribute: Any, given: Any) -> None:
        read_jacobian(given)

    @jac_sparsity.validator
    @lband.validator
    @uband.validator
    def _check_sparsity(self, attribute: Any, given: Any) -> None:
        given = {attribute.name: given} if attribute.name != "jac_sparsity" else {"given": given}
        read_sparsity(**{"given": None, **given})

    def sparsity(self) -> Sparsity | None:
        """Return where the Jacobian may differ from zero, where that was given."""
        return read_sparsity(self.jac_sparsity, self.lband, self.uband)

    @observables.validator
    def _check_observables(self, attribute: Any, given: Any) -> None:
        check_observables(given)

    @save_states.validator
    @save_observables.validator
    def _check_choice(self, attribute: Any, given: Any) -> None:
        check_choice(attribute.name, given)

    def save_mode(self, single: bool, at_times: bool) -> SaveMode:
        """Return which points to keep: those asked for, else every step or the last."""
        if at_times:
            if self.save is not None:
                advice = "Give either t_eval or save, not both."
                raise InvalidOption("save", self.save, advice=advice)
            inside = not self.t_eval_exact and self._reads_inside
            return SaveMode.TIMES if inside else SaveMode.STOPS
        if self.save is None:
            return SaveMode.STEPS if single else SaveMode.FINAL
        if self.save not in ("final", "steps"):
            raise InvalidOption("save", self.save, ("final", "steps"))
        return SaveMode(self.save)

    @cached_property
    def _reads_inside(self) -> bool:
        return self.run_settings(SaveMode.TIMES, False).reads_inside()

    def choice(self, system: System, observables: System | None, in_pairs: bool) -> Choice:
        """Return which states and observables are kept; `in_pairs`: states are complex.

        Raises
        ------
        InvalidOption
            For one that there is not.
        """
        names = () if observables is None else alone(observables).output_names
        states = alone(system).state_names
        if in_pairs:
            self._require_parts()
            states = tuple(f"y{i}" for i in range(len(states) // 2))
        of_states = chosen("save_states", self.save_states, states, "states")
        if in_pairs and of_states is not None:
            of_states = tuple(part for i in of_states for part in (2 * i, 2 * i + 1))
        of_observables = chosen("save_observables", self.save_observables, names, "observables")
        return Choice(all_of(of_states, system), all_of(of_observables, observables))

    def _require_parts(self) -> None:
        """Refuse summaries of complex states by number: they are of real and imaginary parts."""
        for key, _ in (self.summaries or NOTHING).quantities:
            if isinstance(key, int):
                advice = f"The states are complex: name a part, 'y{key}.real' or 'y{key}.imag'."
                raise InvalidOption("summaries", Described(f"of state {key}"), advice=advice)

    def find_breaks(
        self, system: System, observables: System | None, drivers: Mapping[tuple, Driver] | None
    ) -> bool:
        """Tell whether a driver jumps, or has a kink, that steps must land on.

        Those of observables count where these are summarised: between the steps.
        """
        if system.has_breaks(drivers) or observables is None:
            return system.has_breaks(drivers)
        followed = (self.summaries or NOTHING).asks_for(observables.output_names)
        return followed and observables.has_breaks(drivers)

    def run_settings(
        self,
        mode: SaveMode,
        per_component: Tolerances | bool,
        choice: Choice | None = None,
        breakpoints: bool = False,
        own_clock: bool = False,
    ) -> RunSettings:
        """Return what decides which components there are.

        `choice` is that of a system; without one, all observables are kept. `breakpoints` tells
        that there are times that no step crosses, and `own_clock` that runs have spans, step sizes
        or stops of their own.
        """
        return RunSettings(
            method=self.method,
            step_controller=self.step_controller,
            save_mode=mode,
            per_component=per_component,
            first_step_given=self.first_step is not None,
            min_step_given=bool(np.any(self.min_step)),
            breakpoints=breakpoints,
            own_clock=own_clock,
            summaries=(self.summaries or NOTHING).as_now(),
            windowed=self.summary_window() is not None,
            observes=has_observables(self.observables),
            choice=Choice() if choice is None else choice,
            dense_output=bool(self.dense_output),
            events=self.event_rules(),
            differentiates=self.has_sensitivities,
            stage_storage=self.stage_storage,
        )

    def run_dtype(self, y0: Any) -> np.dtype:
        """Return the dtype asked for; by default float32 for float32 data, else float64."""
        if self.dtype is None:
            return np.dtype(np.float32 if getattr(y0, "dtype", None) == np.float32 else np.float64)
        try:
            dtype = np.dtype(self.dtype)
        except TypeError as error:
            raise InvalidOption("dtype", self.dtype, DTYPES) from error
        if dtype not in (np.float32, np.float64):
            raise InvalidOption("dtype", dtype.name, DTYPES)
        return dtype

    def make_backend(
        self, dtype: np.dtype, systems: Sequence[System], run_settings: RunSettings, small: bool
    ) -> Backend:
        """Return the target that runs are compiled for.

        `systems` are all that they compute, the states first; `small` says that runs are few.
        """
        return make_backend(
            self.backend,
            dtype,
            bool(self.fastmath),
            self.lanes,
            one_run=any(one.kind == "compiled" for one in systems),
            n_states=systems[0].n_states,
            small_batch=small,
            free_steps=run_settings.leaves_steps_unjudged() and not systems[0].drivers,
            device=self.device,
            refill=bool(self.refill),
            sliced=self.time_slices,
        )

    def stays_on_device(self, backend: Backend, mode: SaveMode, in_pairs: bool) -> bool:
        """Tell whether results are left where they were computed; `in_pairs`: states are complex.

        Raises
        ------
        InvalidOption
            Where that cannot be.
        """
        if not self.on_device:
            return False
        if not backend.has_own_memory:
            advice = f"Results of backend={backend.name!r} are in the memory of the host anyway."
            raise InvalidOption("on_device", True, advice=advice)
        if in_pairs:
            advice = "Complex states are put together from their parts on the host: leave it out."
            raise InvalidOption("on_device", True, advice=advice)
        if mode is SaveMode.STEPS or self.dense_output:
            advice = (
                "How many steps a run takes is known on the host when it is over: give `t_eval` "
                "or save='final', without `dense_output`."
            )
            raise InvalidOption("on_device", True, advice=advice)
        return True

    def config(self, backend: Backend) -> BatchSolverConfig:
        """Return the settings of the batch kernel."""
        shared = parse_size("max_shared", self.max_shared)
        local = parse_size("max_local", self.max_local)
        return BatchSolverConfig(
            locations=self.locations,
            max_shared_bytes=backend.max_shared_bytes if shared is None else shared,
            max_local_bytes=backend.most_local_bytes if local is None else local,
            block_size=self._checked_block_size(),
            compute_capability=backend.compute_capability,
            max_registers=_within("max_registers", self.max_registers, *REGISTERS),
            min_blocks=_within("min_blocks", self.min_blocks, 1, MAX_BLOCKS),
            card=backend.card,
            verify=bool(self.verify),
            effort=checks.count("effort", self.effort),
            any_block_size=self.block_size is None,
        )

    def _checked_block_size(self) -> int:
        if self.block_size is None:
            return DEFAULT_BLOCK_SIZE
        size = checks.count("block_size", self.block_size)
        if size > MAX_BLOCK_SIZE:
            advice = f"A block has at most {MAX_BLOCK_SIZE} runs."
            raise InvalidOption("block_size", size, advice=advice)
        return size

    def is_adaptive(self) -> bool:
        """Tell whether step sizes are chosen as the run goes."""
        return self.run_settings(SaveMode.FINAL, False).controller_class().adaptive

    def lengths(self) -> dict[str, int]:
        """Return of how many runs each setting is that has one for each, by name."""
        return per_run.lengths_of(**{name: getattr(self, name) for name in OF_RUNS})

    def is_of_all_runs(self) -> bool:
        """Tell whether settings that may have one for each run are numbers, or None."""
        values = (getattr(self, name) for name in OF_RUNS)
        return all(isinstance(value, (float, int, type(None))) for value in values)

    def of_some_runs(self) -> bool:
        """Tell whether something holds for as many runs as it has rows, and no others."""
        return bool(self.lengths()) or np.ndim(self.breakpoints) == 2

    def own_clock(self, span: Span, times: np.ndarray | None, mode: SaveMode) -> bool:
        """Tell whether runs have spans, step sizes, or stops of their own."""
        stops = times is not None and times.ndim == 2 and mode is SaveMode.STOPS
        steps = any(is_of_runs(one) for one in (self.first_step, self.max_step, self.min_step))
        return steps or stops or isinstance(span[0], np.ndarray)

    def checked_min_step(self, adaptive: bool) -> Any:
        """Return the size that no step is below, 0 where there is none; of all runs or of each."""
        given = self.min_step
        if is_of_runs(given):
            step = per_run.positive("min_step", given, zero=True)
        elif type(given) in (int, float) and given == 0:
            return 0.0
        else:
            step = checks.positive("min_step", given)
        if not adaptive and np.any(step):
            advice = "Steps are of one size here, `first_step`: leave it out."
            raise InvalidOption("min_step", given, advice=advice)
        for name in ("max_step", "first_step"):
            other = getattr(self, name)
            if other is None:
                continue
            longer = step > checks.positive(name, other, name == "max_step")
            if np.any(longer):
                one, largest, where = _first_of(longer, step, other)
                raise InvalidProblem(
                    "min_step", f"is {one}{where}, longer than {name}, which is {largest}."
                )
        return step

    def checked_first_step(self, adaptive: bool, span: Span) -> Any:
        """Return the first step size, 0 where it is estimated, as it is with an adaptive one.

        Of all runs, or of each.
        """
        if self.first_step is None:
            if not adaptive:
                choose = "choose a method with an error estimate, such as 'tsit5'"
                if self.method.has_error_estimate:
                    choose = f"leave step_controller={self.step_controller!r} out"
                raise InvalidProblem(
                    "first_step",
                    f"must be given: `{self.method.name}` runs with a fixed step size here. "
                    f"For error control {choose}.",
                )
            return 0.0
        step = checks.positive("first_step", self.first_step)
        length = abs(span[1] - span[0])
        longer = (length > 0) & (step > length)
        if np.any(longer):
            one, most, where = _first_of(longer, step, length)
            raise InvalidProblem(
                "first_step", f"is {one}{where}, longer than t_span, which is {most}."
            )
        return step


def _first_of(wrong: Any, *values: Any) -> tuple[Any, ...]:
    """Return what values are where something is wrong first, and of which run that is."""
    if np.ndim(wrong) == 0:
        return (*values, "")
    run = int(np.argmax(wrong))
    return (*(np.broadcast_to(one, np.shape(wrong))[run] for one in values), f" in run {run}")
