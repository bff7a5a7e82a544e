"""What a card can issue, what the arithmetic needs, and figures that others published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from attrs import frozen

# FP32 results a clock and multiprocessor; CUDA C++ Programming Guide, "Arithmetic Instructions".
FP32_LANES = {(7, 0): 64, (7, 2): 64, (7, 5): 64, (8, 0): 64}
FP32_LANES_OF_OTHERS = 128

LORENZ_RIGHT_HAND_SIDE = 6
"""Two instructions an equation, each a subtraction, a product or a fused one."""


@frozen
class Card:
    """What bounds arithmetic: multiprocessors, FP32 lanes of each, and clock."""

    name: str
    sm_count: int
    lanes: int
    clock_hz: float

    @classmethod
    def of(cls, device: Mapping[str, Any]) -> Card:
        """Return the card of a row of the step ``device``; its highest clock counts."""
        lanes = FP32_LANES.get(tuple(device["capability"]), FP32_LANES_OF_OTHERS)
        return cls(device["name"], device["sm_count"], lanes, device["clock_khz"] * 1e3)

    @property
    def slots_per_second(self) -> float:
        """FP32 instructions of single threads that the card can issue in a second."""
        return self.sm_count * self.lanes * self.clock_hz


V100 = Card("V100", 80, 64, 1.53e9)
A100 = Card("A100", 108, 64, 1.41e9)
RTX_4070_SUPER = Card("RTX 4070 SUPER", 56, 128, 2.475e9)


@frozen
class Published:
    """A time of a kernel that others published, of Lorenz' system in single precision.

    `steps` is None where they are adaptive: then tolerances and spans differ from ours.
    """

    who: str
    case: str
    card: Card
    runs: int
    steps: int | None
    seconds: float

    @property
    def slots_per_step(self) -> float | None:
        """Instructions that the card could have issued in the time, per run and step."""
        if self.steps is None:
            return None
        return self.seconds * self.card.slots_per_second / (self.runs * self.steps)


PUBLISHED = (
    Published("DiffEqGPU.jl Tsit5", "fixed", V100, 8_388_608, 1000, 0.145),
    Published("MPGOS RK4", "fixed", V100, 8_388_608, 1000, 0.094),
    Published("DiffEqGPU.jl", "fixed", A100, 768_000, 1000, 0.0098),
    Published("CuBIE Tsit5", "fixed", RTX_4070_SUPER, 8_388_608, 1000, 0.146),
    Published("DiffEqGPU.jl Tsit5", "fixed", RTX_4070_SUPER, 8_388_608, 1000, 0.144),
    Published("CuBIE Tsit5, tuned", "fixed", RTX_4070_SUPER, 262_144, 1024, 0.00242),
    Published("CuBIE Tsit5", "adaptive", RTX_4070_SUPER, 8_388_608, None, 0.034),
    Published("DiffEqGPU.jl Tsit5", "adaptive", RTX_4070_SUPER, 8_388_608, None, 0.105),
    Published("CuBIE Tsit5, tuned", "adaptive", RTX_4070_SUPER, 262_144, None, 0.000242),
)


def fewest_instructions(a: np.ndarray, b: np.ndarray, states: int, right_hand_side: int) -> int:
    """Return the FP instructions without which no fixed step of a tableau can be done.

    A stage of k terms is k fused products, the first of them a plain one, and one more that adds
    it to the state; with `a` strictly lower triangular of shape (s, s), `b` of shape (s,). The
    last stage of a method whose `b` is the last row of `a` is the new state: its right-hand side
    is that of the next step's first stage.
    """
    last_is_new_state = np.array_equal(a[-1], b)
    rows = [np.count_nonzero(row) for row in a]
    if not last_is_new_state:
        rows.append(np.count_nonzero(b))
    evaluations = len(a) - last_is_new_state
    return evaluations * right_hand_side + states * sum(terms + 1 for terms in rows if terms)
