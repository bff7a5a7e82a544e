"""Which registers an instruction reads and writes."""

from __future__ import annotations

import re
from functools import lru_cache

from cubie_planner.assembler.instructions import Instruction

_REGISTER = re.compile(r"U?R(\d+)$")
_NAMED = re.compile(r"\b(U?R|U?P)(\d+)")
_NO_RESULT = frozenset(
    (
        *("ST", "STG", "STS", "STL", "STSM", "RED", "REDG", "BRA", "BRX", "JMP", "JMX", "EXIT"),
        *("CALL", "RET", "BSSY", "BSYNC", "BREAK", "WARPSYNC", "NOP", "BAR", "MEMBAR", "ERRBAR"),
        *("CCTL", "YIELD", "KILL", "BPT", "NANOSLEEP", "DEPBAR", "LDGDEPBAR", "FENCE", "ACQBULK"),
    )
)
_SETS_PREDICATES = re.compile(r"U?(I|F|D|H)SETP2?$|U?PLOP3$")


@lru_cache(maxsize=200_000)
def written(instruction: Instruction) -> tuple[str, ...]:
    """Return the registers that an instruction writes, the halves of wide ones singly."""
    if instruction.opcode in _NO_RESULT:
        return ()
    if instruction.opcode == "R2P":
        return tuple(f"P{number}" for number in range(7))
    if _SETS_PREDICATES.match(instruction.opcode):
        return tuple(filter(is_predicate, instruction.operands[:2]))
    found: list[str] = []
    for place, operand in enumerate(instruction.operands):
        register = _REGISTER.match(operand)
        if register:
            if not any(is_register(name) for name in found):
                found += halves(operand, instruction.width)
                continue
            break
        if is_predicate(operand):
            found.append(operand)
        elif operand in ("PT", "UPT", "RZ", "URZ"):
            # A result that is thrown away takes its place all the same.
            if operand in ("RZ", "URZ") and place > 0:
                break
        else:
            break
    return tuple(found)


@lru_cache(maxsize=200_000)
def read(instruction: Instruction) -> frozenset[str]:
    """Return the registers that an instruction may read; of wide ones both halves."""
    names: set[str] = set()
    for operand in instruction.operands:
        for kind, number in _NAMED.findall(operand):
            names.add(f"{kind}{number}")
            if kind.endswith("R"):
                names.add(f"{kind}{int(number) + 1}")
    if instruction.predicate:
        names.add(instruction.predicate)
    return frozenset(names)


def is_register(name: str) -> bool:
    """Tell a register of 32 bits by its name, such as ``"R4"`` or ``"UR4"``."""
    return bool(_REGISTER.match(name))


def is_predicate(name: str) -> bool:
    """Tell a predicate register by its name, such as ``"P0"`` or ``"UP0"``."""
    return bool(re.match(r"U?P\d+$", name))


def halves(register: str, width: int) -> list[str]:
    """Return a register and those after it that a wide value takes."""
    kind, number = ("UR", register[2:]) if register[0] == "U" else ("R", register[1:])
    return [f"{kind}{int(number) + place}" for place in range(width)]
