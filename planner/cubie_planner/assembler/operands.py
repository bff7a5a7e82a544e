"""Operands of whole-number instructions, and what is known of them.

A value is a number of 32 bits, or some bits of one, or an unknown start with a known offset (an
address on the stack, one that was a parameter, or that of a table), or not known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from attrs import frozen

from cubie_planner.assembler.instructions import Instruction
from cubie_planner.assembler.registers import halves, is_predicate, is_register

BITS = 0xFFFFFFFF
# Sums of more unknown parts are no addresses, but what grows in every round of a loop.
_LONGEST_BASE = 200
_NUMBER = re.compile(r"0x[0-9a-f]+|\d+")
# A word of a constant bank, and the lower half of the address of something that is named.
_ADDRESS = re.compile(r"\[([^\]]*)\]$")
_BYTES = re.compile(r"-?(0x[0-9a-f]+|\d+)$")
_NAMED = re.compile(r"c\[[^\]]*\]\[0x[0-9a-f]+\]|32@lo\(.*\)")


@frozen
class Offset:
    """Something that is not known, and a number added to it.

    The base is what is not known, such as ``"c[0x0][0x28]"`` or ``"32@lo(table)"``, or a sum of
    such with spaces between.
    """

    base: str
    by: int


@frozen
class Bits:
    """A word of which some bits are known, those of a mask; the others are 0 here."""

    value: int
    mask: int

    @classmethod
    def of(cls, value: Value) -> Bits:
        """Return what bits of a value are known: all, those, or none."""
        if isinstance(value, Bits):
            return value
        return cls(value & BITS, BITS) if isinstance(value, int) else cls(0, 0)

    @property
    def known(self) -> int | Bits | None:
        """The number where all are known, and nothing where none is."""
        if self.mask == BITS:
            return self.value
        return self if self.mask else None


Value = int | bool | Offset | Bits | None
Registers = Mapping[str, Value]


def predicate_of(operand: str, known: Registers) -> bool | None:
    """Return what a predicate is that is read; ``!`` before it says the opposite."""
    bare = operand.lstrip("!")
    value = True if bare in ("PT", "UPT") else known.get(bare)
    if not isinstance(value, bool):
        return None
    return value ^ operand.startswith("!")


def value_of(operand: str, known: Registers) -> Value:
    """Return what a source operand of 32 bits is."""
    text, sign, complement = operand, 1, False
    if text.startswith("-"):
        text, sign = text[1:], -1
    elif text.startswith("~"):
        text, complement = text[1:], True
    text = text.removesuffix(".64")
    value: Value
    if text in ("RZ", "URZ", "SRZ"):
        value = 0
    elif _NUMBER.fullmatch(text):
        value = int(text, 0) & BITS
    elif is_register(text):
        value = known.get(text)
    elif _NAMED.fullmatch(text):
        value = Offset(text, 0)
    else:
        value = None
    if sign < 0 or complement:
        if not isinstance(value, int):
            return None
        value = (-value if sign < 0 else ~value) & BITS
    return value


def wide_value_of(operand: str, known: Registers) -> Value:
    """Return what a source operand of 64 bits is; of an offset, what the lower half is."""
    sign, text = (-1, operand[1:]) if operand.startswith("-") else (1, operand)
    text = text.removesuffix(".64")
    if text in ("RZ", "URZ", "SRZ"):
        return 0
    if _NUMBER.fullmatch(text):
        return sign * int(text, 0) & (1 << 64) - 1
    if not is_register(text):
        return None
    low, high = (known.get(name) for name in halves(text, 2))
    if isinstance(low, Offset) and sign > 0:
        return low
    if not isinstance(low, int) or not isinstance(high, int):
        return None
    return sign * (low | high << 32) & (1 << 64) - 1


def in_halves(register: str, value: Value) -> dict[str, Value]:
    """Return what both registers of a number of 64 bits hold."""
    low, high = halves(register, 2)
    if not isinstance(value, int):
        return {low: value, high: None}
    return {low: value & BITS, high: value >> 32 & BITS}


def parts_of(instruction: Instruction) -> tuple[str, list[str], list[str]]:
    """Return the result, the predicates written beside it, and the operands read."""
    names = list(instruction.operands)
    carries = []
    result = names.pop(0)
    while names and (is_predicate(names[0]) or names[0] in ("PT", "UPT")):
        carries.append(names.pop(0))
    return result, carries, names


def sum_of(one: Value, other: Value) -> Value:
    """Return a sum, which may have more bits than a register."""
    if isinstance(one, int) and isinstance(other, int):
        return one + other
    if isinstance(one, Offset) and isinstance(other, int):
        return Offset(one.base, one.by + as_signed(other))
    if isinstance(other, Offset) and isinstance(one, int):
        return Offset(other.base, other.by + as_signed(one))
    if isinstance(one, Offset) and isinstance(other, Offset):
        base = " ".join(sorted([*one.base.split(), *other.base.split()]))
        return Offset(base, one.by + other.by) if len(base) < _LONGEST_BASE else None
    return None


def multiple_of(value: Value, factor: int) -> Value:
    """Return a product, which may have more bits than a register."""
    if isinstance(value, Offset):
        return Offset(f"{value.base.replace(' ', '+')}*{factor:#x}", value.by * factor)
    return value * factor if isinstance(value, int) else None


def as_signed(value: int) -> int:
    """Return what 32 bits are in two's complement."""
    value &= BITS
    return value - (1 << 32) if value >> 31 else value


def names_predicate(operand: str) -> bool:
    """Tell a predicate that is read, negated or not."""
    return bool(re.match(r"!?U?P(\d+|T)$", operand))


@lru_cache(maxsize=200_000)
def address_of(instruction: Instruction) -> tuple[str, int] | None:
    """Return the registers of an address as they are written, and the bytes added to them."""
    addresses = [found for found in map(_ADDRESS.search, instruction.operands) if found]
    if not addresses:
        return None
    parts = addresses[-1][1].split("+")
    base = [part for part in parts if not _BYTES.match(part) and part not in ("RZ", "URZ")]
    return "+".join(base), sum(int(part, 0) for part in parts if _BYTES.match(part))
