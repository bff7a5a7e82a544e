"""How often a warp has to go to shared memory: bank conflicts, by looking at every lane.

Shared memory has banks of 4 bytes. A warp's access takes as many wavefronts as the fullest
bank has different words; lanes that read one word share it. Accesses of 8 and 16 bytes are
served for half a warp and a quarter of one at a time.
"""

from collections.abc import Callable, Iterable

from attrs import frozen

from cubie_planner.declarations.buffers import Buffer, BufferError
from cubie_planner.declarations.layouts import Layout
from cubie_planner.gpu.footprint import WORD_BYTES

LANES = 32
BANKS = 32

Access = Callable[[int], tuple[int, int] | None]
"""Row and column that a lane of a warp reads or writes; None for a lane that does not."""


@frozen
class Wavefronts:
    """What one access of a warp takes.

    Attributes
    ----------
    taken : int
        Wavefronts.
    least : int
        Those that it takes without any conflict: of a warp, half or quarter at a time.
    """

    taken: int
    least: int

    @property
    def degree(self) -> float:
        """How many times as long as without conflicts; 1 is free of them."""
        return self.taken / self.least if self.least else 1.0


def wavefronts(addresses: Iterable[int | None], width_bytes: int) -> Wavefronts:
    """Count the wavefronts of one access of a warp.

    Parameters
    ----------
    addresses : iterable of int or None
        Byte at which each lane's access begins, lane after lane; None for a lane without.
    width_bytes : int
        Bytes that a lane reads or writes; more than 16 are several accesses.
    """
    lanes = list(addresses)
    at_once = LANES * WORD_BYTES // max(WORD_BYTES, min(width_bytes, 16))
    taken = least = 0
    for first in range(0, len(lanes), at_once):
        group = [address for address in lanes[first : first + at_once] if address is not None]
        words: dict[int, set[int]] = {}
        for address in group:
            end = address + width_bytes
            for word in range(address // WORD_BYTES, -(-end // WORD_BYTES)):
                words.setdefault(word % BANKS, set()).add(word)
        if group:
            taken += max(map(len, words.values()))
            distinct = len(set().union(*words.values()))
            least += -(-distinct // BANKS)
    return Wavefronts(taken, least)


def bank_conflicts(buffer: Buffer, access: Access, layout: Layout | None = None) -> Wavefronts:
    """Count the wavefronts of a warp's access to a matrix in shared memory.

    Parameters
    ----------
    buffer : Buffer
        With a shape of rows and columns; its start is a multiple of a bank's 4 bytes.
    access : callable
        Row and column by lane, such as `along_row` or `along_column` of the shape.
    layout : Padding or Swizzle, optional
        Instead of that of the buffer.

    Raises
    ------
    BufferError
        When it has no rows and columns, or a lane is outside.
    """
    shape = buffer.shape
    if shape is None or len(shape) != 2:
        raise BufferError(buffer.name, f"bank conflicts are of rows and columns, not of {shape}")
    layout = layout or buffer.layout or Layout()
    addresses: list[int | None] = []
    for lane in range(LANES):
        found = access(lane)
        if found is None:
            addresses.append(None)
            continue
        row, column = found
        if not (0 <= row < shape[0] and 0 <= column < shape[1]):
            raise BufferError(buffer.name, f"lane {lane} is at {found}, outside the shape {shape}")
        addresses.append(layout.position(shape, row, column) * buffer.itemsize)
    return wavefronts(addresses, buffer.itemsize)


def along_row(buffer: Buffer) -> Access:
    """Return the access of lanes to neighbouring columns, going on in the next row."""
    rows, columns = buffer.shape or (0, 0)
    return lambda lane: divmod(lane, columns) if lane < rows * columns else None


def along_column(buffer: Buffer) -> Access:
    """Return the access of lanes to neighbouring rows, going on in the next column."""
    rows, columns = buffer.shape or (0, 0)

    def access(lane: int) -> tuple[int, int] | None:
        column, row = divmod(lane, rows)
        return (row, column) if column < columns else None

    return access
