"""Controllers that aim the scaled error of a step at one.

With L = log2 of the squared error norm, k the order of the error in the step
size, and n the present step, the logarithm of the next step's factor is a
linear combination of L[n], L[n-1], L[n-2] (Soderlind, ACM TOMS 29 (2003) 1-26);
the predictive controller adds the ratio of step sizes (Gustafsson, ACM TOMS 20
(1994) 496-517; Hairer & Wanner II, IV.8, eq. 8.25).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from attrs import field, frozen

from cubie.backend import Backend, larger, maximum, minimum, select, smaller
from cubie.controllers.contract import ControlFunctions, StepController
from cubie.errors import InvalidOption
from cubie.factory import BuildContext
from cubie.numerics.power import build_exp2, build_log2
from cubie.reals import as_float

# Squared norms outside this range act like its ends: factors are bounded anyway.
SMALLEST_SQUARE, LARGEST_SQUARE = 1e-20, 1e20
LARGEST_LOG = 67.0  # of such a norm, in size
LARGEST_EXPONENT = 60.0
NO_PREVIOUS_STEP = -1000.0  # log2 of a previous size that never limits the next


def _within(low: float, high: float, *, or_high: bool = False):
    def check(instance, attribute, value):
        if not (isinstance(value, float) and (low < value < high or (or_high and value == high))):
            bound = f"at most {high:g}" if or_high else f"below {high:g}"
            raise InvalidOption(
                attribute.name, value, advice=f"It must be above {low:g} and {bound}."
            )

    return check


@frozen
class BoundedSettings:
    """Bounds that all adaptive controllers share.

    Attributes
    ----------
    safety : float
        The next step aims at an error of safety**k.
    min_factor, max_factor : float
        Bounds of one change of the step size.
    """

    safety: float = field(
        default=0.9, converter=as_float, validator=_within(0.0, 1.0, or_high=True)
    )
    min_factor: float = field(default=0.2, converter=as_float, validator=_within(0.0, 1.0))
    max_factor: float = field(default=10.0, converter=as_float, validator=_within(1.0, 1e6))


_GAIN = _within(-10.0, 10.0)


@frozen
class PIDSettings(BoundedSettings):
    """Proportional, integral and derivative gains.

    Defaults: Kennedy, Carpenter & Lewis, Appl. Numer. Math. 35 (2000) 177-219:
    exponents 0.49, 0.34, 0.10 over k.
    """

    kp: float = field(default=0.14, converter=as_float, validator=_GAIN)
    ki: float = field(default=0.25, converter=as_float, validator=_GAIN)
    kd: float = field(default=0.10, converter=as_float, validator=_GAIN)


@frozen
class PISettings(BoundedSettings):
    """Proportional and integral gains; defaults are PI.3.4 of Soderlind (2003)."""

    kp: float = field(default=0.4, converter=as_float, validator=_GAIN)
    ki: float = field(default=0.3, converter=as_float, validator=_GAIN)


class AdaptiveController(StepController):
    """Common part: bounds, verdict, history.

    Parameters
    ----------
    error_order : int
        The error estimate shrinks as h**(error_order + 1).
    dtype : dtype
    options : mapping
    """

    adaptive = True
    Settings = BoundedSettings
    history: ClassVar[int] = 0  # values remembered from accepted steps

    def __init__(self, error_order: int | None, dtype, options: Mapping[str, Any]):
        super().__init__(error_order, dtype, options)
        if error_order is None:
            raise ValueError("an adaptive controller needs the order of an error estimate")
        self.k = error_order + 1
        self.register_buffer(
            "controller_history",
            size=self.history,
            persistent=True,
            enabled=self.history > 0,
            access_weight=2.0,
        )

    def facts(self) -> tuple:
        return (self.kind, self.k)

    def _build_suggest(self, context: BuildContext) -> Callable:
        """Return ``suggest(history, h, L)``: log2 of the wished factor, before the bounds."""
        raise NotImplementedError

    def _build_remember(self, context: BuildContext) -> Callable:
        """Return ``remember(history, accept, h, L)``, called after every attempt."""
        raise NotImplementedError

    def _build_forget(self, context: BuildContext) -> Callable:
        """Return ``forget(history, fresh, zero)``, filling the history before the first step."""
        n = self.history

        def forget(history, fresh, zero):
            for i in range(n):
                history[i] = select(fresh, zero, history[i])

        return context.backend.device(forget)

    def _largest_suggestion(self) -> float:
        """Return what no suggestion exceeds in size, for norms in their range."""
        return math.inf

    def _build_within(self, backend: Backend) -> Callable:
        """Return ``within(wish)``: a wish in the range of `exp2`."""
        top = backend.constant(LARGEST_EXPONENT)
        largest = max(self._largest_suggestion(), 0.5 / self.k * LARGEST_LOG)

        def as_it_is(wish):
            return wish

        def cut(wish):
            return minimum(maximum(wish, -top), top)

        return as_it_is if largest - math.log2(self.settings.safety) < LARGEST_EXPONENT else cut

    def build(self, context: BuildContext) -> ControlFunctions:
        backend = context.backend
        constant, device = backend.constant, backend.device
        log2, exp2 = build_log2(backend), build_exp2(backend)
        suggest, remember = self._build_suggest(context), self._build_remember(context)
        forget = self._build_forget(context)
        alloc_history = context.allocator("controller_history")
        enter_begin, enter_control = context.phase("begin"), context.phase("control")
        s = self.settings
        log_safety = constant(math.log2(s.safety))
        low, high, one = constant(s.min_factor), constant(s.max_factor), constant(1.0)
        smallest, largest = constant(SMALLEST_SQUARE), constant(LARGEST_SQUARE)
        within = device(self._build_within(backend))
        zero = constant(0.0)
        elementary = constant(-0.5 / self.k)

        def start(memory, fresh, h):
            enter_begin(memory)
            forget(alloc_history(memory, None), fresh, h * zero)

        def control(memory, h, norm_squared, dt, accept_step):
            enter_control(memory)
            history = alloc_history(memory, None)
            log_norm = log2(minimum(maximum(norm_squared, smallest), largest))
            accept = norm_squared <= one
            # What went before says how a step may grow, not how far a rejected one must
            # shrink: with a history of tiny errors some gains would have it grow.
            wish = select(accept, suggest(history, h, log_norm), elementary * log_norm)
            wish = log_safety + wish
            factor = exp2(within(wish))
            # A step after a rejection does not grow (Hairer, Norsett & Wanner I, II.4),
            # and a rejected one must shrink.
            ceiling = select(accept & (accept_step[0] != 0), high, one)
            factor = smaller(larger(factor, low), ceiling)
            remember(history, accept, h, log_norm)
            dt[0] = h * factor
            accept_step[0] = select(accept, 1, 0)

        return ControlFunctions(device(start), device(control))


class IController(AdaptiveController):
    """Elementary controller: factor = safety * norm**(-1/k), as SciPy's solvers use."""

    kind = "i"

    def _build_suggest(self, context):
        gain = context.backend.constant(-0.5 / self.k)

        def suggest(history, h, log_norm):
            return gain * log_norm

        return context.backend.device(suggest)

    def _largest_suggestion(self) -> float:
        return 0.5 / self.k * LARGEST_LOG

    def _build_remember(self, context):
        def remember(history, accept, h, log_norm):
            pass

        return context.backend.device(remember)


class PIDController(AdaptiveController):
    """Proportional, integral and derivative action on the logarithm of the error."""

    kind = "pid"
    history = 2
    Settings = PIDSettings

    def _exponents(self) -> tuple[float, float, float]:
        """Return the exponents of the norms of steps n, n-1, n-2."""
        s, k = self.settings, self.k
        return -(s.kp + s.ki + s.kd) / k, (s.kp + 2 * s.kd) / k, -s.kd / k

    def _largest_suggestion(self) -> float:
        return 0.5 * sum(map(abs, self._exponents())) * LARGEST_LOG

    def _build_suggest(self, context):
        b1, b2, b3 = (context.backend.constant(0.5 * b) for b in self._exponents())

        def suggest(history, h, log_norm):
            return b1 * log_norm + b2 * history[0] + b3 * history[1]

        return context.backend.device(suggest)

    def _build_remember(self, context):
        def remember(history, accept, h, log_norm):
            history[1] = select(accept, history[0], history[1])
            history[0] = select(accept, log_norm, history[0])

        return context.backend.device(remember)


class PIController(AdaptiveController):
    """Proportional and integral action on the logarithm of the error."""

    kind = "pi"
    history = 1
    Settings = PISettings

    def _largest_suggestion(self) -> float:
        s = self.settings
        return 0.5 * (abs(s.kp + s.ki) + abs(s.kp)) / self.k * LARGEST_LOG

    def _build_suggest(self, context):
        s = self.settings
        b1 = context.backend.constant(-0.5 * (s.kp + s.ki) / self.k)
        b2 = context.backend.constant(0.5 * s.kp / self.k)

        def suggest(history, h, log_norm):
            return b1 * log_norm + b2 * history[0]

        return context.backend.device(suggest)

    def _build_remember(self, context):
        def remember(history, accept, h, log_norm):
            history[0] = select(accept, log_norm, history[0])

        return context.backend.device(remember)


class GustafssonController(AdaptiveController):
    """Predictive controller for stiff problems: the smaller of two suggestions."""

    kind = "gustafsson"
    history = 2  # L and log2 of the step size, of the last accepted step

    def _build_suggest(self, context):
        gain = context.backend.constant(-0.5 / self.k)
        log2 = build_log2(context.backend)

        def suggest(history, h, log_norm):
            elementary = gain * log_norm
            growth = log2(h) - history[1]
            return minimum(elementary, elementary + growth + gain * (log_norm - history[0]))

        return context.backend.device(suggest)

    def _build_remember(self, context):
        log2 = build_log2(context.backend)

        def remember(history, accept, h, log_norm):
            history[0] = select(accept, log_norm, history[0])
            history[1] = select(accept, log2(h), history[1])

        return context.backend.device(remember)

    def _build_forget(self, context):
        never = context.backend.constant(NO_PREVIOUS_STEP)

        def forget(history, fresh, zero):
            history[0] = select(fresh, zero, history[0])
            history[1] = select(fresh, zero + never, history[1])

        return context.backend.device(forget)


ADAPTIVE: tuple[type[AdaptiveController], ...] = (
    IController,
    PIController,
    PIDController,
    GustafssonController,
)
