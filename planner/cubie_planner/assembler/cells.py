"""Words of memory in which code keeps values as it does in registers.

Where registers are short, or a value lies in an array of shared memory, a counter is loaded,
counted and stored again in every round of its loop. A *cell* is such a word: a kind of memory,
the registers of its address, and the bytes that are added to them. Cells with the same registers
are apart where their bytes are; a store by way of other registers may change any of its kind,
unless it is of a number that floating-point arithmetic gave: cells that count hold whole numbers.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from functools import cache, cached_property
from types import MappingProxyType

from attrs import field, frozen

from cubie_planner.assembler.classes import bytes_moved, is_arithmetic
from cubie_planner.assembler.instructions import Instruction
from cubie_planner.assembler.operands import address_of
from cubie_planner.assembler.registers import halves, is_register, written
from cubie_planner.assembler.tables import NO_TABLES, Tables

WORD_BYTES = 4
KINDS = ("shared", "local", "global")

_LOADS = {"LDS": "shared", "LDL": "local", "LDG": "global"}
_STORES = {"STS": "shared", "STL": "local", "STG": "global"}
# Whatever else writes to memory; addresses without a kind may be of any.
_WRITES = {
    **dict.fromkeys(("ATOMS", "LDGSTS", "STSM"), ("shared",)),
    **dict.fromkeys(("ATOMG", "RED", "REDG"), ("global",)),
    **dict.fromkeys(("ST", "ATOM"), KINDS),
}

Place = tuple[str, str]
"""A kind of memory, and the registers of an address as they are written, or what they hold."""

Known = Mapping[Instruction, tuple[str, int]]
"""Addresses of accesses as an unknown start and the bytes that are added to it."""


def kinds_written(instruction: Instruction) -> tuple[str, ...]:
    """Return the kinds of memory that an instruction may write to."""
    kind = _STORES.get(instruction.opcode)
    return _WRITES.get(instruction.opcode, ()) if kind is None else (kind,)


@frozen(eq=False)
class Cells:
    """The words that are looked at, by place and byte, with what each is called.

    Their names stand beside those of registers, and are none of theirs.

    Attributes
    ----------
    names : mapping of Place to mapping of int to str
    of_reals : set of Instruction
        Stores of floating-point results.
    known : mapping of Instruction to (str, int)
        Addresses that are known whatever register they are in: a register may hold something else
        in between, and be given the address again.
    tables : Tables
        Words that nothing writes to.
    """

    names: Mapping[Place, Mapping[int, str]]
    of_reals: Set[Instruction] = frozenset()
    known: Known = MappingProxyType({})
    tables: Tables = NO_TABLES
    _changes: dict[Instruction, dict[str, str | None]] = field(factory=dict, init=False, repr=False)

    @classmethod
    def of(
        cls, blocks: Iterable[Sequence[Instruction]], known: Known, tables: Tables = NO_TABLES
    ) -> Cells:
        """Return all words that some code loads, which is given block by block."""
        found: dict[Place, dict[int, str]] = {}
        of_reals: set[Instruction] = set()
        for block in blocks:
            of_reals.update(_stores_of_reals(block))
        for instruction in itertools.chain.from_iterable(blocks):
            for place, byte, _ in _words(instruction, _LOADS, known):
                kind, base = place[0], place[1].replace(" ", "+")
                found.setdefault(place, {})[byte] = f"{kind}[{base}{byte:+#x}]"
        return cls(found, of_reals, known, tables)

    @classmethod
    def united(cls, several: Iterable[Cells]) -> Cells:
        found: dict[Place, dict[int, str]] = {}
        of_reals: set[Instruction] = set()
        known: dict[Instruction, tuple[str, int]] = {}
        tables = NO_TABLES
        for cells in several:
            tables = cells.tables
            of_reals |= cells.of_reals
            known |= cells.known
            for place, names in cells.names.items():
                found.setdefault(place, {}).update(names)
        return cls(found, of_reals, known, tables)

    def among(self, wanted: Set[str]) -> Cells:
        """Return those of some names."""
        return Cells(
            {
                place: kept
                for place, cells in self.names.items()
                if (kept := {byte: name for byte, name in cells.items() if name in wanted})
            },
            self.of_reals,
            self.known,
            self.tables,
        )

    def loaded(self, instruction: Instruction) -> dict[str, str]:
        """Return the cell that each register is loaded from."""
        return {
            register: self.names[place][byte]
            for place, byte, register in _words(instruction, _LOADS, self.known)
            if byte in self.names.get(place, ())
        }

    def changed(self, instruction: Instruction) -> dict[str, str | None]:
        """Return cells that may hold something else behind it: the operand; None for anything."""
        if instruction not in self._changes:
            self._changes[instruction] = dict(self._changed(instruction))
        return self._changes[instruction]

    @cached_property
    def _bases(self) -> frozenset[str]:
        """The registers of all addresses."""
        return frozenset().union(*map(_registers, self.names))

    def _changed(self, instruction: Instruction) -> Iterator[tuple[str, str | None]]:
        if not self.names:
            return
        registers, kinds = written(instruction), kinds_written(instruction)
        if not kinds and self._bases.isdisjoint(registers):
            return
        own, first, size = _access(instruction, _STORES, self.known)
        for place, cells in self.names.items():
            if not _registers(place).isdisjoint(registers):
                yield from dict.fromkeys(cells.values()).items()
            elif place == own:
                overlapping = range(first - WORD_BYTES + 1, first + size)
                yield from ((cells[byte], None) for byte in overlapping if byte in cells)
            elif place[0] in kinds and instruction not in self.of_reals:
                yield from dict.fromkeys(cells.values()).items()
        for place, byte, operand in _words(instruction, _STORES, self.known):
            if byte in self.names.get(place, ()):
                yield self.names[place][byte], operand

    def lost(self, overwritten: Set[str]) -> set[str]:
        """Return the cells that a function may change, which writes registers and memory."""
        return {
            name
            for place, cells in self.names.items()
            if place[0] in overwritten or not overwritten.isdisjoint(_registers(place))
            for name in cells.values()
        }


NO_CELLS = Cells({})


def _access(
    instruction: Instruction, opcodes: Mapping[str, str], known: Known
) -> tuple[Place | None, int, int]:
    """Return where a load or a store begins, and its bytes; None for what is neither."""
    kind = opcodes.get(instruction.opcode)
    found = None if kind is None else address_of(instruction)
    if kind is None or found is None:
        return None, 0, 0
    base, byte = known.get(instruction, found)
    return (kind, base), byte, bytes_moved(instruction)


def _stores_of_reals(block: Sequence[Instruction]) -> Iterator[Instruction]:
    """Yield the stores of what floating-point arithmetic of the same block gave."""
    reals: set[str] = set()
    for instruction in block:
        if _STORES.get(instruction.opcode) is not None and instruction.operands[-1] in reals:
            yield instruction
        names = written(instruction)
        if is_arithmetic(instruction):
            reals.update(names)
        else:
            reals.difference_update(names)


def _words(
    instruction: Instruction, opcodes: Mapping[str, str], known: Known
) -> Iterator[tuple[Place, int, str]]:
    """Yield the words that a load or a store moves as a whole, each with its register."""
    place, first, size = _access(instruction, opcodes, known)
    if place is None or size < WORD_BYTES:
        return
    operand = instruction.operands[0 if opcodes is _LOADS else -1]
    count = size // WORD_BYTES
    registers = halves(operand, count) if is_register(operand) else [operand] * count
    for number, register in enumerate(registers):
        yield place, first + number * WORD_BYTES, register


@cache
def _registers(place: Place) -> frozenset[str]:
    """Return the registers of an address, both halves of wide ones."""
    found: set[str] = set()
    for part in place[1].split("+"):
        register = part.partition(".")[0]
        if is_register(register):
            found.update(halves(register, 2 if ".64" in part else 1))
    return frozenset(found)
