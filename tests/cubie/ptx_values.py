"""What straight-line PTX computes: the arithmetic of one thread, in NumPy.

It stands for a GPU where there is none. Approximating instructions are as far off as NVIDIA's "PTX
ISA" lets them be, in the direction that is asked for.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np

_INSTRUCTION = re.compile(r"^([a-z][\w.]*)\s+(.*);$")
_FLOATS = {"f32": np.float32, "f64": np.float64}


def stored_values(ptx: str, loaded: Sequence[float], dtype, off: int = 0) -> list:
    """Return the floating values that a kernel stores, in order.

    Parameters
    ----------
    ptx : str
        Without loops; every register is written once.
    loaded : sequence of float
        By the name of the kernel's array that they are read from, in the order of the arguments.
    off : {-1, 0, 1}
        Whether approximations are too small, exact, or too large.
    """
    return _Thread(ptx, loaded, np.dtype(dtype), off).run()


class _Thread:
    def __init__(self, ptx: str, loaded: Sequence[float], dtype: np.dtype, off: int):
        self._lines = [line.strip() for line in ptx.splitlines()]
        self._arrays: dict[str, int] = {}  # registers that hold addresses, and of which array
        self._loaded = [dtype.type(value) for value in loaded]
        self._off = off
        self._registers: dict = {}
        self._stored: list = []

    def run(self) -> list:
        pointers: list[str] = []
        with np.errstate(all="ignore"):
            for line in self._lines:
                match = _INSTRUCTION.match(line)
                if match is None:
                    continue
                name, operands = match[1], [part.strip() for part in match[2].split(",")]
                parts = name.split(".")
                if name.startswith("cvta"):
                    pointers.append(operands[0])
                    self._arrays[operands[0]] = self._parameter(operands[1])
                elif parts[0] == "ld" and "global" in parts:
                    self._registers[operands[0]] = self._load(operands[1].strip("[]"))
                elif parts[0] == "st" and "global" in parts:
                    self._stored.append(self._value(operands[1], np.float64))
                elif name == "add.s64" and any(o in self._arrays for o in operands[1:]):
                    known = [o for o in operands[1:] if o in self._arrays]
                    self._arrays[operands[0]] = self._arrays[known[0]]
                else:
                    self._compute(parts, operands)
        return self._stored

    def _parameter(self, register: str) -> int:
        """Return the number of the array whose address a register was given."""
        names = [
            line.split("_param_")[-1].split("]")[0]
            for line in self._lines
            if line.startswith("ld.param.u64") and line.split()[1].rstrip(",") == register
        ]
        return int(names[0])

    def _load(self, register: str):
        order = sorted({self._arrays[r] for r in self._arrays})
        return self._loaded[order.index(self._arrays[register])]

    def _value(self, text: str, kind):
        if text in self._registers:
            return self._registers[text]
        if text.startswith("0f"):
            return np.float32(struct.unpack(">f", bytes.fromhex(text[2:]))[0])
        if text.startswith("0d"):
            return np.float64(struct.unpack(">d", bytes.fromhex(text[2:]))[0])
        return kind(int(text)) if re.fullmatch(r"-?\d+", text) else None

    def _compute(self, parts: list[str], operands: list[str]) -> None:
        operation = parts[0]
        kind = _FLOATS.get(parts[-1], lambda number: np.uint64(int(number) % 2**64))
        values = [self._value(text, kind) for text in operands[1:]]
        if any(value is None for value in values):
            return  # of addresses, and of which thread this is
        function = _of(operation, parts, self._off)
        if function is not None:
            self._registers[operands[0]] = _flushed(function(*values), parts)


def _flushed(value, parts: Sequence[str]):
    """Return zero for a subnormal number of single precision where the instruction says so."""
    if "ftz" in parts and isinstance(value, np.float32) and abs(value) < np.finfo(value).tiny:
        return np.float32(np.copysign(0.0, value))
    return value


def _of(operation: str, parts: Sequence[str], off: int) -> Callable | None:
    single = parts[-1] == "f32"
    if operation == "cvt":
        return _conversion(parts)
    if operation in ("rcp", "lg2", "ex2"):
        return _APPROXIMATE[operation, single](off)
    if operation == "setp":
        return _COMPARISONS[parts[1]]
    if operation in _BITS or "wide" in parts:
        return _BITS.get(operation)
    return (_INTEGER if parts[-1] in ("s64", "u64") else _PLAIN).get(operation)


def _fma(a, b, c):
    if not (np.isfinite(a) and np.isfinite(b) and np.isfinite(c)):
        return a * b + c
    exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
    return type(c)(float(exact))


def _conversion(parts: Sequence[str]) -> Callable:
    if "rmi" in parts:
        return np.floor
    return {("f32", "f64"): np.float32, ("f64", "f32"): np.float64}[parts[-2], parts[-1]]


def _number(a, b, choose):
    """Return the number where one of two is NaN."""
    return b if np.isnan(a) else a if np.isnan(b) else choose(a, b)


_PLAIN = {
    "fma": _fma,
    "mul": lambda a, b: a * b,
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "neg": lambda a: -a,
    "abs": np.abs,
    "max": lambda a, b: _number(a, b, max),
    "min": lambda a, b: _number(a, b, min),
    "mov": lambda a: _as_bits(a),
    "selp": lambda a, b, which: a if which else b,
}
_INTEGER = {"add": lambda a, b: np.uint64((int(a) + int(b)) % 2**64)}
_BITS = {
    "and": lambda a, b: np.uint64(a) & np.uint64(b),
    "or": lambda a, b: np.uint64(a) | np.uint64(b),
    "shr": lambda a, b: np.uint64(a) >> np.uint64(b),
    "shl": lambda a, b: np.uint64(a) << np.uint64(b),
}
_COMPARISONS = {
    "lt": lambda a, b: a < b,
    "gt": lambda a, b: a > b,
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
}


def _as_bits(value):
    """Return a double as its bits, and bits as a double."""
    if isinstance(value, np.float64):
        return value.view(np.uint64)
    return value.view(np.float64) if isinstance(value, np.uint64) else value


def _reciprocal_of_single(off: int) -> Callable:
    def reciprocal(x):
        exact = 1.0 / np.float64(x)
        near = np.float32(exact)
        if off == 0 or not np.isfinite(near) or near == 0.0 or off * (near - exact) >= 0.0:
            return near
        return np.nextafter(near, np.float32(off * np.inf))  # less than one unit from the exact

    return reciprocal


def _reciprocal_of_double(off: int) -> Callable:
    def reciprocal(x):
        if abs(x) < np.finfo(x).tiny or not np.isfinite(x):
            return np.float64(1.0) / (x * 0.0 if np.isfinite(x) else x)
        near = (1.0 + off * 2.0**-20) / x
        upper = near.view(np.uint64) >> np.uint64(32) << np.uint64(32)
        found = upper.view(np.float64)  # the lower half of what the hardware gives is zero
        return found if abs(found) >= np.finfo(x).tiny else found * 0.0

    return reciprocal


def _log2_of_single(off: int) -> Callable:
    def log2(x):
        exact = np.log2(np.float64(x))
        near = 0.5 < x < 2.0
        return np.float32(exact + off * (2.0**-22.6 if near else 2.0**-22 * abs(exact)))

    return log2


def _exp2_of_single(off: int) -> Callable:
    return lambda x: np.float32(np.exp2(np.float64(x)) * (1.0 + off * 2.0**-22))


_APPROXIMATE = {
    ("rcp", True): _reciprocal_of_single,
    ("rcp", False): _reciprocal_of_double,
    ("lg2", True): _log2_of_single,
    ("ex2", True): _exp2_of_single,
}
