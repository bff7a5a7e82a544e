"""Tables that a kernel only reads: their bytes, as the disassembler writes them.

How far a loop goes may stand in one. An address is that of a name and some bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from attrs import field, frozen

from cubie_planner.assembler.instructions import Instruction
from cubie_planner.assembler.operands import BITS, Offset, Registers, Value, address_of, sum_of
from cubie_planner.assembler.registers import halves

_SECTION = re.compile(r"^\s*\.section\s+(\S+?),")
_LABEL = re.compile(r"^([.$\w]+):\s*$")
_DATA = re.compile(r"^\s*(?:/\*[0-9a-f]+\*/)?\s*\.(byte|short|word|dword|zero)\s+(.*)$")
_CONSTANT = ".nv.constant3"  # what a program declares constant; others hold parameters
_SECTIONS = (".nv.global.init", _CONSTANT)
_BYTES = {"byte": 1, "short": 2, "word": 4, "dword": 8}
_PARTS = {"U8": (1, False), "S8": (1, True), "U16": (2, False), "S16": (2, True)}
_ADDRESS = re.compile(r"32@lo\((.*)\)$")
_IN_BANK = re.compile(r"c\[0x3\]\[(?:(U?R\d+)(?:\.\w+)*)?\+?(-?0x[0-9a-f]+)?\]$")


@frozen(eq=False)
class Tables:
    """Memory that has its contents before a kernel starts.

    Attributes
    ----------
    contents : bytes
    starts : mapping of str to int
        Where what a name says begins.
    """

    contents: bytes = field(repr=False)
    starts: Mapping[str, int]

    @classmethod
    def of_text(cls, text: str) -> Tables:
        """Read what the disassembler wrote of a cubin with its data."""
        contents, starts, inside = bytearray(), {}, False
        for line in text.splitlines():
            section = _SECTION.match(line)
            if section:
                inside = section[1] in _SECTIONS
            elif inside:
                label, data = _LABEL.match(line), _DATA.match(line)
                if label:
                    starts[label[1]] = len(contents)
                elif data:
                    contents += _bytes_of(data[1], data[2])
        return cls(bytes(contents), starts)

    def loaded(self, instruction: Instruction, known: Registers) -> dict[str, Value]:
        """Return the registers that an instruction loads from a table, where that is known.

        The assembler marks what it knows that nothing writes to as CONSTANT.
        """
        place = self._place(instruction, known)
        if place is None:
            return {}
        size, signed = next((_PARTS[m] for m in instruction.modifiers if m in _PARTS), (4, False))
        names = halves(instruction.operands[0], instruction.width)
        words = [self._word(place[0], place[1] + n * size, size, signed) for n in range(len(names))]
        return dict(zip(names, words, strict=True))

    def _place(self, instruction: Instruction, known: Registers) -> tuple[str, int] | None:
        """Return the name and the bytes behind it that an instruction loads from."""
        if instruction.opcode == "LDG" and "CONSTANT" in instruction.modifiers:
            place = address_of(instruction)
            if place is None:
                return None
            start: Value = place[1]
            for register in place[0].split("+"):
                start = sum_of(start, known.get(register.removesuffix(".64")))
            named = _ADDRESS.match(start.base) if isinstance(start, Offset) else None
            return None if named is None or not isinstance(start, Offset) else (named[1], start.by)
        found = None
        if instruction.opcode in ("LDC", "ULDC", "LDCU"):
            found = _IN_BANK.match(instruction.operands[-1])
        if found is None:
            return None
        by = known.get(found[1]) if found[1] else 0
        return (_CONSTANT, by + int(found[2] or "0", 0)) if isinstance(by, int) else None

    def _word(self, name: str, by: int, size: int, signed: bool) -> int | None:
        if name not in self.starts:
            return None
        first = self.starts[name] + by
        if not 0 <= first <= len(self.contents) - size:
            return None
        found = int.from_bytes(self.contents[first : first + size], "little", signed=signed)
        return found & BITS


NO_TABLES = Tables(b"", {})


def _bytes_of(kind: str, numbers: str) -> bytes:
    if kind == "zero":
        return bytes(int(numbers, 0))
    return b"".join(int(n, 0).to_bytes(_BYTES[kind], "little") for n in numbers.split(","))
