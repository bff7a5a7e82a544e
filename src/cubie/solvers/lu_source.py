"""Straight-line text of sparse factorisations and triangular solves, for one or more blocks.

Every entry of the factors is computed once, by rows, from the entries before it. Blocks share the
Jacobian, which `lu` holds in the slots of the first block: that one is factorised last.
"""

from __future__ import annotations

from collections.abc import Mapping

from cubie.solvers.contract import Blocks
from cubie.solvers.elimination import Elimination, Position

_HEADER = '''"""Sparse LU factors of {n} x {n}: {slots} entries a block, {blocks} block(s).

Written by cubie: changes are overwritten.
"""

from cubie.backend import absolute
'''


class _Real:
    """Text of arithmetic on the entries of a real block."""

    parts = ("",)

    def entry(self, shift_part: complex, jacobian: str | None) -> list[str]:
        """Return an entry of the matrix before elimination, one text a part."""
        return [_difference(_times_shift(shift_part.real), jacobian)]

    def product(self, a: str, b: str) -> list[str]:
        return [f"{a} * {b}"]

    def reciprocal(self, name: str, value: str) -> list[str]:
        return [f"{name} = one / {value}"]

    def size(self, value: str) -> str:
        return f"absolute({value})"


class _Complex:
    """Text of arithmetic on the entries of a complex block: `name` and `name_i`."""

    parts = ("", "_i")

    def entry(self, shift_part: complex, jacobian: str | None) -> list[str]:
        real = _difference(_times_shift(shift_part.real), jacobian)
        return [real, _difference(_times_shift(shift_part.imag), None)]

    def product(self, a: str, b: str) -> list[str]:
        return [f"({a} * {b} - {a}_i * {b}_i)", f"({a} * {b}_i + {a}_i * {b})"]

    def reciprocal(self, name: str, value: str) -> list[str]:
        return [
            f"size = one / ({value} * {value} + {value}_i * {value}_i)",
            f"{name} = {value} * size",
            f"{name}_i = -{value}_i * size",
        ]

    def size(self, value: str) -> str:
        return f"(absolute({value}) + absolute({value}_i))"


def _times_shift(factor: float) -> str:
    if factor == 0.0:
        return ""
    return "shift" if factor == 1.0 else f"shift * {factor!r}"


def _difference(a: str, b: str | None) -> str:
    if b is None:
        return a
    return f"{a} - {b}" if a else f"-{b}"


class _BlockText:
    """The two functions of one block."""

    def __init__(
        self,
        number: int,
        elimination: Elimination,
        n_jacobian: int,
        mass: Mapping[Position, float],
        blocks: Blocks,
    ):
        self.number, self.elimination, self.mass = number, elimination, mass
        self.n_jacobian = n_jacobian
        self.eigenvalue = blocks.eigenvalues[number]
        self.unknowns_at = blocks.offsets[number]
        self.stride = blocks.n_states
        self.at = block_starts(blocks, elimination)[number]
        self.arithmetic = _Complex() if self.eigenvalue.imag else _Real()

    def _store(self, name: str, slot: int) -> list[str]:
        parts = enumerate(self.arithmetic.parts)
        size = self.elimination.n_slots
        return [f"lu[{self.at + part * size + slot}] = {name}{suffix}" for part, suffix in parts]

    def _load(self, name: str, slot: int) -> list[str]:
        parts = enumerate(self.arithmetic.parts)
        size = self.elimination.n_slots
        return [f"{name}{suffix} = lu[{self.at + part * size + slot}]" for part, suffix in parts]

    def factorise(self) -> str:
        """Return ``factorise_k(shift, lu, eps, one) -> ok``."""
        lines = ["ok = shift == shift"]
        for i in range(self.elimination.n):
            for j, slot in self.elimination.row(i):
                lines += self._entry(i, j, slot)
        return _function(f"factorise_{self.number}(shift, lu, eps, one)", [*lines, "return ok"])

    def _entry(self, i: int, j: int, slot: int) -> list[str]:
        elimination, arithmetic = self.elimination, self.arithmetic
        position = elimination.pivots[i][0], elimination.pivots[j][1]
        shift_part = self.eigenvalue * self.mass.get(position, 0.0)
        jacobian = f"lu[{slot}]" if slot < self.n_jacobian else None
        parts = arithmetic.entry(shift_part, jacobian)
        pairs = elimination.products(i, j)
        for a, b in pairs:
            products = arithmetic.product(f"e{a}", f"e{b}")
            parts = [f"{part} - {product}" for part, product in zip(parts, products, strict=True)]
        parts = [part.strip() or "one - one" for part in parts]
        name = "d" if i == j else f"e{slot}"
        lines = [f"{name}{s} = {part}" for s, part in zip(arithmetic.parts, parts, strict=True)]
        if j == i:
            # What the pivot lost to cancellation: of a singular matrix all of it.
            terms = [arithmetic.size("d")]
            terms += [f"{arithmetic.size(f'e{a}')} * {arithmetic.size(f'e{b}')}" for a, b in pairs]
            lines.append(f"ok = ok & ({terms[0]} > eps * ({' + '.join(terms)}))")
            lines += arithmetic.reciprocal(f"e{slot}", "d")
        elif j < i:
            products = arithmetic.product(f"e{slot}", f"e{elimination.slot(j, j)}")
            names = [f"e{slot}{suffix}" for suffix in arithmetic.parts]
            lines.append(f"{', '.join(names)} = {', '.join(products)}")
        return lines + self._store(f"e{slot}", slot)

    def solve(self) -> str:
        """Return ``solve_k(lu, rhs, rhs_at, x, x_at)``, which may work in place."""
        elimination = self.elimination
        lines, n = [], elimination.n
        for i in range(n):
            where = self.unknowns_at + elimination.pivots[i][0]
            for part, suffix in enumerate(self.arithmetic.parts):
                lines.append(f"z{i}{suffix} = rhs[rhs_at + {where + part * self.stride}]")
            lines += self._reduced(i, [(j, slot) for j, slot in elimination.row(i) if j < i])
        for i in reversed(range(n)):
            lines += self._reduced(i, [(j, slot) for j, slot in elimination.row(i) if j > i])
            lines += self._load("d", elimination.slots[elimination.pivots[i]])
            names = [f"z{i}{suffix}" for suffix in self.arithmetic.parts]
            products = self.arithmetic.product(f"z{i}", "d")
            lines.append(f"{', '.join(names)} = {', '.join(products)}")
        for i in range(n):
            where = self.unknowns_at + elimination.pivots[i][1]
            for part, suffix in enumerate(self.arithmetic.parts):
                lines.append(f"x[x_at + {where + part * self.stride}] = z{i}{suffix}")
        return _function(f"solve_{self.number}(lu, rhs, rhs_at, x, x_at)", lines)

    def _reduced(self, i: int, entries) -> list[str]:
        lines = []
        for j, slot in entries:
            lines += self._load("d", slot)
            products = self.arithmetic.product("d", f"z{j}")
            for suffix, product in zip(self.arithmetic.parts, products, strict=True):
                lines.append(f"z{i}{suffix} = z{i}{suffix} - {product}")
        return lines


def block_starts(blocks: Blocks, elimination: Elimination) -> tuple[int, ...]:
    """Return where each block's factors start, and after the last one the size of them all."""
    starts = [0]
    for eigenvalue in blocks.eigenvalues:
        starts.append(starts[-1] + elimination.n_slots * (2 if eigenvalue.imag else 1))
    return tuple(starts)


def write_lu(
    elimination: Elimination, n_jacobian: int, mass: Mapping[Position, float], blocks: Blocks
) -> str:
    """Return the source of the module with ``factorise_k`` and ``solve_k`` of each block k.

    Parameters
    ----------
    elimination : Elimination
        Of the pattern of the Jacobian, then that of the mass matrix.
    n_jacobian : int
        Entries of the Jacobian: they are in the first slots.
    mass : mapping of position to value
    blocks : Blocks
    """
    header = _HEADER.format(
        n=elimination.n, slots=elimination.n_slots, blocks=len(blocks.eigenvalues)
    )
    functions = []
    for number in range(len(blocks.eigenvalues)):
        text = _BlockText(number, elimination, n_jacobian, mass, blocks)
        functions += [text.factorise(), text.solve()]
    return header + "".join(f"\n\n{function}" for function in functions)


def _function(signature: str, lines: list[str]) -> str:
    return f"def {signature}:\n" + "".join(f"    {line}\n" for line in lines)
