"""Straight-line text of sparse factorisations and triangular solves, for one or more blocks.

Every entry of the factors is computed once, by rows, from the entries before it. Blocks share the
Jacobian, which `lu` holds in the slots of the first block: that one is factorised last.

Of a single block, L has a unit diagonal. Several blocks are kept as L D^-1 U, with the pivots D on
the diagonals of both: entries that elimination does not reach are then the Jacobian's with their
sign changed on either side. Blocks share them, and in complex ones they are real as well.

Of U such entries are there in any case. Where they are constants, states or parameters they have no
slot, and are read where they come from. Those of L have one: where arrays are registers, a product
of an entry with a pivot is the same in all iterations, but not if the entry is read anew.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

from attrs import field, frozen

from cubie.solvers.contract import Blocks
from cubie.solvers.elimination import Elimination, Position
from cubie.systems.derivatives.plain_entries import PlainEntry

# Squares of pivots that are this large may overflow in single precision: they are taken of so much
# smaller ones.
LARGE, LESS = 2.0**60, 2.0**-66

_HEADER = '''"""Sparse LU factors of {n} x {n}: {slots} entries a block, {blocks} block(s).

Written by cubie: changes are overwritten.
"""

from cubie.backend import absolute, quotient, select
'''


@frozen
class FactorLayout:
    """Where the factors of all blocks lie.

    Attributes
    ----------
    elimination : Elimination
        Of the pattern of the Jacobian, then that of the mass matrix.
    n_jacobian : int
        Entries of the Jacobian: they are in the first slots.
    mass : mapping of position to value
    blocks : Blocks
    apart : bool
        Blocks share nothing, though there may be several.
    plain : mapping of int to PlainEntry
        Entries of the Jacobian, by their slots, that may be read where they come from.
    """

    elimination: Elimination
    n_jacobian: int
    mass: Mapping[Position, float] = field(eq=False)
    blocks: Blocks
    apart: bool = False
    plain: Mapping[int, PlainEntry] = field(factory=dict)

    @property
    def shares(self) -> bool:
        """There are several blocks, which share what they can."""
        return len(self.blocks.eigenvalues) > 1 and not self.apart

    @functools.cached_property
    def own(self) -> dict[int, int]:
        """Slots that every block has of its own, numbered."""
        slots = range(self.elimination.n_slots)
        return {slot: k for k, slot in enumerate(s for s in slots if s not in self.real)}

    @functools.cached_property
    def places(self) -> dict[int, int]:
        """Where each slot of the first block lies: those that are read elsewhere are left out."""
        slots = range(self.elimination.n_slots)
        return {slot: k for k, slot in enumerate(s for s in slots if s not in self.read)}

    @functools.cached_property
    def read(self) -> frozenset[int]:
        """Slots that entries of U would have which are read where they come from."""
        elimination = self.elimination
        of_u = {slot for i in range(elimination.n) for j, slot in elimination.row(i) if i < j}
        return self.untouched.intersection(self.plain, of_u)

    @property
    def common(self) -> frozenset[int]:
        """Slots of entries that are the same in all blocks."""
        return self.untouched if self.shares else frozenset()

    @functools.cached_property
    def real(self) -> frozenset[int]:
        """Slots of entries that are known to be real in complex blocks, too."""
        return self.common | self.read

    @functools.cached_property
    def untouched(self) -> frozenset[int]:
        """Slots of entries that are the Jacobian's with their sign changed."""
        elimination = self.elimination
        rows, columns = zip(*elimination.pivots, strict=True)
        return frozenset(
            slot
            for i in range(elimination.n)
            for j, slot in elimination.row(i)
            if (i < j or (i > j and self.shares))
            and slot < self.n_jacobian
            and (rows[i], columns[j]) not in self.mass
            and not elimination.products(i, j)
        )

    @functools.cached_property
    def starts(self) -> tuple[int, ...]:
        """Where each block's own factors start, and after the last one the size of them all.

        The real parts of the first block lie in all slots, from 0 on.
        """
        ends = [len(self.places)]
        for number, eigenvalue in enumerate(self.blocks.eigenvalues):
            parts = 2 if eigenvalue.imag else 1
            ends.append(ends[-1] + len(self.own) * (parts if number else parts - 1))
        return (0, *ends[1:])

    def place(self, number: int, slot: int, part: int) -> int:
        """Return where the real (0) or imaginary (1) part of a block's entry lies."""
        if slot in self.common or (number == 0 and part == 0):
            return self.places[slot]
        if number == 0:
            return len(self.places) + self.own[slot]
        return self.starts[number] + part * len(self.own) + self.own[slot]


class _Real:
    """Text of arithmetic on the entries of a real block."""

    parts = ("",)

    def entry(self, shift_part: complex, jacobian: str | None) -> list[str]:
        """Return an entry of the matrix before elimination, one text a part."""
        return [_difference(_times_shift(shift_part.real), jacobian)]

    def product(self, a: str, b: str, real: bool = False) -> list[str]:
        """Return a * b; `real` says that a has no imaginary part."""
        return [f"{a} * {b}"]

    def reciprocal(self, name: str, value: str) -> list[str]:
        return [f"{name} = quotient(one, {value})"]

    def divisor(self, name: str) -> str:
        """Return what of a reciprocal is zero where a pivot, or its square, is out of range."""
        return f"absolute({name})"

    def size(self, value: str, real: bool = False) -> str:
        return f"absolute({value})"


class _Complex:
    """Text of arithmetic on the entries of a complex block: `name` and `name_i`."""

    parts = ("", "_i")

    def entry(self, shift_part: complex, jacobian: str | None) -> list[str]:
        real = _difference(_times_shift(shift_part.real), jacobian)
        return [real, _difference(_times_shift(shift_part.imag), None)]

    def product(self, a: str, b: str, real: bool = False) -> list[str]:
        if real:
            return [f"{a} * {b}", f"{a} * {b}_i"]
        return [f"({a} * {b} - {a}_i * {b}_i)", f"({a} * {b}_i + {a}_i * {b})"]

    def reciprocal(self, name: str, value: str) -> list[str]:
        return [
            f"less = select({self.size(value)} > one * {LARGE!r}, one * {LESS!r}, one)",
            f"{value}, {value}_i = {value} * less, {value}_i * less",
            f"size = quotient(less, {value} * {value} + {value}_i * {value}_i)",
            f"{name} = {value} * size",
            f"{name}_i = -{value}_i * size",
        ]

    def divisor(self, name: str) -> str:
        return "size"

    def size(self, value: str, real: bool = False) -> str:
        return f"absolute({value})" if real else f"(absolute({value}) + absolute({value}_i))"


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

    def __init__(self, number: int, layout: FactorLayout):
        self.number, self.layout, self.elimination = number, layout, layout.elimination
        blocks = layout.blocks
        self.eigenvalue = blocks.eigenvalues[number]
        self.unknowns_at = blocks.offsets[number]
        self.stride = blocks.n_states
        self.arithmetic = _Complex() if self.eigenvalue.imag else _Real()
        # What entries are read from.
        self.more = ", y, p" if layout.read else ""

    def _parts(self, slot: int) -> list[tuple[str, int]]:
        """Return suffix of the name and place of each part of an entry."""
        suffixes = self.arithmetic.parts[: 1 if slot in self.layout.real else None]
        return [(s, self.layout.place(self.number, slot, k)) for k, s in enumerate(suffixes)]

    def _store(self, letter: str, slot: int) -> list[str]:
        if slot in self.layout.read or (slot in self.layout.common and self.number):
            return []
        return [f"lu[{place}] = {letter}{slot}{suffix}" for suffix, place in self._parts(slot)]

    def _load(self, name: str, slot: int) -> list[str]:
        """Load an entry; one that is read elsewhere has its sign there."""
        if slot in self.layout.read:
            return [f"{name} = {self.layout.plain[slot].text}"]
        return [f"{name}{suffix} = lu[{place}]" for suffix, place in self._parts(slot)]

    def factorise(self) -> str:
        """Return ``factorise_k(shift, lu, eps, one, ...) -> ok``."""
        lines = ["ok = shift == shift"]
        for i in range(self.elimination.n):
            for j, slot in self.elimination.row(i):
                lines += self._entry(i, j, slot)
        arguments = f"shift, lu, eps, one{self.more}"
        return _function(f"factorise_{self.number}({arguments})", [*lines, "return ok"])

    def _entry(self, i: int, j: int, slot: int) -> list[str]:
        """Compute entry (i, j), `e`, and of L also `f`, divided by its pivot."""
        arithmetic, real = self.arithmetic, self.layout.real
        lines = self._entry_as_it_is(slot) if slot in real else self._eliminated(i, j, slot)
        if j < i:
            pivot = f"e{self.elimination.slot(j, j)}"
            products = arithmetic.product(f"e{slot}", pivot, slot in real)
            names = [f"f{slot}{suffix}" for suffix in arithmetic.parts]
            lines.append(f"{', '.join(names)} = {', '.join(products)}")
        unit_diagonal = j < i and not self.layout.shares
        return lines + self._store("f" if unit_diagonal else "e", slot)

    def _entry_as_it_is(self, slot: int) -> list[str]:
        """Load an entry that elimination does not reach."""
        if slot in self.layout.read:
            return [f"e{slot} = {self.layout.plain[slot].negated}"]
        return [f"e{slot} = -lu[{self.layout.places[slot]}]"]

    def _eliminated(self, i: int, j: int, slot: int) -> list[str]:
        """Compute the matrix's entry less the products of what stands before it."""
        elimination, arithmetic, real = self.elimination, self.arithmetic, self.layout.real
        position = elimination.pivots[i][0], elimination.pivots[j][1]
        shift_part = self.eigenvalue * self.layout.mass.get(position, 0.0)
        jacobian = f"lu[{self.layout.places[slot]}]" if slot < self.layout.n_jacobian else None
        parts = arithmetic.entry(shift_part, jacobian)
        pairs = elimination.products(i, j)
        for a, b in pairs:
            products = arithmetic.product(f"e{b}", f"f{a}", b in real)
            parts = [f"{part} - {product}" for part, product in zip(parts, products, strict=True)]
        parts = [part.strip() or "one - one" for part in parts]
        name = "d" if i == j else f"e{slot}"
        lines = [f"{name}{s} = {part}" for s, part in zip(arithmetic.parts, parts, strict=True)]
        if i == j:
            # What the pivot lost to cancellation: of a singular matrix all of it.
            terms = [arithmetic.size("d")]
            terms += [
                f"{arithmetic.size(f'f{a}')} * {arithmetic.size(f'e{b}', b in real)}"
                for a, b in pairs
            ]
            lines.append(f"ok = ok & ({terms[0]} > eps * ({' + '.join(terms)}))")
            lines += arithmetic.reciprocal(f"e{slot}", "d")
            # With a reciprocal of nothing changes would be nothing, and pass for small ones.
            lines.append(f"ok = ok & ({arithmetic.divisor(f'e{slot}')} > one - one)")
        return lines

    def solve(self) -> str:
        """Return ``solve_k(lu, rhs, rhs_at, x, x_at, ...)``, which may work in place."""
        elimination, parts = self.elimination, self.arithmetic.parts
        lines, n = [], elimination.n
        for i in range(n):
            where = self.unknowns_at + elimination.pivots[i][0]
            for part, suffix in enumerate(parts):
                lines.append(f"z{i}{suffix} = rhs[rhs_at + {where + part * self.stride}]")
            before = [(j, slot) for j, slot in elimination.row(i) if j < i]
            lines += self._reduced(f"z{i}", before)
            lines += self._divided(i, f"z{i}") if self.layout.shares else []
        for i in reversed(range(n)):
            # The unknown that was found last comes last: nothing else waits for it.
            after = [(j, slot) for j, slot in reversed(elimination.row(i)) if j > i]
            if not self.layout.shares:
                lines += self._reduced(f"z{i}", after) + self._divided(i, f"z{i}")
            elif after:
                lines += self._summed("s", after) + self._divided(i, "s")
                lines += [f"z{i}{suffix} = z{i}{suffix} - s{suffix}" for suffix in parts]
        for i in range(n):
            where = self.unknowns_at + elimination.pivots[i][1]
            for part, suffix in enumerate(parts):
                lines.append(f"x[x_at + {where + part * self.stride}] = z{i}{suffix}")
        return _function(f"solve_{self.number}(lu, rhs, rhs_at, x, x_at{self.more})", lines)

    def _products(self, entries: list[tuple[int, int]]):
        """Yield lines that load an entry of a row, its product with its unknown, and its sign."""
        layout = self.layout
        for j, slot in entries:
            product = self.arithmetic.product("d", f"z{j}", slot in layout.real)
            negative = slot in layout.read and not layout.plain[slot].negative
            yield self._load("d", slot), product, negative

    def _reduced(self, name: str, entries: list[tuple[int, int]]) -> list[str]:
        """Subtract the products of a row's entries with their unknowns."""
        lines = []
        for load, products, negative in self._products(entries):
            lines += load
            sign = "+" if negative else "-"
            for suffix, product in zip(self.arithmetic.parts, products, strict=True):
                lines.append(f"{name}{suffix} = {name}{suffix} {sign} {product}")
        return lines

    def _summed(self, name: str, entries: list[tuple[int, int]]) -> list[str]:
        """Sum the products of a row's entries with their unknowns."""
        lines = []
        for number, (load, products, negative) in enumerate(self._products(entries)):
            lines += load
            sign = "-" if negative else "+"
            for suffix, product in zip(self.arithmetic.parts, products, strict=True):
                before = f"{name}{suffix} {sign} " if number else "-" * negative
                lines.append(f"{name}{suffix} = {before}{product}")
        return lines

    def _divided(self, i: int, name: str) -> list[str]:
        """Divide by pivot i, whose reciprocal is stored."""
        names = ", ".join(f"{name}{suffix}" for suffix in self.arithmetic.parts)
        load = self._load("d", self.elimination.slots[self.elimination.pivots[i]])
        return [*load, f"{names} = {', '.join(self.arithmetic.product('d', name))}"]


def write_lu(layout: FactorLayout) -> str:
    """Return the source of the module with ``factorise_k`` and ``solve_k`` of each block k.

    Where entries are read elsewhere the last arguments are the states `y` and the parameters `p`.
    """
    n_blocks, elimination = len(layout.blocks.eigenvalues), layout.elimination
    header = _HEADER.format(n=elimination.n, slots=elimination.n_slots, blocks=n_blocks)
    texts = [_BlockText(number, layout) for number in range(n_blocks)]
    return header + "".join(f"\n\n{text.factorise()}\n\n{text.solve()}" for text in texts)


def _function(signature: str, lines: list[str]) -> str:
    return f"def {signature}:\n" + "".join(f"    {line}\n" for line in lines)
