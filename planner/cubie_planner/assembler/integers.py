"""Whole-number arithmetic of instructions, followed as far as its operands are known.

Enough to say how often a counted loop runs. A value is a number of 32 bits, or an unknown
start with a known offset (an address on the stack, or one that was a parameter), or not
known; what an instruction that is not listed here writes is not known.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType

from attrs import frozen

from cubie_planner.assembler.instructions import Instruction
from cubie_planner.assembler.registers import halves, is_predicate, is_register, written

BITS = 0xFFFFFFFF
# Special registers that hold the same as long as a thread lives.
_OF_THREAD = frozenset(
    ["SR_CgaCtaId", *(f"SR_{name}.{axis}" for name in ("TID", "CTAID") for axis in "XYZ")]
)
# Sums of more unknown parts are no addresses, but what grows in every round of a loop.
_LONGEST_BASE = 200


@frozen
class Offset:
    """Something that is not known, and a number added to it.

    The base is what is not known, such as ``"c[0x0][0x28]"``, or a sum of such with spaces between.
    """

    base: str
    by: int


Value = int | bool | Offset | None
Registers = Mapping[str, Value]


def results(
    instruction: Instruction, known: Registers, moved: Registers = MappingProxyType({})
) -> dict[str, Value]:
    """Return what each register that an instruction writes holds behind it.

    `moved` is what it loads into registers, or stores to words of memory, where that is known.
    """
    names = written(instruction)
    found: dict[str, Value] = dict.fromkeys(names)
    rule = _RULES.get(instruction.opcode)
    if rule is not None and names:
        found |= {name: value for name, value in rule(instruction, known).items() if name in found}
    found |= moved
    holds = condition(instruction, known)
    if holds is True:
        return found
    before = {name: known.get(name) for name in found}
    if holds is False:
        return before
    return {name: value if value == before[name] else None for name, value in found.items()}


def condition(instruction: Instruction, known: Registers) -> bool | None:
    """Return whether an instruction has an effect, or is a branch that is taken; None: unknown."""
    parts: list[bool | None] = []
    if instruction.predicate:
        parts.append(
            _predicate(("!" if instruction.negated else "") + instruction.predicate, known)
        )
    if instruction.is_jump:
        if "DIV" in instruction.modifiers:
            return None
        given = [o for o in instruction.operands if re.match(r"!?U?P(\d+|T)$", o)]
        parts += [_predicate(operand, known) for operand in given]
    if False in parts:
        return False
    return None if None in parts else True


def _predicate(operand: str, known: Registers) -> bool | None:
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
    elif re.fullmatch(r"0x[0-9a-f]+|\d+", text):
        value = int(text, 0) & BITS
    elif is_register(text):
        value = known.get(text)
    elif re.fullmatch(r"c\[[^\]]*\]\[0x[0-9a-f]+\]", text):
        value = Offset(text, 0)
    else:
        value = None
    if sign < 0 or complement:
        if not isinstance(value, int):
            return None
        value = (-value if sign < 0 else ~value) & BITS
    return value


def _wide(operand: str, known: Registers) -> Value:
    """Return what a source operand of 64 bits is; of an offset, what the lower half is."""
    sign, text = (-1, operand[1:]) if operand.startswith("-") else (1, operand)
    text = text.removesuffix(".64")
    if text in ("RZ", "URZ", "SRZ"):
        return 0
    if re.fullmatch(r"0x[0-9a-f]+|\d+", text):
        return sign * int(text, 0) & (1 << 64) - 1
    if not is_register(text):
        return None
    low, high = (known.get(name) for name in halves(text, 2))
    if isinstance(low, Offset) and sign > 0:
        return low
    if not isinstance(low, int) or not isinstance(high, int):
        return None
    return sign * (low | high << 32) & (1 << 64) - 1


def _split(register: str, value: Value) -> dict[str, Value]:
    low, high = halves(register, 2)
    if not isinstance(value, int):
        return {low: value, high: None}
    return {low: value & BITS, high: value >> 32 & BITS}


def _parts(instruction: Instruction) -> tuple[str, list[str], list[str]]:
    """Return the result, the predicates written beside it, and the operands read."""
    names = list(instruction.operands)
    carries = []
    result = names.pop(0)
    while names and (is_predicate(names[0]) or names[0] in ("PT", "UPT")):
        carries.append(names.pop(0))
    return result, carries, names


def _is_wide(instruction: Instruction) -> bool:
    return "64" in instruction.modifiers


def _added(one: Value, other: Value) -> Value:
    if isinstance(one, int) and isinstance(other, int):
        return one + other
    if isinstance(one, Offset) and isinstance(other, int):
        return Offset(one.base, one.by + _signed(other))
    if isinstance(other, Offset) and isinstance(one, int):
        return Offset(other.base, other.by + _signed(one))
    if isinstance(one, Offset) and isinstance(other, Offset):
        base = " ".join(sorted([*one.base.split(), *other.base.split()]))
        return Offset(base, one.by + other.by) if len(base) < _LONGEST_BASE else None
    return None


def _times(value: Value, factor: int) -> Value:
    if isinstance(value, Offset):
        return Offset(f"{value.base.replace(' ', '+')}*{factor:#x}", value.by * factor)
    return value * factor if isinstance(value, int) else None


def _signed(value: int) -> int:
    value &= BITS
    return value - (1 << 32) if value >> 31 else value


def _add(instruction: Instruction, known: Registers) -> dict[str, Value]:
    result, carries, names = _parts(instruction)
    if _is_wide(instruction):
        wide: Value = 0
        for name in [name for name in names if not _names_predicate(name)]:
            wide = _added(wide, _wide(name, known))
        return _split(result, wide)
    total: Value = 0
    for name in [name for name in names if not _names_predicate(name)]:
        total = _added(total, value_of(name, known))
    total = _with_carry(instruction, total, names, known)
    carried: Value = None
    # A negative operand is added as its complement plus one: the carry then says "no borrow".
    if isinstance(total, int):
        carried = total > BITS
        total &= BITS
    return {result: total} | dict.fromkeys(carries, carried if len(carries) == 1 else None)


def _names_predicate(operand: str) -> bool:
    return bool(re.match(r"!?U?P(\d+|T)$", operand))


def _move(instruction: Instruction, known: Registers) -> dict[str, Value]:
    result, operand = instruction.operands[:2]
    if instruction.opcode in ("S2R", "S2UR"):
        return {result: Offset(operand, 0) if operand in _OF_THREAD else None}
    if _is_wide(instruction):
        return _split(result, _wide(operand, known))
    if instruction.opcode == "CS2R":
        zero = 0 if operand == "SRZ" else None
        return dict.fromkeys(halves(result, instruction.width), zero)
    return {result: value_of(operand, known)}


def _multiply(instruction: Instruction, known: Registers) -> dict[str, Value]:
    if {"WIDE", "HI"} & set(instruction.modifiers):
        return {}
    result, _, names = _parts(instruction)
    one, other, added = (value_of(name, known) for name in names[:3])
    product: Value = None
    if one == 0 or other == 0:
        product = 0
    elif one == 1 or other == 1:
        product = other if one == 1 else one
    elif isinstance(other, int):
        product = _times(one, other)
    elif isinstance(one, int):
        product = _times(other, one)
    total = _with_carry(instruction, _added(product, added), names, known)
    return {result: total & BITS if isinstance(total, int) else total}


def _with_carry(instruction: Instruction, total: Value, names, known: Registers) -> Value:
    """Add what an earlier addition of the lower half carried."""
    if "X" not in instruction.modifiers:
        return total
    carried = [_predicate(name, known) for name in names if _names_predicate(name)]
    if None in carried or not isinstance(total, int):
        return None
    return total + sum(map(bool, carried))


def _half_constant(instruction: Instruction, known: Registers) -> dict[str, Value]:
    """Read a constant of 32 bits that is written as two numbers of half precision."""
    result, *names = instruction.operands
    if names[:2] != ["-RZ", "RZ"] or len(names) < 4:
        return {}
    try:
        high, low = (struct.unpack("<H", struct.pack("<e", float(x)))[0] for x in names[2:4])
    except (ValueError, OverflowError):
        return {}
    return {result: high << 16 | low}


_COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "EQ": lambda a, b: a == b,
    "NE": lambda a, b: a != b,
    "LT": lambda a, b: a < b,
    "LE": lambda a, b: a <= b,
    "GT": lambda a, b: a > b,
    "GE": lambda a, b: a >= b,
}
_COMBINED: dict[str, Callable[[bool, bool], bool]] = {
    "AND": lambda a, b: a and b,
    "OR": lambda a, b: a or b,
    "XOR": lambda a, b: a != b,
}


def _compare(instruction: Instruction, known: Registers) -> dict[str, Value]:
    names = instruction.operands
    comparison = next((m for m in instruction.modifiers if m in _COMPARISONS), None)
    combined = next((m for m in instruction.modifiers if m in _COMBINED), "AND")
    if comparison is None or len(names) < 5:
        return {}
    below = _predicate(names[5], known) if "EX" in instruction.modifiers else None
    found = _compared(instruction, comparison, names[2:4], below, known)
    beside = _predicate(names[4], known)
    values: list[bool | None] = []
    for outcome in (found, None if found is None else not found):
        if combined == "AND" and (outcome is False or beside is False):
            values.append(False)
        elif outcome is None or beside is None:
            values.append(None)
        else:
            values.append(_COMBINED[combined](outcome, beside))
    return dict(zip(names[:2], values, strict=True))


def _compared(instruction, comparison: str, names, below: bool | None, known) -> bool | None:
    modifiers = instruction.modifiers
    compare = _COMPARISONS[comparison]
    if {"U64", "S64"} & set(modifiers):
        low, high = (_wide(name, known) for name in names)
        if not isinstance(low, int) or not isinstance(high, int):
            return None
        shift = 0 if "U64" in modifiers else 1 << 63
        return compare((low + shift) & (1 << 64) - 1, (high + shift) & (1 << 64) - 1)
    one, other = (value_of(name, known) for name in names)
    if isinstance(one, Offset) and isinstance(other, Offset) and one.base == other.base:
        return compare(one.by, other.by) if "EX" not in modifiers else None
    if not isinstance(one, int) or not isinstance(other, int):
        return None
    if "U32" not in modifiers:
        one, other = _signed(one), _signed(other)
    if "EX" not in modifiers:
        return compare(one, other)
    # The upper half of a comparison of 64 bits; `below` is that of the lower half.
    if one != other:
        return compare(one, other)
    return below


def _select(instruction: Instruction, known: Registers) -> dict[str, Value]:
    result, one, other, chosen = instruction.operands[:4]
    holds = _predicate(chosen, known)
    return {} if holds is None else {result: value_of(one if holds else other, known)}


def _combine_predicates(instruction: Instruction, known: Registers) -> dict[str, Value]:
    first, second, *names = instruction.operands
    given = [_predicate(name, known) for name in names[:3]]
    tables = [int(name, 0) for name in names[3:5] if re.match(r"0x", name)]
    if None in given or len(tables) != 2:
        return {}
    row = sum(bool(value) << place for value, place in zip(given, (2, 1, 0), strict=True))
    return {
        name: bool(table >> row & 1) for name, table in zip((first, second), tables, strict=True)
    }


def _shift_and_add(instruction: Instruction, known: Registers) -> dict[str, Value]:
    if instruction.modifiers:
        return {}
    result, _, names = _parts(instruction)
    one, other, by = (value_of(name, known) for name in names[:3])
    if not isinstance(by, int):
        return {}
    shifted = _times(one, 1 << by)
    total = _added(shifted & BITS if isinstance(shifted, int) else shifted, other)
    return {result: total & BITS if isinstance(total, int) else total}


_RULES: dict[str, Callable[[Instruction, Registers], dict[str, Value]]] = {
    **dict.fromkeys(("IADD", "IADD3", "UIADD3", "VIADD", "UIADD"), _add),
    **dict.fromkeys(("MOV", "UMOV", "R2UR", "CS2R", "LDC", "ULDC", "LDCU"), _move),
    **dict.fromkeys(("S2R", "S2UR"), _move),
    **dict.fromkeys(("ISETP", "UISETP"), _compare),
    **dict.fromkeys(("SEL", "USEL"), _select),
    **dict.fromkeys(("PLOP3", "UPLOP3"), _combine_predicates),
    **dict.fromkeys(("LEA", "ULEA"), _shift_and_add),
    **dict.fromkeys(("IMAD", "UIMAD"), _multiply),
    "HFMA2": _half_constant,
}
