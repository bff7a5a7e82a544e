"""Instructions as the disassembler writes them: labels, opcodes, operands, and source lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property

from attrs import field, frozen

from cubie_planner.assembler.disassembly import UnreadableCode

_OTHER_SECTION = re.compile(r"^\s*\.section\s+(?!\.text\.)")
_SECTION = re.compile(r"^\.text\.(\S+):\s*$")
_LABEL = re.compile(r"^\s*([.$\w]+):\s*$")
_ENTRY = re.compile(r"^\s*\.other\s+(\S+?)\s*,.*\bSTO_CUDA_ENTRY\b")
_INSTRUCTION = re.compile(r"\s*/\*([0-9a-f]{4,})\*/\s+([^;]*);")
_SOURCE = re.compile(r'^\s*//## File "([^"]*)", line (\d+)')
_PREDICATE = re.compile(r"^@(!?)(U?P\w+)\s+")
_TARGET = re.compile(r"`\(([^)]+)\)")
_BRANCH_TARGETS = re.compile(r"BRANCH_TARGETS\s+([^*\"]+)")
# What the disassembler says of an instruction behind its last operand: of a spill, that it is one.
_REMARK = re.compile(r"\(\*.*?\*\)")
# Arithmetic whose results are in pairs of registers, whatever its modifiers.
_PAIRS = re.compile(r"^(D(ADD|MUL|FMA|MNMX)|CS2R|F2F|I2F)$")


@frozen(cache_hash=True)
class Frame:
    """A line of source code."""

    file: str
    line: int


@frozen(eq=False)
class Instruction:
    """One instruction.

    Attributes
    ----------
    address : int
        Bytes from the start of its function.
    predicate : str or None
        The predicate register that decides whether it has an effect, such as ``"P0"``; its time
        is taken all the same.
    negated : bool
        Whether it has an effect where the predicate does not hold.
    name : str
        Opcode with modifiers, such as ``"LDG.E.64"``.
    operands : tuple of str
    targets : tuple of str
        Labels that it names.
    source : tuple of Frame
        The line that it came from, then the line that that was inlined at, and so on outwards.
        Empty where the code was compiled without lines.
    """

    address: int
    predicate: str | None
    negated: bool
    name: str
    operands: tuple[str, ...]
    targets: tuple[str, ...] = ()
    source: tuple[Frame, ...] = field(default=(), repr=False)

    @cached_property
    def opcode(self) -> str:
        """The opcode without modifiers."""
        return self.name.split(".", 1)[0]

    @cached_property
    def modifiers(self) -> tuple[str, ...]:
        return tuple(self.name.split(".")[1:])

    @cached_property
    def is_jump(self) -> bool:
        """Whether it goes to a label and does not come back.

        A CALL of a label without a name of its own is one: so the assembler leaves loops.
        """
        if self.opcode == "CALL":
            return bool(self.targets) and self.targets[0].startswith(".L")
        return self.opcode in ("BRA", "JMP", "BRX", "JMX")

    @cached_property
    def is_call(self) -> bool:
        """Whether it executes a function, and comes back."""
        return self.opcode == "CALL" and not self.is_jump

    @cached_property
    def width(self) -> int:
        """Registers of 32 bits that its result takes, where it is one."""
        if "128" in self.modifiers:
            return 4
        if self.opcode in ("SHF", "USHF"):
            return 1  # of 64 bits that it shifts it keeps a half
        wide = {"64", "WIDE", "U64", "S64"} & set(self.modifiers)
        if _PAIRS.match(self.opcode):
            wide = "32" not in self.modifiers and (
                self.opcode not in ("F2F", "I2F") or self.modifiers[:1] == ("F64",)
            )
        return 2 if wide else 1


@frozen
class Code:
    """The instructions of one section, in order, and where its labels point.

    Attributes
    ----------
    name : str
        Of the kernel or device function.
    instructions : tuple of Instruction
    labels : mapping of str to int
        Position of the instruction that follows the label.
    is_entry : bool
        Whether it is a kernel: what is launched, and not called.
    """

    name: str
    instructions: tuple[Instruction, ...]
    labels: dict[str, int]
    is_entry: bool = False


def read_code(text: str) -> dict[str, Code]:
    """Return the functions of a disassembly by name.

    Raises
    ------
    UnreadableCode
        Where there is no instruction in the text.
    """
    sections: dict[str, list[str]] = {}
    entries: set[str] = set()
    lines: list[str] = []
    for line in text.splitlines():
        section, entry = _SECTION.match(line), _ENTRY.match(line)
        if section:
            lines = sections.setdefault(section[1], [])
        elif entry:
            entries.add(entry[1])
        elif _OTHER_SECTION.match(line):
            lines = []
        lines.append(line)
    codes = {name: _read_section(name, lines, name in entries) for name, lines in sections.items()}
    codes = {name: code for name, code in codes.items() if code.instructions}
    if not codes:
        raise UnreadableCode("The disassembly holds no instructions.", text[:200])
    return codes


def _read_section(name: str, lines: list[str], is_entry: bool) -> Code:
    instructions: list[Instruction] = []
    labels: dict[str, int] = {name: 0}
    known: dict[tuple[str, str], Frame] = {}
    frames: tuple[Frame, ...] = ()
    complete = True  # whether `frames` belongs to an instruction that was read
    for line in lines:
        source, label = _SOURCE.match(line), _LABEL.match(line)
        if source:
            where = source[1], source[2]
            if where not in known:
                known[where] = Frame(where[0], int(where[1]))
            frames = (*(() if complete else frames), known[where])
            complete = False
        elif label:
            labels[label[1]] = len(instructions)
        else:
            found = _INSTRUCTION.match(line)
            if found:
                instructions.append(_read_instruction(line, found, frames))
                complete = True
    # What stands behind the last instruction is the name of the next section.
    size = len(instructions)
    labels = {key: at for key, at in labels.items() if at < size}
    return Code(name, tuple(instructions), labels, is_entry)


def _read_instruction(line: str, found: re.Match, source: tuple[Frame, ...]) -> Instruction:
    address, text = int(found[1], 16), found[2].strip()
    predicate = _PREDICATE.match(text)
    if predicate:
        text = text[predicate.end() :]
    name, _, rest = text.partition(" ")
    targets = _TARGET.findall(rest)
    listed = _BRANCH_TARGETS.search(line) if name[:3] in ("BRX", "JMX") else None
    if listed:
        targets += [label.strip() for label in listed[1].split(",")]
    return Instruction(
        address=address,
        predicate=predicate[2] if predicate else None,
        negated=bool(predicate and predicate[1]),
        name=name,
        operands=tuple(_operands(_REMARK.sub("", rest))),
        targets=tuple(targets),
        source=source,
    )


def _operands(text: str) -> Iterator[str]:
    """Yield what stands between commas, but for those in brackets."""
    depth, start = 0, 0
    for position, character in enumerate(text):
        if character in "[(":
            depth += 1
        elif character in "])":
            depth -= 1
        elif character == "," and depth == 0:
            yield text[start:position].strip().replace(".reuse", "")
            start = position + 1
    if text[start:].strip():
        yield text[start:].strip().replace(".reuse", "")
