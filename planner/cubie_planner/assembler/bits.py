"""Instructions that shift bits, and combine or move them."""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Callable, Mapping

from cubie_planner.assembler.instructions import Instruction
from cubie_planner.assembler.operands import (
    BITS,
    Bits,
    Registers,
    Value,
    as_signed,
    parts_of,
    value_of,
)
from cubie_planner.assembler.registers import is_register

_BYTE = 0xFF


def _look_up(instruction: Instruction, known: Registers) -> dict[str, Value]:
    """Combine three words bit by bit, as a table of eight bits says.

    A predicate before the result tells whether any bit of it is one, or a predicate at the end is.
    """
    told, result, names = _of_look_up(instruction)
    if instruction.modifiers != ("LUT",) or len(names) < 4:
        return {}
    table = value_of(names[3], known)
    if not isinstance(table, int):
        return {}
    words = [Bits.of(value_of(name, known)) for name in names[:3]]
    # A bit that is not known may not matter: with nothing and with all ones it is then the same.
    choices = [{word.value, word.value | BITS & ~word.mask} for word in words]
    found = [_combined(each, table) for each in itertools.product(*choices)]
    mask = functools.reduce(operator.and_, (~(found[0] ^ other) for other in found), BITS)
    bits = Bits(found[0] & mask, mask)
    is_any = True if bits.value else False if mask == BITS else None
    if names[4:] not in (["!PT"], ["!UPT"]):
        is_any = None
    values: dict[str, Value] = {result: bits.known}
    if told:
        values[told] = is_any
    return values


def _of_look_up(instruction: Instruction) -> tuple[str, str, list[str]]:
    """Return the predicate that is written, if any, the result, and the operands read."""
    first, *others = instruction.operands
    if is_register(first) or first in ("RZ", "URZ"):
        return "", first, others
    return first, others[0], others[1:]


def _combined(words: tuple[int, ...], table: int) -> int:
    found = 0
    for row in range(8):
        if table >> row & 1:
            bits = BITS
            for word, place in zip(words, (2, 1, 0), strict=True):
                bits &= word if row >> place & 1 else ~word
            found |= bits
    return found


def _funnel_shift(instruction: Instruction, known: Registers) -> dict[str, Value]:
    """Shift 64 bits, of which the last operand is the upper half, and keep one half of them."""
    modifiers = set(instruction.modifiers)
    result, _, names = parts_of(instruction)
    low, by, high = (value_of(name, known) for name in names[:3])
    if "L" in modifiers and "HI" not in modifiers:
        high = 0  # nothing of it comes into the lower half
    if not isinstance(low, int) or not isinstance(by, int) or not isinstance(high, int):
        return {}
    if by > 63 or (by > 31 and not modifiers & {"U64", "S64"}):
        return {}
    if modifiers & {"S32", "S64"}:
        high = as_signed(high)
    whole = high << 32 | low
    shifted = whole << by if "L" in modifiers else whole >> by
    return {result: (shifted >> 32 if "HI" in modifiers else shifted) & BITS}


def _permute(instruction: Instruction, known: Registers) -> dict[str, Value]:
    """Take four of the eight bytes of two words, the last operand's above the first's."""
    if instruction.modifiers:
        return {}
    result, _, names = parts_of(instruction)
    low, selector, high = (value_of(name, known) for name in names[:3])
    if not isinstance(selector, int):
        return {}
    words = Bits.of(low), Bits.of(high)
    found = mask = 0
    for place in range(4):
        chosen = selector >> 4 * place & 0xF
        by = 8 * (chosen & 3)
        word = words[chosen >> 2 & 1]
        byte, known_bits = word.value >> by & _BYTE, word.mask >> by & _BYTE
        if chosen & 8:  # its sign alone
            byte, known_bits = _BYTE * (byte >> 7), _BYTE * (known_bits >> 7)
        found |= byte << 8 * place
        mask |= known_bits << 8 * place
    return {result: Bits(found, mask).known}


BIT_RULES: Mapping[str, Callable[[Instruction, Registers], dict[str, Value]]] = {
    **dict.fromkeys(("LOP3", "ULOP3"), _look_up),
    **dict.fromkeys(("SHF", "USHF"), _funnel_shift),
    **dict.fromkeys(("PRMT", "UPRMT"), _permute),
}
