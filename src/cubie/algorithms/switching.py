"""Steps of one of two methods, as each run is stiff or not: see `StiffnessSettings`.

Runs begin with the explicit method. Its last two stages show the largest rate of the system; where
steps are as long as it lets them be, again and again, stability chooses them and no longer the
tolerance, and the run goes over to the Rosenbrock method (Hairer & Wanner II, IV.2). There the
rate is found by the power method on differences of the right-hand side, one a step, that goes on
from the direction that the step before came to (Sommeijer, Shampine & Verwer, J. Comput. Appl.
Math. 88 (1998) 315-326, section 3); where steps are so short that the explicit method could make
them, again and again, the run goes back (as Petzold's code does, SIAM J. Sci. Stat. Comput. 4
(1983) 136-148). Both are methods of one step with the same order of error estimate: nothing else
changes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from attrs import field, frozen

from cubie.algorithms.contract import OF_ITERATIONS, Proposed, StepAlgorithm, StepFunctions
from cubie.algorithms.erk import ERKStep
from cubie.algorithms.reading import ReadingFunctions, as_one_polynomial, of_either
from cubie.algorithms.rosenbrock import RosenbrockStep
from cubie.backend import absolute, any_lane, is_finite, select, square_root
from cubie.controllers.adaptive import within
from cubie.errors import InvalidOption
from cubie.factory import BuildContext
from cubie.numerics.error_norm import build_scale
from cubie.reals import as_float, as_int
from cubie.systems.mass import is_identity, mass_entries
from cubie.tableaus import SwitchingMethod

# What a lane carries, real numbers: whether it is stiff; how many steps in a row said that it is
# the other; how many then did not; h times the rate, squared, of the present step.
STIFF, FOR, AGAINST, RATE = range(4)
N_SWITCH = 4
# So many steps that are not limited by stability make those before forgotten.
FORGOTTEN = 6


def _count(instance, attribute, value):
    if type(value) is not int or not 1 <= value <= 1000:
        raise InvalidOption(attribute.name, value, advice="It must be an int from 1 to 1000.")


@frozen
class StiffnessSettings:
    """When a run goes over to the other method.

    Attributes
    ----------
    stiff_above : float
        An accepted step of the explicit method says that the run is stiff if its size times the
        largest rate is above this part of what the method is stable for.
    stiff_steps : int
        So many such steps, with fewer than six others in between, make a run stiff.
    nonstiff_below : float
        A step of the implicit method says that the run is not stiff if it is below this part.
    nonstiff_steps : int
        So many of them in a row end it.
    """

    stiff_above: float = field(
        default=0.8, converter=as_float, validator=within(0.7, 2.0, or_high=True)
    )
    stiff_steps: int = field(default=15, converter=as_int, validator=_count)
    nonstiff_below: float = field(
        default=0.5, converter=as_float, validator=within(0.0, 0.7, or_high=True)
    )
    nonstiff_steps: int = field(default=5, converter=as_int, validator=_count)


class NonstiffStep(ERKStep):
    """The explicit method of two."""

    name = "nonstiff"
    prefix = "nonstiff_"
    shows_rate = True


class StiffStep(RosenbrockStep):
    """The implicit method of two."""

    name = "stiff"


class SwitchingStep(StepAlgorithm):
    """One step of either method, in every lane of that which its run has come to.

    Raises
    ------
    InvalidOption
        With a mass matrix.
    """

    Settings = StiffnessSettings
    settings: StiffnessSettings
    tableau: SwitchingMethod
    default_controller = "i"
    # What the implicit method writes lives from the first two on.
    phases = (
        "start", "error_estimate", "solution", "measure", "nonstiff", "merge", "inside", "commit",
    )  # fmt: skip
    entries = {  # noqa: RUF012
        "start": ("start",),
        "step": ("error_estimate", "solution", "measure", "nonstiff", "merge"),
        "inside": ("inside",),
        "commit": ("commit",),
    }

    def _compose(self) -> None:
        mass = mass_entries(self.n_states, getattr(self.system.system, "mass", None))
        if not is_identity(mass, self.n_states):
            raise InvalidOption(
                "method",
                self.tableau.name,
                advice="Its explicit method takes no mass matrix. Choose an implicit method, such "
                f"as {self.tableau.stiff.name!r} or 'bdf'.",
            )
        given = (
            self.system, self.buffer_registry.dtype, self._options, self.per_component,
            self.followed, self.is_read, self.is_recorded,
        )  # fmt: skip
        self.nonstiff = NonstiffStep(self.tableau.nonstiff, *given)
        self.stiff = StiffStep(self.tableau.stiff, *given)
        others = {"start": "start", "inside": "inside", "commit": "commit"}
        for part, phase in ((self.stiff, "solution"), (self.nonstiff, "nonstiff")):
            self.add_child(part, during={**others, "step": phase})
        self.add_child(self.system, during="measure")
        self._count_work()
        self._register_buffers()

    def _count_work(self) -> None:
        nonstiff, stiff, self.iterates = self.nonstiff, self.stiff, self.stiff.iterates
        self.counted_in = f"stiff.{stiff.counted_in}" if self.iterates else "measure"
        self.rhs_per_start, self.rhs_per_step = nonstiff.rhs_per_start, nonstiff.rhs_per_step
        # At the end of the step, and beside it.
        self.rhs_per_stiff_step = stiff.rhs_per_step + 2
        self.factorizations_per_stiff_step = stiff.factorizations_per_step

    def _register_buffers(self) -> None:
        n = self.n_states
        self.register_buffer("switch", N_SWITCH, persistent=True, access_weight=4.0)
        # The direction in which the right-hand side changes most.
        self.register_buffer("steepest", n, persistent=True, access_weight=2.0)
        # Derivatives at the end of a stiff step, which an explicit one may begin with.
        until_commit = {"phases": (("measure", "commit"),), "persistent": True}
        self.register_buffer("slopes_at_end", n, access_weight=2.0, **until_commit)
        # What the explicit method proposes; before that, the place beside the end, and derivatives.
        for name, made in (("nonstiff_state", "solution"), ("nonstiff_error", "error_estimate")):
            used = "measure", (f"nonstiff.{made}", "merge")
            self.register_buffer(name, n, phases=used, access_weight=4.0)

    @property
    def jacobians_per_stiff_step(self) -> int:  # pyright: ignore
        return self.stiff.jacobians_per_step

    @property
    def counts(self) -> tuple[str, ...]:
        return (*OF_ITERATIONS, "stiff")

    @property
    def n_pieces(self) -> int:
        return max(self.nonstiff.n_pieces, self.stiff.n_pieces)

    def facts(self) -> tuple:
        kept = (self.is_recorded, FORGOTTEN)
        return (self.tableau.stable_until, self.n_states, self.per_component, *kept)

    def carried_vectors(self, context: BuildContext) -> list[tuple[Callable, int]]:
        own = self.nonstiff.own_context(context.within(self.nonstiff.name))
        return [(context.allocator("steepest"), 1), *self.nonstiff.carried_vectors(own)]

    def build_inside(self, context: BuildContext, theta: float) -> Callable:
        parts = []
        for part in (self.nonstiff, self.stiff):
            own = part.own_context(context.within(part.name))
            parts.append(part.build_inside(own, theta))
        nonstiff, stiff = parts
        alloc_switch, zero = context.allocator("switch"), context.backend.constant(0.0)

        def inside(memory, h, state, i):
            is_stiff = alloc_switch(memory, None)[STIFF] > zero
            value, slope = nonstiff(memory, h, state, i)
            stiff_value, stiff_slope = stiff(memory, h, state, i)
            return select(is_stiff, stiff_value, value), select(is_stiff, stiff_slope, slope)

        return context.backend.device(inside)

    @property
    def n_coefficients(self) -> int:
        return self._place_of_stiff + self.stiff.n_coefficients

    @property
    def centres(self) -> tuple[float, ...]:
        # The first centres of more are those of fewer.
        return max(self.nonstiff.centres, self.stiff.centres, key=len)

    @property
    def _place_of_stiff(self) -> int:
        return len(self.centres) if self.is_recorded else self.nonstiff.n_coefficients

    def build_reading(self, context: BuildContext, first: int = 0) -> ReadingFunctions:
        backend, n, made = context.backend, self.n_states, []
        places = first, first + self._place_of_stiff * n
        for part, place in zip((self.nonstiff, self.stiff), places, strict=True):
            own = part.own_context(context.within(part.name))
            made.append(part.build_reading(own, place))
        switch, zero = context.allocator("switch"), backend.constant(0.0)

        def is_stiff(memory):
            return switch(memory, None)[STIFF] > zero

        found = of_either(backend, backend.device(is_stiff), *made)
        if self.is_recorded:
            sizes = self.nonstiff.n_coefficients * n, self.stiff.n_coefficients * n
            found = as_one_polynomial(backend, is_stiff, found, places, sizes)
        return found

    def build(self, context: BuildContext) -> StepFunctions:
        make = (self._build_start, self._build_step, self._build_commit)
        return StepFunctions(*(context.backend.device(build(context)) for build in make))

    def _build_start(self, context: BuildContext) -> Callable:
        n, n_switch, zero = self.n_states, N_SWITCH, context.backend.constant(0.0)
        start_nonstiff = self.child_functions(context, "nonstiff").start
        alloc_switch, alloc_steepest = context.allocator("switch"), context.allocator("steepest")
        enter = context.phase("start")

        def start(memory, fresh, t, state, parameters):
            enter(memory)
            start_nonstiff(memory, fresh, t, state, parameters)
            switch, steepest = alloc_switch(memory, None), alloc_steepest(memory, None)
            for k in range(n_switch):
                switch[k] = select(fresh, zero, switch[k])
            for i in range(n):
                steepest[i] = select(fresh, zero, steepest[i])

        return start

    def _build_step(self, context: BuildContext) -> Callable:
        backend = context.backend
        stiff, nonstiff = (self.child_functions(context, name) for name in ("stiff", "nonstiff"))
        step_stiff, step_nonstiff = stiff.step, nonstiff.step
        measure = self._build_measure(context)
        scale = build_scale(backend, self.n_states, self.per_component)
        own = self.nonstiff.own_context(context.within("nonstiff"))
        rate = self.nonstiff.build_rate(own, scale)
        merge, report = self._build_merge(context), self._build_report(context)
        alloc_switch = context.allocator("switch")
        alloc_state = context.allocator("nonstiff_state")
        alloc_error = context.allocator("nonstiff_error")
        enter = {name: context.phase(name) for name in self.entries["step"]}
        enter_error, enter_solution = enter["error_estimate"], enter["solution"]
        enter_measure, enter_merge = enter["measure"], enter["merge"]
        enter_nonstiff, zero = enter["nonstiff"], backend.constant(0.0)

        def step(memory, launch, t, h, state, parameters, proposed):
            switch = alloc_switch(memory, None)
            is_stiff = switch[STIFF] > zero
            failure = select(is_stiff, 0, 0)
            enter_error(memory)
            enter_solution(memory)
            if any_lane(is_stiff):
                failure = step_stiff(memory, launch, t, h, state, parameters, proposed)
            enter_measure(memory)
            counters = proposed.counters
            other = Proposed(alloc_state(memory, None), alloc_error(memory, None), counters)
            if any_lane(is_stiff):
                found = measure(memory, launch, t + h, h, parameters, proposed.state, other)
                switch[RATE] = select(is_stiff, found, switch[RATE])
            report(is_stiff, counters)
            enter_nonstiff(memory)
            if any_lane(~is_stiff):
                step_nonstiff(memory, launch, t, h, state, parameters, other)
                found = rate(memory, launch, h, state, other.state)
                switch[RATE] = select(is_stiff, switch[RATE], found)
                enter_merge(memory)
                merge(is_stiff, other, proposed)
            return select(is_stiff, failure, 0)

        return step

    def _build_report(self, context: BuildContext) -> Callable:
        """Count a stiff step, and what was iterated in it."""

        def direct(is_stiff, counters):
            counters[0], counters[1] = select(is_stiff, 0, 0), select(is_stiff, 0, 0)
            counters[2] = select(is_stiff, 1, 0)

        def iterative(is_stiff, counters):
            counters[0] = select(is_stiff, 0, 0)
            counters[1] = select(is_stiff, counters[1], 0)
            counters[2] = select(is_stiff, 1, 0)

        return context.backend.device(iterative if self.iterates else direct)

    def _build_merge(self, context: BuildContext) -> Callable:
        """Take what the explicit method proposes, in lanes that are not stiff."""
        n, n_errors = self.n_states, self.n_states * self.n_error_estimates

        def merge(is_stiff, other, proposed):
            for i in range(n):
                proposed.state[i] = select(is_stiff, proposed.state[i], other.state[i])
            for i in range(n_errors):
                proposed.error[i] = select(is_stiff, proposed.error[i], other.error[i])

        return context.backend.device(merge)

    def _build_measure(self, context: BuildContext) -> Callable:
        """Return what makes one step of the power method: h times the largest rate, squared.

        It looks beside the end of the step, as far as the tolerances there are, or the root of what
        is rounded. A direction that is not finite is forgotten, and the rate is then unknown: so
        large that the run stays with the implicit method.
        """
        backend, n = context.backend, self.n_states
        rhs = self.child_functions(context, "system")
        scale = build_scale(backend, n, self.per_component)
        root = backend.constant(float(np.sqrt(np.finfo(backend.dtype).eps)))
        alloc_steepest = context.allocator("steepest")
        alloc_slopes, alloc_switch = context.allocator("slopes_at_end"), context.allocator("switch")
        zero, one, unknown = backend.constant(0.0), backend.constant(1.0), backend.constant(1e20)
        inverse_n = backend.constant(1.0 / n)

        def weigh(launch, state, i):
            weight = scale(launch, i, state[i], state[i]) + root * absolute(state[i])
            return select(weight > zero, weight, one)

        weigh = backend.device(weigh)

        def measure(memory, launch, t, h, parameters, state, scratch):
            steepest, slopes = alloc_steepest(memory, None), alloc_slopes(memory, None)
            is_stiff = alloc_switch(memory, None)[STIFF] > zero
            place, beside = scratch.state, scratch.error
            rhs(t, state, parameters, slopes, 0)
            known = h * zero
            for i in range(n):
                known = known + absolute(steepest[i])
            size = h * zero
            for i in range(n):
                place[i] = select(known > zero, steepest[i], slopes[i])
                part = place[i] / weigh(launch, state, i)
                size = size + part * part
            size = square_root(size * inverse_n)
            usable = (size > zero) & is_finite(size)
            for i in range(n):
                place[i] = state[i] + place[i] / select(usable, size, one)
            rhs(t, place, parameters, beside, 0)
            total = h * zero
            for i in range(n):
                change = beside[i] - slopes[i]
                part = change / weigh(launch, state, i)
                total = total + part * part
            found = h * h * total * inverse_n
            usable = usable & is_finite(found)
            for i in range(n):
                change = select(usable, beside[i] - slopes[i], zero)
                steepest[i] = select(is_stiff, change, steepest[i])
            return select(usable, found, unknown)

        return backend.device(measure)

    def _build_commit(self, context: BuildContext) -> Callable:
        backend, settings = context.backend, self.settings
        commit_nonstiff = self.child_functions(context, "nonstiff").commit
        own = self.nonstiff.own_context(context.within("nonstiff"))
        resume = self.nonstiff.build_resume(own)
        alloc_switch, alloc_slopes = context.allocator("switch"), context.allocator("slopes_at_end")
        most = self.tableau.stable_until
        above = backend.constant((settings.stiff_above * most) ** 2)
        below = backend.constant((settings.nonstiff_below * most) ** 2)
        enough, enough_back = settings.stiff_steps, settings.nonstiff_steps
        zero, one, forgotten = backend.constant(0.0), backend.constant(1.0), FORGOTTEN
        enter = context.phase("commit")

        def commit(memory, accept):
            enter(memory)
            switch = alloc_switch(memory, None)
            is_stiff = switch[STIFF] > zero
            if any_lane(~is_stiff):
                commit_nonstiff(memory, accept)
            rate = switch[RATE]
            says = select(is_stiff, rate, -rate) < select(is_stiff, below, -above)
            against = select(says, zero, switch[AGAINST] + one)
            # In a stiff run one other step is enough to count anew.
            forgets = is_stiff | (against >= forgotten)
            count = select(says, switch[FOR] + one, select(forgets, zero, switch[FOR]))
            over = count >= select(is_stiff, enough_back, enough)
            switched = accept & over
            count, against = select(over, zero, count), select(over, zero, against)
            switch[FOR] = select(accept, count, switch[FOR])
            switch[AGAINST] = select(accept, against, switch[AGAINST])
            back = switched & is_stiff
            if any_lane(back):
                resume(memory, back, alloc_slopes(memory, None))
            switch[STIFF] = select(switched, select(is_stiff, zero, one), switch[STIFF])

        return commit
