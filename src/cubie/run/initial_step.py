"""How the first step size of a run is found."""

from __future__ import annotations

from collections.abc import Callable

from cubie.backend import maximum, minimum, select, square_root
from cubie.checks import least_tolerance
from cubie.factory import BuildContext, CUDAFactory
from cubie.numerics.error_norm import build_scale, build_size, judged_of, states_in
from cubie.numerics.limits import FIRST_STEP, build_step_limit
from cubie.numerics.power import build_exp2, build_log2
from cubie.run.clock import build_least_step
from cubie.systems.component import SystemComponent


class GivenFirstStep(CUDAFactory):
    """Use the step size the user gave; with `own` that of each run."""

    name = "initial_step"
    phases = ("choose",)
    rhs_evaluations = 0

    def __init__(self, dtype, own: bool = False):
        super().__init__(dtype, {})
        self.own = own

    def facts(self) -> tuple:
        return (self.own,)

    def build(self, context: BuildContext) -> Callable:
        """Return ``choose(memory, launch, t, span, direction, y, p)``."""
        first_step = build_step_limit(context.backend, FIRST_STEP, self.own)

        def given(memory, launch, t, span, direction, state, parameters):
            return first_step(launch)

        return context.backend.device(given)


class EstimatedFirstStep(CUDAFactory):
    """Estimate it from two derivatives (Hairer, Norsett & Wanner I, II.4, algorithm 4.14).

    Parameters
    ----------
    system : SystemComponent
    error_order : int
        Order of the lower formula of the method's pair.
    per_component : bool
        Whether tolerances are given per component.
    dtype : dtype
    options : mapping
    """

    name = "initial_step"
    phases = ("choose",)
    rhs_evaluations = 2

    def __init__(
        self, system: SystemComponent, error_order: int, per_component: bool, dtype, options
    ):
        super().__init__(dtype, options)
        self.n_states = n = system.n_states
        self.k = error_order + 1
        self.per_component = per_component
        self.register_buffer("start_rhs", size=2 * n, phases=("choose",), access_weight=0.01)
        self.register_buffer("start_state", size=n, phases=("choose",), access_weight=0.01)
        self.add_child(system, during="choose")

    def facts(self) -> tuple:
        return (self.n_states, self.k, self.per_component)

    def build(self, context: BuildContext) -> Callable:
        """Return ``choose(memory, launch, t, span, direction, y, p)``."""
        backend, n = context.backend, self.n_states
        constant = backend.constant
        rhs = self.child_functions(context, "system")
        scale = build_scale(backend, n, self.per_component)
        size_of = build_size(backend, self.per_component)
        least = build_least_step(backend)
        log2, exp2 = build_log2(backend), build_exp2(backend)
        alloc_rhs, alloc_state = context.allocator("start_rhs"), context.allocator("start_state")
        enter = context.phase("choose")
        inverse_n, zero, one = (
            constant(1.0 / states_in(n, self.per_component)),
            constant(0.0),
            constant(1.0),
        )
        two = constant(2.0)
        small, hundredth, hundred = constant(1e-5), constant(0.01), constant(100.0)
        first_guess, thousandth = constant(1e-6), constant(1e-3)
        weightless = constant(2.0 * least_tolerance(backend.dtype))
        negligible, tiny, exponent = constant(1e-15), constant(1e-30), constant(1.0 / self.k)
        n_judged = judged_of(n, self.per_component)

        def norm(launch, state, values, at, minus):
            total = state[0] * zero
            for i in range(n_judged):
                size = size_of(state, i)
                weight = scale(launch, i, size, size)
                ratio = (values[at + i] - minus * values[i]) / weight
                # Without an absolute tolerance a state of zero says nothing of a step.
                ratio = select(weight > weightless, ratio, zero)
                total = total + ratio * ratio
            return square_root(total * inverse_n)

        norm = backend.device(norm)

        def choose(memory, launch, t, span, direction, state, parameters):
            enter(memory)
            slopes = alloc_rhs(memory, None)
            probe = alloc_state(memory, None)
            rhs(t, state, parameters, slopes, 0)
            d0 = norm(launch, state, state, 0, zero)
            d1 = norm(launch, state, slopes, 0, zero)
            usable = (d0 >= small) & (d1 >= small)
            h0 = select(usable, hundredth * d0 / maximum(d1, small), first_guess)
            h0 = minimum(h0, span)
            for i in range(n):
                probe[i] = state[i] + h0 * direction * slopes[i]
            rhs(t + h0 * direction, probe, parameters, slopes, n)
            d2 = norm(launch, state, slopes, n, one) / maximum(h0, tiny)
            steepest = maximum(d1, d2)
            flat = steepest <= negligible
            power = exp2(exponent * log2(hundredth / maximum(steepest, negligible)))
            h1 = select(flat, maximum(first_guess, h0 * thousandth), power)
            # Derivatives that overflow the norm leave a step of zero, which would be accepted
            # for ever. How small one may be a long span does not say.
            floor = two * least(minimum(span, one))
            return minimum(maximum(minimum(hundred * h0, h1), floor), span)

        return backend.device(choose)
