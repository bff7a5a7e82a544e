"""Kernels the cost model is tested with, and the outcomes others published.

Buffers are float32; weights are reads and writes per element and step, counted from
the loops of an explicit kernel of several stages, and of one that works on a large
scratch array in nested iterations.
"""

from __future__ import annotations

from attrs import frozen

from cubie_planner.declarations.buffers import Buffer, Location
from cubie_planner.declarations.problem import Limits, Problem, run_stride
from cubie_planner.gpu.cost import CostModel
from cubie_planner.gpu.footprint import shared_load
from cubie_planner.gpu.launch import Cost

RHS_READS = 3
ADA = (8, 9)
NUMBA_DYNAMIC_LIMIT = 48 * 1024


def explicit(n: int, stages: int = 7, parameters: int = 0) -> list[Buffer]:
    """A kernel of `stages` stages, each reading the derivatives of those before it."""
    buffers = [
        Buffer("state", n, "f4", access_weight=stages + 1),
        Buffer("proposed", n, "f4", access_weight=2),
    ]
    for j in range(stages):
        reads = stages - 1 - j + 2
        lifetime = ((max(j - 1, 0), stages + 1),)
        buffers.append(Buffer(f"k{j}", n, "f4", access_weight=1 + reads, lifetime=lifetime))
    weight = (stages - 1) * (1 + RHS_READS)
    buffers += [
        Buffer("stage_state", n, "f4", access_weight=weight, lifetime=((0, stages - 1),)),
        Buffer("error", n, "f4", access_weight=2, lifetime=((stages, stages + 2),)),
    ]
    if parameters:
        buffers.append(Buffer("parameters", parameters, "f4", access_weight=stages))
    return buffers


def iterated(n: int, work: int, stages: int = 3, outer: int = 3, inner: int = 3) -> list[Buffer]:
    """A kernel whose stages iterate on a scratch array, in an outer and an inner loop."""
    weight = stages * outer * (2 + 2 * inner)
    return [
        Buffer("state", n, "f4", access_weight=stages + 1),
        Buffer("proposed", n, "f4", access_weight=2),
        *(Buffer(f"k{j}", n, "f4", access_weight=4) for j in range(stages)),
        Buffer("base", n, "f4", access_weight=outer * stages * (2 + 3 * inner)),
        Buffer("work", work, "f4", access_weight=weight),
        Buffer("error", n, "f4", access_weight=2),
    ]


def places(buffers: list[Buffer], shared: tuple[str, ...]) -> dict[str, Location]:
    """Everything local but `shared`."""
    return {b.name: Location.SHARED if b.name in shared else Location.LOCAL for b in buffers}


def shrunk_block(buffers: list[Buffer], shared: tuple[str, ...]) -> int:
    """Threads per block as in the published sweep: 256, halved until the block fits."""
    stride = run_stride(shared_load(b for b in buffers if b.name in shared), 4)
    block = 256
    while stride * block > NUMBA_DYNAMIC_LIMIT:
        block //= 2
    return block


def predict(
    model: CostModel, buffers: list[Buffer], shared: tuple[str, ...], dynamic: tuple[str, ...] = ()
) -> Cost:
    """Predicted cost of a placement at the block size the published sweep would use."""
    limits = Limits(
        max_shared_bytes=NUMBA_DYNAMIC_LIMIT,
        block_size=shrunk_block(buffers, shared),
        compute_capability=ADA,
    )
    return model.predict(Problem(buffers, limits), places(buffers, shared), dynamic=dynamic)


@frozen
class Outcome:
    """One published row: what was moved to shared memory, and whether it was faster.

    Attributes
    ----------
    row : str
        The row as published (RTX 4070 SUPER, float32, 206 paired configurations).
    buffers : list of Buffer
        A kernel with the sizes the row gives.
    moved : tuple of str
    moved_bytes : int
        What the row gives, or follows from it.
    won : bool
    dynamic : tuple of str
        Buffers indexed by a run-time stage number, which no compiler promotes.
    stack_bytes : (int, int) or None
        Between which the per-thread local footprint is, where the row gives one.
    """

    row: str
    buffers: list[Buffer]
    moved: tuple[str, ...]
    moved_bytes: int
    won: bool
    dynamic: tuple[str, ...] = ()
    stack_bytes: tuple[int, int] | None = None


STATES = ("state", "proposed")
STAGES = tuple(f"k{j}" for j in range(7))
EVERYTHING = tuple(b.name for b in explicit(1))

PUBLISHED = [
    # The footprint rows give no group; `state` is the one the same project moves later. Of kernels
    # of this kind none has a stack of 3.9 KiB: above 3.5 KiB whole arrays lie there, and it has 6.
    Outcome("local footprint 3.9 KiB: won", explicit(114), ("state",), 456, True, (), (3994, 6600)),
    Outcome(
        "local footprint 3.3 KiB: lost", explicit(107), ("state",), 428, False, (), (3300, 3500)
    ),
    Outcome("below 0.5 KiB: all lost (states)", explicit(11), STATES, 88, False),
    Outcome("below 0.5 KiB: all lost (stages)", explicit(11), STAGES, 308, False),
    Outcome("below 0.5 KiB: all lost (one)", explicit(11), ("stage_state",), 44, False),
    Outcome("state + proposed_state, 1 KiB: won", explicit(128), STATES, 1024, True),
    Outcome("state + proposed_state, 2 KiB: lost", explicit(256), STATES, 2048, False),
    Outcome("implicit work, 2 KiB: won", iterated(128, 512), ("work",), 2048, True),
    Outcome("implicit work, 4 KiB: lost", iterated(256, 1024), ("work",), 4096, False),
    Outcome("explicit stages, 448 B: won", explicit(16), STAGES, 448, True, STAGES),
    Outcome("explicit stages, 1.8 KiB: lost", explicit(64), STAGES, 1792, False, STAGES),
    Outcome("parameters, 512 B: won", explicit(110, 7, 128), ("parameters",), 512, True),
    Outcome("above 2.5 KiB of shared: lost (2.6)", explicit(60), EVERYTHING, 2640, False),
    Outcome("above 2.5 KiB of shared: lost (3.4)", explicit(80), EVERYTHING, 3520, False),
]
