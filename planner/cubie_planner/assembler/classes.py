"""What an instruction does: its class, and what its result is."""

from __future__ import annotations

import re
from enum import StrEnum

from cubie_planner.assembler.instructions import Instruction


class Kind(StrEnum):
    """Classes of instructions, by the unit that executes them."""

    FP32 = "FP32"
    FP64 = "FP64"
    HALF = "half"
    MUFU = "MUFU"
    CONVERT = "convert"
    MOVE = "move"
    INTEGER = "integer"
    LOCAL = "local"
    SHARED = "shared"
    GLOBAL = "global"
    GENERIC = "generic"
    CONSTANT = "constant"
    BRANCH = "branch"
    OTHER = "other"


_FORMS = (
    # Constants and copies come as arithmetic that adds nothing.
    (Kind.MOVE, r"U?MOV|U?SEL|FSEL|PRMT|UPRMT|R2UR|CS2R|S2R|S2UR|CSEL"),
    (Kind.HALF, r"H(ADD|MUL|FMA|SET|SETP|MNMX)2?"),
    (Kind.FP32, r"U?F(ADD|MUL|FMA|MNMX|SET|SETP|SWZADD|CHK)[23]?(32I)?"),
    (Kind.FP64, r"D(ADD|MUL|FMA|MNMX|SET|SETP)"),
    (Kind.MUFU, r"MUFU"),
    (Kind.CONVERT, r"F2F|F2I|I2F|F2FP|FRND|I2I|F2IP|I2FP|U?F2I|U?I2F"),
    (Kind.LOCAL, r"LDL|STL"),
    (Kind.SHARED, r"LDS|STS|LDSM|ATOMS|STSM|LDS_LDU"),
    (Kind.GLOBAL, r"LDG|STG|ATOMG|RED|REDG|LDGSTS|TEX|TLD"),
    # Of an address that may be of any memory.
    (Kind.GENERIC, r"LD|ST|ATOM"),
    (Kind.CONSTANT, r"U?LDC|LDCU"),
    (
        Kind.BRANCH,
        r"BRA|BRX|JMP|JMX|EXIT|CALL|RET|BSSY|BSYNC|BREAK|WARPSYNC|BMOV|KILL|YIELD|NANOSLEEP",
    ),
    (
        Kind.INTEGER,
        r"U?(IADD3?|IMAD|IMUL|IABS|IMNMX|ISETP|ISET|LEA|LOP3?|SHF|SHL|SHR|BFE|BFI|BREV|FLO|POPC|"
        r"SGXT|BMSK|IDP4A|ISCADD|VIADD|VIMNMX3?|VIADDMNMX|PLOP3|P2R|R2P|SEL3|LOP32I)(32I)?|VOTEU?|SHFL",
    ),
)
_PATTERNS = tuple((kind, re.compile(f"({pattern})$")) for kind, pattern in _FORMS)


def kind_of(instruction: Instruction) -> Kind:
    """Return the class of an instruction."""
    opcode = instruction.opcode
    if _is_copy(instruction):
        return Kind.MOVE
    return next((kind for kind, pattern in _PATTERNS if pattern.match(opcode)), Kind.OTHER)


def _is_copy(instruction: Instruction) -> bool:
    """Tell an addition or a product that only copies: of zeros, or of a half-precision constant."""
    opcode, modifiers = instruction.opcode, instruction.modifiers
    if opcode == "IMAD":
        return "MOV" in modifiers
    return opcode == "HFMA2" and instruction.operands[1:3] == ("-RZ", "RZ")


def is_arithmetic(instruction: Instruction) -> bool:
    """Tell an addition, product or function of floating-point numbers."""
    if kind_of(instruction) is Kind.MUFU:
        return True
    return bool(re.match(r"[DF](ADD|MUL|FMA)2?$", instruction.opcode))


def bytes_moved(instruction: Instruction) -> int:
    """Return the bytes a thread loads or stores with an instruction; 0 where it accesses none."""
    if kind_of(instruction) not in (Kind.LOCAL, Kind.SHARED, Kind.GLOBAL, Kind.GENERIC):
        return 0
    for modifier in instruction.modifiers:
        if modifier in ("U8", "S8", "8"):
            return 1
        if modifier in ("U16", "S16", "16"):
            return 2
    return 4 * instruction.width


def is_store(instruction: Instruction) -> bool:
    """Tell an instruction that writes to memory."""
    return instruction.opcode in ("STL", "STS", "STG", "ST", "RED", "REDG", "ATOM", "ATOMG")


_RARE = ("STG", "ST", "RED", "ATOMG", "BPT", "NANOSLEEP")


def is_off_the_path(instruction: Instruction) -> bool:
    """Tell what code without source lines does not do on its usual way: results, slow cases."""
    return instruction.is_call or instruction.opcode in _RARE
