"""The generated module of the matrices ``s M - J``, preconditioned by their diagonal D.

D is so cheap to form from the Jacobian's entries that it is not stored: no vector of it is needed,
nor one for ``D^-1 v``, which stays inside the expressions of the product.
"""

import hashlib
from collections.abc import Mapping
from types import ModuleType

from cubie.backend import package_digest
from cubie.systems.derivatives.source import Linearised, function_text, linearised
from cubie.systems.generated import load_module
from cubie.systems.source import Writer, import_lines
from cubie.systems.store import Store
from cubie.systems.system import System
from cubie.systems.tracing.arithmetic import add, div, mul, neg, sub
from cubie.systems.tracing.nodes import Value

Mass = Mapping[tuple[int, int], float]
Vector = list[Value]

_VECTOR = "vec, vec_at, out, at"
_ONE = {"shift": ["shift"]}
_PAIR = {"shift": ["re", "im"]}


def scaled_module(system: System, mass: Mass, pairs: bool) -> ModuleType:
    """Return the module, from the cache where it was generated before.

    ``product(shift, t, y, p, vec, vec_at, out, at)`` stores (s M - J) D^-1 v, for
    s = `shift`; ``scale(shift, t, y, p, x, at)`` stores D^-1 x in place. With `pairs`,
    ``product_pair(re, im, t, ...)`` and ``scale_pair(re, im, t, ...)`` do so for s = re + i im and
    vectors of n real parts, then n imaginary parts.
    """
    store = Store.beside(system.path)
    rows = [system.digest, *(row.digest for row in system.jacobian_rows)]
    parts = ["scaled", package_digest(), rows, sorted(mass.items()), pairs]
    key = hashlib.sha256(repr(parts).encode()).hexdigest()[:32]
    source, digest = store.found_or_written(key, lambda: write_scaled(system, mass, pairs))
    return load_module(source, store.module_path(digest))


def write_scaled(system: System, mass: Mass, pairs: bool) -> str:
    """Return the source of the module."""
    found = linearised(system)
    matrix = _Matrix(found, mass, system.n_states)
    functions = [_product(system, matrix, 1, _ONE), _scale(system, matrix, 1, _ONE)]
    if pairs:
        functions += [_product(system, matrix, 2, _PAIR), _scale(system, matrix, 2, _PAIR)]
    modules = set().union(*(writer.modules for _, writer in functions))
    body = "\n\n\n".join(function_text(head, writer) for head, writer in functions)
    return (
        f'"""Matrices of the right-hand side {system.digest}, preconditioned by their diagonal.\n\n'
        f'Written by cubie: changes are overwritten.\n"""\n{import_lines(modules)}\n\n{body}\n'
    )


class _Matrix:
    """``s M - J`` as expressions; a vector is its real part alone, or real and imaginary part."""

    def __init__(self, found: Linearised, mass: Mass, n: int):
        self.found, self.mass, self.n = found, mass, n

    def vector(self, parts: int) -> list[Vector]:
        leaf = self.found.graph.leaf
        return [[leaf("vec", part * self.n + i) for i in range(self.n)] for part in range(parts)]

    def shift(self, parts: int) -> list[Value]:
        return [self.found.graph.leaf("shift", part) for part in range(parts)]

    def scaled(self, vector: list[Vector]) -> list[Vector]:
        """Return D^-1 times the vector."""
        shift = self.shift(len(vector))
        columns = []
        for i in range(self.n):
            weight, slope = self.mass.get((i, i), 0.0), self.found.jacobian.get((i, i), 0.0)
            diagonal = [sub(mul(weight, shift[0]), slope), *(mul(weight, s) for s in shift[1:])]
            columns.append(_divided([part[i] for part in vector], diagonal))
        return [list(part) for part in zip(*columns, strict=True)]

    def times(self, vector: list[Vector]) -> list[Vector]:
        """Return the product with the vector."""
        shifted = self._times_mass(vector)
        result = []
        for part, mass_part in zip(vector, shifted, strict=True):
            slopes = self.found.product(part)
            result.append([sub(m, s) for m, s in zip(mass_part, slopes, strict=True)])
        return result

    def _times_mass(self, vector: list[Vector]) -> list[Vector]:
        products = [[0.0] * self.n for _ in vector]
        for part, product in zip(vector, products, strict=True):
            for (i, j), weight in sorted(self.mass.items()):
                product[i] = add(product[i], mul(weight, part[j]))
        shift = self.shift(len(vector))
        if len(vector) == 1:
            return [[mul(shift[0], value) for value in products[0]]]
        (re, im), (a, b) = shift, products
        pairs = list(zip(a, b, strict=True))
        return [
            [sub(mul(re, x), mul(im, y)) for x, y in pairs],
            [add(mul(re, y), mul(im, x)) for x, y in pairs],
        ]


def _divided(parts: list[Value], diagonal: list[Value]) -> list[Value]:
    """Divide a number, real or complex, by reciprocals: in a loop they need not be formed again."""
    if len(parts) == 1:
        return [mul(parts[0], div(1.0, diagonal[0]))]
    (a, b), (c, d) = parts, diagonal
    size = div(1.0, add(mul(c, c), mul(d, d)))
    re, im = mul(c, size), neg(mul(d, size))
    return [sub(mul(a, re), mul(b, im)), add(mul(a, im), mul(b, re))]


def _product(system: System, matrix: _Matrix, parts: int, shift: dict[str, list[str]]):
    values = matrix.times(matrix.scaled(matrix.vector(parts)))
    writer = _writer(system, "out", "vec[vec_at + {}]", parts, shift, ("vec", "vec_at"))
    writer.write(_flat(values))
    return _head("product", _VECTOR, parts, shift, "(s M - J) D^-1 vec."), writer


def _scale(system: System, matrix: _Matrix, parts: int, shift: dict[str, list[str]]):
    vector = matrix.vector(parts)
    writer = _writer(system, "x", "x[at + {}]", parts, shift, ())
    writer.write(_flat(matrix.scaled(vector)), _flat(vector))
    return _head("scale", "x, at", parts, shift, "D^-1 x, in place."), writer


def _flat(parts: list[Vector]) -> Vector:
    return [value for part in parts for value in part]


def _head(name: str, vectors: str, parts: int, shift: dict[str, list[str]], text: str):
    suffix = "_pair" if parts == 2 else ""
    return f"{name}{suffix}({', '.join(shift['shift'])}, t, y, p, {vectors})", text


def _writer(system: System, target: str, entry: str, parts: int, shift, names) -> Writer:
    entries = [entry.format(i) for i in range(parts * system.n_states)]
    return Writer(
        system.state_names,
        system.parameter_names,
        target=target,
        arguments={"vec": entries, **shift},
        reserved=(*names, *shift["shift"]),
    )
