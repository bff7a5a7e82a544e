"""Copies between arrays of the host and one block of a device's memory, by way of staging.

A device copies by itself, while a kernel runs, only from and to memory that the system cannot
move: two pieces of it are filled and emptied in turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from cubie.backend.device.driver import Address, Driver

PIECE_BYTES = 8 * 2**20  # large against the cost of a copy's start, small against what is copied
SMALLEST_PIECE = 64 * 1024
MOST_GAP = 4096  # bytes that nobody asked for, copied rather than begin another copy


class Segment(NamedTuple):
    """An array of the host, and where it lies in a block; its last axis may have gaps before it.

    Attributes
    ----------
    offset : int
        Bytes from the start of the block.
    array : ndarray
        Contiguous along its last axis.
    """

    offset: int
    array: np.ndarray


class _Piece(NamedTuple):
    """What is copied together: bytes of a block, and which rows of arrays they are."""

    start: int
    n_bytes: int
    rows: list[Segment]


def pieces_of(segments: Sequence[Segment], most: int) -> list[_Piece]:
    """Cut segments, which come in the order of their offsets, into pieces of at most `most`."""
    found: list[_Piece] = []
    for part in _parts(segments, most):
        end = part.offset + part.array.nbytes
        near = found and part.offset - found[-1].start - found[-1].n_bytes <= MOST_GAP
        if near and end - found[-1].start <= most:
            found[-1].rows.append(part)
            found[-1] = found[-1]._replace(n_bytes=end - found[-1].start)
        else:
            found.append(_Piece(part.offset, part.array.nbytes, [part]))
    return found


def _parts(segments: Sequence[Segment], most: int) -> Iterator[Segment]:
    """Yield rows of arrays, as many together as fit, and parts of rows that do not fit."""
    for offset, array in segments:
        if array.size == 0:
            continue
        whole = array.flags.c_contiguous
        rows = array.reshape(1, -1) if whole else array.reshape(-1, array.shape[-1])
        row_bytes, itemsize = rows.shape[1] * rows.itemsize, rows.itemsize
        together = max(1, most // row_bytes)
        for first in range(0, len(rows), together):
            at, some = offset + first * row_bytes, rows[first : first + together]
            if row_bytes <= most:
                yield Segment(at, some)
                continue
            columns = most // itemsize
            for column in range(0, some.shape[1], columns):
                yield Segment(at + column * itemsize, some[:, column : column + columns])


class Staging:
    """Two pieces of staging memory for one direction, and marks behind their latest copies."""

    def __init__(self, driver: Driver):
        self._driver = driver
        self._memory: list[np.ndarray] = []
        self._marks = [driver.new_event(), driver.new_event()]
        self._copying = [False, False]

    @property
    def n_bytes(self) -> int:
        """Bytes of the host that are held."""
        return sum(memory.nbytes for memory in self._memory)

    def prepare(self, n_bytes: int) -> int:
        """Hold pieces for so many bytes to copy; return the size of a piece."""
        wanted = min(PIECE_BYTES, max(SMALLEST_PIECE, 1 << max(0, n_bytes - 1).bit_length()))
        if not self._memory or self._memory[0].nbytes < wanted:
            for number in range(len(self._memory)):
                self.piece(number)
            while self._memory:
                self._driver.free_staging(self._memory.pop())
            for _ in range(2):
                self._memory.append(self._driver.allocate_staging(wanted))
        return self._memory[0].nbytes

    def piece(self, number: int) -> np.ndarray:
        """Return a piece once nothing is copied from or to it any more."""
        number %= 2
        if self._copying[number]:
            self._driver.wait(self._marks[number])
            self._copying[number] = False
        return self._memory[number]

    def copying(self, number: int, stream: Any) -> None:
        """Remember that a copy from or to a piece has begun."""
        number %= 2
        self._driver.record(self._marks[number], stream)
        self._copying[number] = True

    def close(self) -> None:
        """Give the memory back."""
        while self._memory:
            self._driver.free_staging(self._memory.pop())
        while self._marks:
            self._driver.destroy(self._marks.pop())


def upload(
    driver: Driver, staging: Staging, block: Address, segments: Sequence[Segment], stream: Any
) -> None:
    """Copy arrays to a block; returns when all are in staging memory, or further."""
    pieces = pieces_of(segments, staging.prepare(_extent(segments)))
    for number, piece in enumerate(pieces):
        memory = staging.piece(number)
        for offset, rows in piece.rows:
            _view(memory, offset - piece.start, rows)[...] = rows
        driver.copy_up(block + piece.start, memory[: piece.n_bytes], stream)
        staging.copying(number, stream)


class Download:
    """Copies of a block to arrays, which begin behind all work of a stream so far."""

    def __init__(
        self,
        driver: Driver,
        staging: Staging,
        block: Address,
        segments: Sequence[Segment],
        stream: Any,
    ):
        self._driver, self._staging, self._block = driver, staging, block
        self._stream = stream
        self._pieces = pieces_of(segments, staging.prepare(_extent(segments)))
        for number in range(min(2, len(self._pieces))):
            self._begin(number)

    def _begin(self, number: int) -> None:
        piece, memory = self._pieces[number], self._staging.piece(number)
        self._driver.copy_down(memory[: piece.n_bytes], self._block + piece.start, self._stream)
        self._staging.copying(number, self._stream)

    def finish(self) -> None:
        """Block until all is in the arrays."""
        for number, piece in enumerate(self._pieces):
            memory = self._staging.piece(number)
            for offset, rows in piece.rows:
                rows[...] = _view(memory, offset - piece.start, rows)
            if number + 2 < len(self._pieces):
                self._begin(number + 2)


def fetch(driver: Driver, block: Address, segments: Sequence[Segment]) -> None:
    """Copy parts of a block to arrays, with staging memory of its own."""
    stream, staging = driver.new_stream(), Staging(driver)
    try:
        Download(driver, staging, block, segments, stream).finish()
    finally:
        staging.close()
        driver.destroy(stream)


def _extent(segments: Sequence[Segment]) -> int:
    """Return the bytes from the first to the last of what is copied."""
    if not segments:
        return 0
    return segments[-1].offset + segments[-1].array.nbytes - segments[0].offset


def _view(memory: np.ndarray, at: int, like: np.ndarray) -> np.ndarray:
    """Return the part of staging memory that holds an array."""
    return memory[at : at + like.nbytes].view(like.dtype).reshape(like.shape)
