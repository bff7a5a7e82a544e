"""What the hardware and the launch allow, and the bytes of shared memory that follow."""

from collections.abc import Iterable

from attrs import field, frozen

from cubie_planner.basics import PlannerError, is_integer, round_up
from cubie_planner.declarations.byte_counts import BYTE_LIMITS, as_bytes, told

MAX_TOTAL_BYTES = 2**50
MAX_BLOCK_SIZE = 2**20


class ProblemError(PlannerError, ValueError):
    """The parts of a problem do not fit together.

    Attributes
    ----------
    buffers : tuple of str
        The buffers concerned.
    """

    def __init__(self, message: str, buffers: Iterable[str] = ()):
        super().__init__(message)
        self.buffers = tuple(buffers)


@frozen
class Limits:
    """What the hardware and the launch allow.

    Parameters
    ----------
    max_shared_bytes : int, str or None
        Shared memory one block may use, 49152 or ``"48k"``; None means no limit. Those of a
        device are `gpu.cards.Target.limits`.
    block_size : int
        Runs (threads) per block; each has its own slice.
    compute_capability : (major, minor) or None
        Read by the cost rule of the ``auto`` policy only.
    max_registers : int or None
        Registers that a thread is compiled for at most; None for as many as a block of this size
        leaves. Read by the cost rule only, too.
    card : str or None
        A card of that capability, by its listed name: the cost rule then takes its clock, caches
        and bandwidth instead of those of the usual card.
    max_local_bytes : int, str or None
        Bytes that a run may have in local and persistent arrays together; None means no limit.
        What is beyond goes to global memory, where buffers allow that and "auto" decides; else
        to what other places they allow.
    pad_banks : bool
        Pad the slice of a run to an odd number of words, so that the same element
        of neighbouring runs lies in different banks.

    A block of one run has no neighbours: it needs the bytes of its slice, not one more.
    """

    max_shared_bytes: int | None = field(default=None, converter=as_bytes)
    block_size: int = 1
    compute_capability: tuple[int, int] | None = None
    pad_banks: bool = True
    max_registers: int | None = None
    card: str | None = None
    max_local_bytes: int | None = field(default=None, converter=as_bytes)

    def __attrs_post_init__(self) -> None:
        for name in BYTE_LIMITS:
            limit = getattr(self, name)
            if limit is not None and (not is_integer(limit) or not 0 <= limit <= MAX_TOTAL_BYTES):
                raise ProblemError(
                    f"{name} must be a byte count from 0 to {MAX_TOTAL_BYTES}, or None for no "
                    f"limit; {told(limit)}"
                )
        if not is_integer(self.block_size) or not 1 <= self.block_size <= MAX_BLOCK_SIZE:
            raise ProblemError(
                f"block_size must be an integer from 1 to {MAX_BLOCK_SIZE}, got {self.block_size!r}"
            )
        if not isinstance(self.pad_banks, bool):
            raise ProblemError(f"pad_banks must be True or False, got {self.pad_banks!r}")
        most = self.max_registers
        if most is not None and (not is_integer(most) or most < 1):
            raise ProblemError(
                f"max_registers must be a positive integer, or None for no limit; got {most!r}"
            )
        given = self.compute_capability
        if given is not None:
            pair = tuple(given) if isinstance(given, tuple | list) else ()
            if len(pair) != 2 or not all(is_integer(part) for part in pair):
                raise ProblemError(
                    f"compute_capability must be (major, minor) such as (9, 0), got {given!r}"
                )
            object.__setattr__(self, "compute_capability", pair)
        if self.card is not None and not (isinstance(self.card, str) and given is not None):
            raise ProblemError(
                f"card must be the name of one of the compute capability, got {self.card!r} of "
                f"{given!r}"
            )

    def stride(self, shared_bytes_per_run: int, alignment: int) -> int:
        """Return the distance between the slices of consecutive runs, in bytes."""
        return run_stride(shared_bytes_per_run, alignment, self.pad_banks and self.block_size > 1)

    def slices_start(self, tile_bytes: int, alignment: int) -> int:
        """Return the first byte of the slices: above the tiles, aligned for what is in them."""
        return round_up(tile_bytes, alignment)

    def block_bytes(self, shared_bytes_per_run: int, alignment: int, tile_bytes: int = 0) -> int:
        """Return the shared bytes of a block: its tiles, then a stride per run.

        The only run of a block needs its slice, not one byte more.
        """
        if not shared_bytes_per_run:
            return tile_bytes
        start = self.slices_start(tile_bytes, alignment)
        if self.block_size == 1:
            return start + shared_bytes_per_run
        return start + self.stride(shared_bytes_per_run, alignment) * self.block_size

    def run_capacity(self, alignment: int, tile_bytes: int = 0) -> int | None:
        """Return the most shared bytes a run may use beside tiles; None means no limit."""
        if self.max_shared_bytes is None:
            return None
        left = max(0, self.max_shared_bytes - self.slices_start(tile_bytes, alignment))
        if self.block_size == 1:
            return left
        unit = max(4, alignment)
        units = left // self.block_size // unit
        if self.pad_banks and units and units % 2 == 0:
            units -= 1
        return units * unit


def run_stride(shared_bytes_per_run: int, alignment: int, pad_banks: bool = True) -> int:
    """Return the distance between the shared slices of consecutive runs, in bytes.

    The slice is rounded up to a multiple of `alignment` (at least 4, a bank's width)
    and, with `pad_banks`, to an odd number of those units: equal elements of 32
    consecutive runs then fall into 32 different banks of 4 bytes (or, for wider
    units, into as few wavefronts as their width allows).
    """
    if shared_bytes_per_run == 0:
        return 0
    unit = max(4, alignment)
    units = -(-shared_bytes_per_run // unit)
    if pad_banks and units % 2 == 0:
        units += 1
    return units * unit
