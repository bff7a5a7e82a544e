"""One run's integrator: the loop, its algorithm and its controller, composed from options."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from attrs import field, frozen

from cubie.algorithms import (
    DIRKStep,
    ERKStep,
    FIRKStep,
    LowStorageStep,
    MultistepStep,
    RosenbrockStep,
    StepAlgorithm,
    SwitchingStep,
    sums_stages,
)
from cubie.backend import OF_LANES, Backend, FormCosts
from cubie.buffers import BufferRegistry, Layout
from cubie.controllers import CONTROLLERS, OwnController, StepController
from cubie.errors import InvalidOption
from cubie.factory import BuildCache, BuildContext, require_known
from cubie.run.free_steps import may_take_free_steps
from cubie.run.initial_step import EstimatedFirstStep, GivenFirstStep
from cubie.run.loop import IVPLoop
from cubie.run.saving import Choice, SaveMode
from cubie.run.summaries.request import NOTHING, Asked, Tracking, resolve, roughly
from cubie.systems.component import SystemComponent
from cubie.systems.events.component import EventsComponent
from cubie.systems.events.given import Rules
from cubie.systems.events.traced import EventSystems
from cubie.systems.observables.component import ObservablesComponent
from cubie.systems.shapes import Shape, SystemLike
from cubie.tableaus import (
    DIRKTableau,
    ERKTableau,
    FIRKTableau,
    Method,
    MultistepMethod,
    RosenbrockTableau,
    SwitchingMethod,
)


@frozen
class RunSettings:
    """What decides which components there are.

    Attributes
    ----------
    method : Method
    step_controller : str or None
        A name of `CONTROLLERS`; None: that of the method's family where the method
        estimates its error, else "fixed".
    save_mode : SaveMode
    per_component : Tolerances or bool
        What tolerances are of.
    first_step_given, min_step_given : bool
    breakpoints : bool
        There are times that no step crosses.
    own_clock : bool
        Runs have spans, step sizes or stops of their own.
    summaries : Asked
    windowed : bool
        Summaries are of a part of the time.
    observes : bool
        There are observables, kept or not.
    choice : Choice
        Which states and observables are kept.
    dense_output : bool
        The solution is kept as a function of time.
    events : Rules or None
        What is looked for along the solution.
    differentiates : bool
        There are sensitivities.
    stage_storage : {"auto", "vectors", "low_storage"}
        How an explicit method keeps its stages: see `sums_stages`.
    """

    # Compared as an object: hashing its exact coefficients takes longer than a small solve.
    method: Method = field(eq=id)
    step_controller: str | None = None
    save_mode: SaveMode = SaveMode.FINAL
    per_component: Any = False
    first_step_given: bool = False
    min_step_given: bool = False
    breakpoints: bool = False
    own_clock: bool = False
    summaries: Asked = NOTHING
    windowed: bool = False
    observes: bool = False
    choice: Choice = field(factory=Choice)
    dense_output: bool = False
    events: Rules | None = None
    differentiates: bool = False
    stage_storage: str = "auto"

    def controller_class(self) -> type[StepController]:
        """Return the controller these settings ask for.

        Raises
        ------
        InvalidOption
            For an unknown name, an adaptive controller over a method without an error
            estimate, or any over a method that controls its steps.
        """
        if self.method.controls_steps:
            return self._own_controller()
        adaptive = self.method.has_error_estimate
        by_default = self.algorithm_class().default_controller if adaptive else "fixed"
        name = self.step_controller or by_default
        chosen = CONTROLLERS.get(name)
        if chosen is None:
            raise InvalidOption("step_controller", name, CONTROLLERS)
        if chosen.adaptive and not adaptive:
            raise InvalidOption(
                "step_controller",
                name,
                ("fixed",),
                f"`{self.method.name}` has no error estimate to control the step with.",
            )
        return chosen

    def _own_controller(self) -> type[StepController]:
        if self.step_controller is not None:
            raise InvalidOption(
                "step_controller",
                self.step_controller,
                advice=f"`{self.method.name}` chooses the size of its steps by itself. Leave it "
                "out, or choose a method of one step, such as 'rodas5p'.",
            )
        return OwnController

    def leaves_steps_unjudged(self) -> bool:
        """Tell whether nothing is decided by a step of a group: see `cubie.run.free_steps`."""
        adaptive = self.controller_class().adaptive
        followed = bool(self.summaries) or self.events is not None
        return not self.breakpoints and may_take_free_steps(
            self.algorithm_class(), self.method, adaptive, self.save_mode, followed,
            self.dense_output,
        )  # fmt: skip

    def reads_steps(self) -> bool:
        """Tell whether the solution inside steps is asked for, at points that no step lands on."""
        at_roots = self.events is not None and self.events.at_roots
        return self.save_mode is SaveMode.TIMES or at_roots

    def keeps_stages(self) -> bool:
        """Tell whether something but given times is read off the stages of a step when it is over.

        Steps land on these where no stages are kept.
        """
        at_roots = self.events is not None and self.events.at_roots
        return at_roots or self.dense_output or self.summaries.follows

    def sums_stages(self) -> bool:
        """Tell whether steps are made in 2N storage: see `cubie.algorithms.stage_storage`."""
        return sums_stages(self.method, self.stage_storage, self.keeps_stages())

    def algorithm_class(self) -> type[StepAlgorithm]:
        """Return the step algorithm that these settings ask for."""
        return LowStorageStep if self.sums_stages() else algorithm_for(self.method)

    def reads_inside(self) -> bool:
        """Tell whether the solution inside a step is as good as the step, in orders of its size.

        Where step sizes are chosen that is what is held to the tolerances, the error of a step;
        steps of a given size add up to one order less. In 2N storage there is none.
        """
        if self.sums_stages():
            return False
        adaptive = self.controller_class().adaptive
        method = self.method if adaptive else self.method.without_error_estimate()
        wanted = (method.error_order or 0) if adaptive else method.order - 1
        return method.dense_order is not None and method.dense_order >= wanted

    def tracking(self, system: Any, observables: Any = None) -> Tracking | None:
        """Return what is summarised of runs of a system; None if nothing is."""
        if not self.summaries:
            return None
        # Up to an event that ends a step a part of it counts.
        windowed = self.windowed or (self.events is not None and self.events.cuts)
        if isinstance(system, Shape):
            return roughly(self.summaries, windowed)
        names = () if observables is None else _alone(observables).output_names
        found = self.summaries, _alone(system).state_names, names, windowed
        # Where steps are cut at events the time that counts depends on inputs, too.
        joint, cuts = system.joint, self.events is not None and self.events.cuts
        inputs = () if joint is None or joint.of_directions or cuts else joint.inputs
        return resolve(*found, len(inputs))


def _alone(system: Any) -> Any:
    """Return a system without sensitivities, which are solved for in units that are not theirs."""
    return system if system.joint is None else system.joint.base


class SingleIntegratorRun:
    """Own the loop, the algorithm and the controller; know nothing of batches or memory.

    Parameters
    ----------
    system : System or Shape
    settings : RunSettings
    dtype : dtype
    options : mapping
        Options of any component in the tree.
    observables : System or Shape, optional
        Of observables, where the settings say that there are some.
    events : EventSystems, optional
        Of events, where the settings say so.
    form_costs : FormCosts
        Of the target that it is for.

    Raises
    ------
    UnknownOption
        For an option that no component understands.
    """

    def __init__(
        self,
        system: SystemLike,
        settings: RunSettings,
        dtype,
        options: Mapping[str, Any],
        observables: SystemLike | None = None,
        events: EventSystems | None = None,
        form_costs: FormCosts = OF_LANES,
    ):
        self.settings = settings
        self.given = dict(options)  # of components, as they were given
        self._made_of = system, settings, dtype, self.given, observables, events, form_costs
        jumps = settings.events is not None and settings.events.applies
        of_runs = settings.breakpoints, settings.own_clock, jumps
        component = SystemComponent(system, dtype, *of_runs, form_costs)
        self.controller = self._make_controller(settings, dtype, options)
        # An estimate that nobody judges has no buffer to be written to.
        adaptive = self.controller.adaptive
        method = settings.method if adaptive else settings.method.without_error_estimate()
        make_algorithm = settings.algorithm_class()
        tracking = settings.tracking(system, observables)
        self.algorithm = make_algorithm(
            method,
            component,
            dtype,
            options,
            settings.per_component,
            tracking is not None and tracking.follows,
            settings.reads_steps() or settings.dense_output,
            settings.dense_output,
        )
        initial_step = self._make_initial_step(component, dtype, options)
        made_observables = self._make_observables(observables, dtype, component.n_drivers, tracking)
        n_drivers = component.n_drivers
        n_drivers += 0 if made_observables is None else made_observables.n_drivers
        self.loop = IVPLoop(
            component,
            self.algorithm,
            self.controller,
            initial_step,
            settings.save_mode,
            settings.per_component,
            dtype,
            options,
            made_observables,
            settings.choice,
            tracking,
            settings.dense_output,
            self._make_events(events, dtype, n_drivers, component.n_faults),
        )
        require_known(options, self.options())

    def __reduce__(self):
        # Components declare their buffers by functions, which cannot be pickled.
        return SingleIntegratorRun, self._made_of

    def _make_observables(
        self, given: Any, dtype, first_driver: int, tracking: Tracking | None
    ) -> ObservablesComponent | None:
        if not self.settings.observes:
            return None
        system: Any = Shape() if given is None else given
        followed = tracking is not None and bool(tracking.observables)
        breakpoints = self.settings.breakpoints and followed
        return ObservablesComponent(system, dtype, first_driver, breakpoints)

    def _make_events(
        self, systems: EventSystems | None, dtype, first_driver: int, n_faults: int
    ) -> EventsComponent | None:
        rules = self.settings.events
        if rules is None:
            return None
        breakpoints = self.settings.breakpoints
        return EventsComponent(systems, rules, dtype, first_driver, breakpoints, n_faults)

    @staticmethod
    def _make_controller(settings: RunSettings, dtype, options) -> StepController:
        controller = settings.controller_class()(settings.method.error_order, dtype, options)
        controller.bounded_below = settings.min_step_given
        return controller

    def _make_initial_step(self, system: SystemComponent, dtype, options):
        error_order = self.settings.method.error_order
        if self.settings.first_step_given or not self.controller.adaptive or error_order is None:
            return GivenFirstStep(dtype, system.own_clock)
        return EstimatedFirstStep(
            system,
            error_order,
            self.settings.per_component,
            dtype,
            options,
        )

    @property
    def buffer_registry(self) -> BufferRegistry:
        """All buffers of a run."""
        return self.loop.buffer_registry

    def options(self) -> set[str]:
        """Return the names of all options that some component understands."""
        return self.loop.options()

    def build_key(self, backend: Backend, layout: Layout) -> str:
        """Return the digest of all that the loop's device function depends on."""
        return self.loop.build_key(BuildContext(backend, layout, self.loop.name, BuildCache()))

    def device_function(self, backend: Backend, layout: Layout, built: BuildCache) -> Callable:
        """Return the loop's device function; `built` holds those made before."""
        return self.loop.device_functions(BuildContext(backend, layout, self.loop.name, built))


ALGORITHMS: dict[type[Method], type[StepAlgorithm]] = {
    ERKTableau: ERKStep,
    DIRKTableau: DIRKStep,
    FIRKTableau: FIRKStep,
    RosenbrockTableau: RosenbrockStep,
    MultistepMethod: MultistepStep,
    SwitchingMethod: SwitchingStep,
}

# Options that decide which components and buffers there are, and so which other options: also
# which of those behind them.
STRUCTURAL_OPTIONS = ("linear_solver", "preconditioner", "factor_dtype")


def algorithm_for(method: Method) -> type[StepAlgorithm]:
    """Return the class of step algorithm that a method is for.

    Raises
    ------
    InvalidOption
        If there is none.
    """
    for kind, algorithm in ALGORITHMS.items():
        if isinstance(method, kind):
            return algorithm
    raise InvalidOption(
        "method",
        method.name,
        advice=f"There is no step algorithm for a {type(method).__name__} yet.",
    )


def options_of(settings: RunSettings, given: Mapping[str, Any] | None = None) -> frozenset[str]:
    """Return the names of the options a solver with these settings has, whatever its system.

    `given` are options that were chosen: some decide which others there are.
    """
    structure: tuple = ()
    for name in STRUCTURAL_OPTIONS:
        of_a_kind = isinstance((given or {}).get(name), (str, type, np.dtype))
        if given and of_a_kind and name in _options_with(settings, structure):
            structure = (*structure, (name, given[name]))
    return _options_with(settings, structure)


@functools.cache
def _options_with(settings: RunSettings, structure: tuple) -> frozenset[str]:
    run = SingleIntegratorRun(Shape.of(settings), settings, "float64", dict(structure))
    return frozenset(run.options())


def check_options(settings: RunSettings, options: Mapping[str, Any]) -> None:
    """Raise for a value that some component refuses, whatever the system.

    Raises
    ------
    InvalidOption
        Naming the option, what was given and what is allowed.
    """
    SingleIntegratorRun(Shape.of(settings), settings, "float64", options)
