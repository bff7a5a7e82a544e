"""The text of loops: groups of rows, and the tables that they read."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cubie.systems.rolling.common import COMMON
from cubie.systems.rolling.groups import SLOT, Column, Group, Kind, Segment, Sum
from cubie.systems.rolling.rolled import Rolled

ROW, TERM = "i", "k"
INDENT = "    "
ROWS_TOGETHER = 4
PRODUCT_FUNCTION = "product_"
# No variable of a function may be called so. Those of tables and sums begin with an underscore,
# as no other does.
RESERVED = frozenset({ROW, TERM, "range", "table"})


class Tables:
    """Constant tables of a module, each of them once.

    Attributes
    ----------
    lines : list of str
        Statements that define them.
    products : dict of str to (str, int, int)
        Functions that multiply a matrix by a vector: the table of its rows, and its shape.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.products: dict[str, tuple[str, int, int]] = {}
        self._names: dict[tuple[str, bytes], str] = {}

    def name(self, values: np.ndarray) -> str:
        """Return the name of the table of these numbers."""
        whole = values.dtype.kind != "f"
        key = values.dtype.kind, values.tobytes()
        found = self._names.get(key)
        if found is None:
            found = self._names[key] = f"_{'at' if whole else 'value'}_{len(self._names)}"
            numbers = " ".join(map(repr, values.tolist()))
            self.lines.append(f'{found} = table("{numbers}")')
        return found

    def product(self, matrix: np.ndarray) -> str:
        """Return the name of the function that multiplies this matrix by a vector."""
        n_rows, n_terms = matrix.shape
        facts = self.name(matrix.ravel()), n_rows, n_terms
        found = (name for name, others in self.products.items() if others == facts)
        name = next(found, f"{PRODUCT_FUNCTION}{len(self.products)}")
        self.products[name] = facts
        return name

    @property
    def facts(self) -> tuple[tuple[int, int, int], ...]:
        """Return for each product the number of its table, and the shape of its matrix."""
        products = self.products.values()
        return tuple((int(table.rpartition("_")[2]), n, m) for table, n, m in products)

    @property
    def modules(self) -> set[str]:
        """What they need."""
        return {"table"} if self.lines else set()


def write_loops(writer, found: Rolled, tables: Tables, before: Mapping[str, str]) -> None:
    """Write all outputs, and before them the values that they have in common; loops come first.

    Parameters
    ----------
    writer : Writer
    found : Rolled
    tables : Tables
        Of the module.
    before : mapping of str to str
        What is added to indices of an array, by its name.
    """
    kept = writer.common
    for part in found.parts:
        begin = f"{COMMON}[" if part.is_common else writer.begin
        for group in part.groups:
            _Loop(writer, found.graph, group, tables, before, begin).write()
        rest = {row: part.values[row - part.first] for row in part.rest}
        if part.is_common:
            # What is written here is computed, and what it needs of the same part is at hand.
            own = {value.serial for value in rest.values()}
            writer.common = {serial: at for serial, at in kept.items() if serial not in own}
        writer.write([*rest.values()], places=[f"{begin}{row}]" for row in rest])
        writer.common = kept


class _Loop:
    """One group."""

    def __init__(
        self, writer, graph, group: Group, tables: Tables, before: Mapping[str, str], begin: str
    ):
        self.writer, self.graph, self.group = writer, graph, group
        self.tables, self.before, self.begin = tables, before, begin
        in_sums = {slot for each in group.sums for kind in each.kinds for slot in kind.slots}
        self.of_rows = [slot for slot in group.columns if slot not in in_sums]
        self.together = 1  # rows

    def write(self) -> None:
        """Add the loop to what the writer has."""
        n, begin = len(self.group.rows), 0
        regular = self.group.sums and all(each.segments for each in self.group.sums)
        if regular and not self.group.in_order:
            # Terms of a row wait for each other: those of several rows are added meanwhile.
            self.together, begin = ROWS_TOGETHER, n // ROWS_TOGETHER * ROWS_TOGETHER
            if begin:
                self._write_rows(f"{begin // ROWS_TOGETHER}")
            self.together = 1
        if begin < n:
            self._write_rows(f"{begin}, {n}" if begin else f"{n}")

    def _write_rows(self, limits: str) -> None:
        group, rows = self.group, range(self.together)
        self.writer.lines.append(f"for {ROW} in range({limits}):")
        texts = [
            {
                slot: self._element(group.columns[slot], self._along(group.columns[slot].values, u))
                for slot in self.of_rows
            }
            for u in rows
        ]
        for each in group.sums:
            totals = [f"_total_{each.slot}_{u}" for u in rows]
            for text, total in zip(texts, totals, strict=True):
                text[each.slot] = total
            if each.segments:
                self._write_regular(each, totals)
            else:
                self._write_sum(each, totals[0])
        for u in rows:
            place = f"{self.begin}{self._along(group.rows, u)}]"
            self._write(group.body, place, texts[u], 1)

    def _write(self, body, place: str, texts: Mapping[int, str], depth: int) -> None:
        """Write one assignment of a body, and what it needs."""
        writer, lines = self.writer, self.writer.lines
        # Nodes of bodies are of another graph, in which serial numbers mean other nodes.
        of_values = writer.slots, writer.common
        writer.lines, writer.text, writer.slots, writer.common = [], {}, {}, {}
        writer.entries[SLOT] = texts
        writer.write([body], places=[place])
        lines += [INDENT * depth + line for line in writer.lines]
        writer.lines, writer.text = lines, {}
        writer.slots, writer.common = of_values

    def _write_regular(self, each: Sum, totals: list[str]) -> None:
        """Write sums of equally many terms, which are of the same kinds in all rows."""

        def add(segment: Segment, term: str, depth: int) -> None:
            kind = each.kinds[segment.kind]
            for u, total in enumerate(totals):
                texts = self._of_terms(each, segment, term, u)
                self._add(each, kind, total, texts, depth)

        segments = each.segments
        first = segments[0]
        for u, total in enumerate(totals):
            texts = self._of_terms(each, first, "0", u)
            self._write(each.kinds[first.kind].body, total, texts, 1)
        for segment in segments:
            n_terms, at = segment.end - segment.begin, 0
            if segment is first:
                # The first two are added as in text: compilers fuse one of two products with a sum.
                at = min(2, n_terms)
                if n_terms > 1:
                    add(segment, "1", 1)
            if n_terms == at + 1:
                add(segment, str(at), 1)
            elif n_terms > at:
                limits = f"{at}, {n_terms}" if at else f"{n_terms}"
                self.writer.lines.append(f"{INDENT}for {TERM} in range({limits}):")
                add(segment, TERM, 2)

    def _write_sum(self, each: Sum, total: str) -> None:
        """Write a sum whose terms are looked up one after another."""
        first, lines = each.kinds[each.kind_of[0]], self.writer.lines
        starts = self.tables.name(each.starts)
        begin, end = f"{starts}({ROW})", f"{starts}({ROW} + 1)"
        if first.sign == 0:
            lines.append(f"{INDENT}{total} = 0.0")
        else:
            self._write(first.body, total, self._looked_up(first.slots, begin), 1)
            begin = f"{begin} + 1"
        lines.append(f"{INDENT}for {TERM} in range({begin}, {end}):")
        for number, kind in enumerate(each.kinds):
            depth = 2
            if len(each.kinds) > 1:
                which = self.tables.name(each.kind_of)
                lines.append(f"{INDENT * depth}if {which}({TERM}) == {number}:")
                depth += 1
            self._add(each, kind, total, self._looked_up(kind.slots, TERM), depth)

    def _add(self, each: Sum, kind: Kind, total: str, texts: dict[int, str], depth: int) -> None:
        body = kind.body
        if kind.sign:
            leaf = self.graph.leaf(SLOT, each.slot)
            body = self.graph.node("+" if kind.sign > 0 else "-", leaf, body)
        self._write(body, total, {**texts, each.slot: total}, depth)

    def _of_terms(self, each: Sum, segment: Segment, term: str, u: int) -> dict[int, str]:
        """Return the text of each slot at a term of a segment of a row."""
        found, n_terms = {}, each.n_terms_of_each
        for slot in each.kinds[segment.kind].slots:
            column = self.group.columns[slot]
            values = column.values.reshape(-1, n_terms)[:, segment.begin : segment.end]
            found[slot] = self._element(column, self._in_row(values, term, u))
        return found

    def _looked_up(self, slots, term: str) -> dict[int, str]:
        columns = {slot: self.group.columns[slot] for slot in slots}
        return {
            slot: self._element(column, f"{self.tables.name(column.values)}({term})")
            for slot, column in columns.items()
        }

    def _element(self, column: Column, index: str) -> str:
        if not column.array:
            return index
        return f"{column.array}[{self.before.get(column.array, '')}{index}]"

    def _evenly(self, first: int, step: int, u: int, along: int = 0, term: str = "0") -> str:
        """Return the text of a whole number that grows evenly along rows, and terms."""
        return _evenly(first + step * u, ((step * self.together, ROW), (along, term)))

    def _along(self, values: np.ndarray, u: int) -> str:
        """Return the text of what a row has of these; the row is one of those together."""
        if values.dtype.kind != "f" and _is_even(values):
            step = int(values[1] - values[0]) if len(values) > 1 else 0
            return self._evenly(int(values[0]), step, u)
        return f"{self.tables.name(values)}({self._evenly(0, 1, u)})"

    def _in_row(self, values: np.ndarray, term: str, u: int) -> str:
        """Return the text of what a term of a row has of values (n_rows, n_terms)."""
        if (values == values[:, :1]).all():
            return self._along(values[:, 0].copy(), u)
        n_terms, along = values.shape[1], values[0] - values[0, 0]
        is_even = values.dtype.kind != "f" and _is_even(along) and _is_even(values[:, 0])
        if is_even and (values == values[:, :1] + along).all():
            step = int(values[1, 0] - values[0, 0]) if len(values) > 1 else 0
            return self._evenly(int(values[0, 0]), step, u, int(along[1]), term)
        if (values == values[:1]).all():
            return f"{self.tables.name(values[0].copy())}({term})"
        return f"{self.tables.name(values.ravel())}({self._evenly(0, n_terms, u, 1, term)})"


def index_text(values: np.ndarray, tables: Tables, variable: str) -> str:
    """Return the text of a whole number of these, by a variable that counts them."""
    if _is_even(values):
        step = int(values[1] - values[0]) if len(values) > 1 else 0
        return _evenly(int(values[0]), ((step, variable),))
    return f"{tables.name(values)}({variable})"


def _is_even(values: np.ndarray) -> bool:
    differences = np.diff(values)
    return bool((differences == differences[:1]).all())


def _evenly(first: int, steps) -> str:
    """Return ``first`` and multiples of variables as text."""
    first += sum(step * int(name) for step, name in steps if name.isdigit())
    parts = [
        (step, name if abs(step) == 1 else f"{abs(step)} * {name}")
        for step, name in steps
        if step and not name.isdigit()
    ]
    text = " + ".join(part for step, part in parts if step > 0)
    if first or not text:
        text = f"{text} + {first}" if text else str(first)
    return text + "".join(f" - {part}" for step, part in parts if step < 0)
