"""Whole-number arithmetic of instructions, followed as far as its operands are known.

Enough to say how often a counted loop runs. What an instruction that is not listed here writes is
not known.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from types import MappingProxyType

from cubie_planner.assembler.bits import BIT_RULES
from cubie_planner.assembler.instructions import Instruction
from cubie_planner.assembler.operands import (
    BITS,
    Offset,
    Registers,
    Value,
    as_signed,
    in_halves,
    multiple_of,
    names_predicate,
    parts_of,
    predicate_of,
    sum_of,
    value_of,
    wide_value_of,
)
from cubie_planner.assembler.registers import halves, written

# Special registers that hold the same as long as a thread lives.
_OF_THREAD = frozenset(
    ["SR_CgaCtaId", *(f"SR_{name}.{axis}" for name in ("TID", "CTAID") for axis in "XYZ")]
)


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
            predicate_of(("!" if instruction.negated else "") + instruction.predicate, known)
        )
    if instruction.is_jump:
        if "DIV" in instruction.modifiers:
            return None
        given = [o for o in instruction.operands if re.match(r"!?U?P(\d+|T)$", o)]
        parts += [predicate_of(operand, known) for operand in given]
    if False in parts:
        return False
    return None if None in parts else True


def _is_wide(instruction: Instruction) -> bool:
    return "64" in instruction.modifiers


def _add(instruction: Instruction, known: Registers) -> dict[str, Value]:
    result, carries, names = parts_of(instruction)
    if _is_wide(instruction):
        wide: Value = 0
        for name in [name for name in names if not names_predicate(name)]:
            wide = sum_of(wide, wide_value_of(name, known))
        return in_halves(result, wide)
    total: Value = 0
    for name in [name for name in names if not names_predicate(name)]:
        value = value_of(name, known)
        # A negative operand is added as its complement plus one: the carry then says "no borrow",
        # of nothing as well.
        total = sum_of(total, BITS + 1 if name.startswith("-") and value == 0 else value)
    total = _with_carry(instruction, total, names, known)
    carried: Value = None
    if isinstance(total, int):
        carried = total > BITS
        total &= BITS
    return {result: total} | dict.fromkeys(carries, carried if len(carries) == 1 else None)


def _move(instruction: Instruction, known: Registers) -> dict[str, Value]:
    result, operand = instruction.operands[:2]
    if instruction.opcode in ("S2R", "S2UR"):
        return {result: Offset(operand, 0) if operand in _OF_THREAD else None}
    if _is_wide(instruction):
        return in_halves(result, wide_value_of(operand, known))
    if instruction.opcode == "CS2R":
        zero = 0 if operand == "SRZ" else None
        return dict.fromkeys(halves(result, instruction.width), zero)
    return {result: value_of(operand, known)}


def _multiply(instruction: Instruction, known: Registers) -> dict[str, Value]:
    if "HI" in instruction.modifiers:
        return {}
    result, _, names = parts_of(instruction)
    if "WIDE" in instruction.modifiers:
        return in_halves(result, _wide_product(instruction, names, known))
    one, other, more = (value_of(name, known) for name in names[:3])
    product: Value = None
    if one == 0 or other == 0:
        product = 0
    elif one == 1 or other == 1:
        product = other if one == 1 else one
    elif isinstance(other, int):
        product = multiple_of(one, other)
    elif isinstance(one, int):
        product = multiple_of(other, one)
    total = _with_carry(instruction, sum_of(product, more), names, known)
    return {result: total & BITS if isinstance(total, int) else total}


def _wide_product(instruction: Instruction, names: list[str], known: Registers) -> Value:
    """Return the sum of 64 bits that a product of two numbers of 32 and a third operand make."""
    one, other = (value_of(name, known) for name in names[:2])
    if not isinstance(one, int) or not isinstance(other, int):
        return None
    if "U32" not in instruction.modifiers:
        one, other = as_signed(one), as_signed(other)
    total = sum_of(wide_value_of(names[2], known), one * other)
    return total & (1 << 64) - 1 if isinstance(total, int) else total


def _with_carry(instruction: Instruction, total: Value, names, known: Registers) -> Value:
    """Add what an earlier addition of the lower half carried."""
    if "X" not in instruction.modifiers:
        return total
    carried = [predicate_of(name, known) for name in names if names_predicate(name)]
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
    below = predicate_of(names[5], known) if "EX" in instruction.modifiers else None
    found = _compared(instruction, comparison, names[2:4], below, known)
    beside = predicate_of(names[4], known)
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
        low, high = (wide_value_of(name, known) for name in names)
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
        one, other = as_signed(one), as_signed(other)
    if "EX" not in modifiers:
        return compare(one, other)
    # The upper half of a comparison of 64 bits; `below` is that of the lower half.
    if one != other:
        return compare(one, other)
    return below


def _select(instruction: Instruction, known: Registers) -> dict[str, Value]:
    result, one, other, chosen = instruction.operands[:4]
    holds = predicate_of(chosen, known)
    return {} if holds is None else {result: value_of(one if holds else other, known)}


def _combine_predicates(instruction: Instruction, known: Registers) -> dict[str, Value]:
    first, second, *names = instruction.operands
    given = [predicate_of(name, known) for name in names[:3]]
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
    result, _, names = parts_of(instruction)
    one, other, by = (value_of(name, known) for name in names[:3])
    if not isinstance(by, int):
        return {}
    shifted = multiple_of(one, 1 << by)
    total = sum_of(shifted & BITS if isinstance(shifted, int) else shifted, other)
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
    **BIT_RULES,
}
