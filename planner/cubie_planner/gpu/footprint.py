"""What buffers take and how often they are touched, before anything is placed."""

from __future__ import annotations

from collections.abc import Iterable

from cubie_planner.basics import round_up
from cubie_planner.declarations.buffers import Buffer
from cubie_planner.declarations.lifetimes import peak_load

WORD_BYTES = 4


def accesses(buffer: Buffer) -> float:
    """Reads and writes of a run and step: the weight is per element."""
    return buffer.access_weight * buffer.n_elements if buffer.enabled else 0.0


def words_per_element(buffer: Buffer) -> int:
    """Registers, banks and wavefronts an element takes; a narrow one still takes one."""
    return -(-buffer.itemsize // WORD_BYTES)


def own_bytes(buffer: Buffer) -> int:
    """Bytes a buffer adds where it lives: a view has those of its parent."""
    return 0 if buffer.alias_required else buffer.size_bytes


def shared_load(buffers: Iterable[Buffer]) -> int:
    """Shared bytes alive at once, each buffer rounded up to its alignment."""
    return peak_load((b, round_up(own_bytes(b), b.alignment)) for b in buffers)


def live_words(buffers: Iterable[Buffer]) -> int:
    """Registers the values alive at once would take."""
    own = (b for b in buffers if own_bytes(b))
    return peak_load((b, b.n_elements * words_per_element(b)) for b in own)
