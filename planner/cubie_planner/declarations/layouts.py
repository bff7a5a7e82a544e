"""How a matrix lies in memory: rows that are padded, or columns that change places row by row.

Shared memory has 32 banks of 4 bytes. Where the lanes of a warp go down a column of a matrix
whose rows are as long as all banks, every lane meets the same bank. Padding makes rows longer
by a few elements. A swizzle lets the columns of each row change places by an exclusive or::

    padding of 1                   swizzle of span 4
    row 0   a b c d .              row 0   a b c d
    row 1   . e f g h              row 1   f e h g       column c lies at c ^ 1
    row 2   i j k l .              row 2   k l i j       column c lies at c ^ 2

A swizzle costs no bytes, but code has to ask where an element lies.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen

from cubie_planner.basics import PlannerError, is_integer

MOST_ENUMERATED = 2**22
"""Elements of a swizzled matrix: each is looked at, to be sure that no two lie in one place."""


class LayoutError(PlannerError, ValueError):
    """A layout that cannot be, or that does not suit a shape."""


class Layout:
    """How rows and columns become positions: see `Padding` and `Swizzle`."""

    def row_length(self, shape: Sequence[int]) -> int:
        """Return the elements from the start of a row to the start of the next."""
        return shape[1]

    def column(self, row: int, column: int) -> int:
        """Return where in its row an element lies."""
        return column

    def position(self, shape: Sequence[int], row: int, column: int) -> int:
        """Return where an element lies, in elements from the first."""
        return row * self.row_length(shape) + self.column(row, column)

    def n_stored(self, shape: Sequence[int]) -> int:
        """Return the elements that memory has for the matrix."""
        if 0 in shape:
            return 0
        return (shape[0] - 1) * self.row_length(shape) + shape[1]

    def suits(self, shape: Sequence[int]) -> None:
        """Refuse a shape that the layout is not for."""
        if len(shape) != 2:
            raise LayoutError(f"a layout is for rows and columns, got the shape {tuple(shape)}")


@frozen
class Padding(Layout):
    """Rows that are longer by some elements, which nobody reads or writes.

    Parameters
    ----------
    elements : int
        How many follow each row but the last.
    """

    elements: int = 1

    def __attrs_post_init__(self) -> None:
        if not is_integer(self.elements) or not 0 <= self.elements <= 4096:
            raise LayoutError(f"a padding is from 0 to 4096 elements, got {self.elements!r}")

    def row_length(self, shape: Sequence[int]) -> int:
        """Return the elements from the start of a row to the start of the next."""
        return shape[1] + self.elements


@frozen
class Swizzle(Layout):
    """Columns that change places in each row: unit ``u`` lies at ``u ^ (row // rows % span)``.

    Parameters
    ----------
    span : int
        Units within which they change places; a power of two.
    unit : int
        Elements that stay together, as those of one vector access do; a power of two.
    rows : int
        Consecutive rows that have the same order; a power of two.
    """

    span: int
    unit: int = 1
    rows: int = 1

    def __attrs_post_init__(self) -> None:
        for name in ("span", "unit", "rows"):
            value = getattr(self, name)
            if not is_integer(value) or not 1 <= value <= 4096 or value & (value - 1):
                raise LayoutError(
                    f"{name} of a swizzle must be a power of two up to 4096, got {value!r}"
                )

    def column(self, row: int, column: int) -> int:
        """Return where in its row an element lies."""
        return column ^ ((row // self.rows % self.span) * self.unit)

    def suits(self, shape: Sequence[int]) -> None:
        """Refuse rows that are no multiple of what changes places."""
        Layout.suits(self, shape)
        period = self.span * self.unit
        if shape[1] % period:
            raise LayoutError(
                f"a swizzle of {self.span} x {self.unit} needs rows of a multiple of {period} "
                f"elements, got {shape[1]}"
            )
        if math.prod(shape) > MOST_ENUMERATED:
            raise LayoutError(f"a swizzled matrix has at most {MOST_ENUMERATED} elements")


def positions(layout: Layout, shape: Sequence[int]) -> Iterator[int]:
    """Yield where every element lies, row after row."""
    for row in range(shape[0]):
        for column in range(shape[1]):
            yield layout.position(shape, row, column)


def shape_of(n_elements: Any, shape: Any, layout: Layout | None) -> tuple[Any, Any]:
    """Return the elements stored, and the shape, of what a buffer is declared with.

    Raises
    ------
    LayoutError
        When shape, layout and number do not fit together.
    """
    if isinstance(n_elements, tuple | list):
        n_elements, shape = None, n_elements
    if shape is None:
        if layout is not None:
            raise LayoutError("a layout needs a shape: give n_elements as (rows, columns)")
        return n_elements, None
    shape = tuple(shape)
    if not shape or not all(is_integer(n) and n >= 0 for n in shape):
        raise LayoutError(f"a shape is of integers >= 0, got {shape!r}")
    shape = tuple(int(n) for n in shape)
    if layout is not None and not isinstance(layout, Layout):
        raise LayoutError(f"layout must be a Padding or a Swizzle, got {layout!r}")
    if layout is not None:
        layout.suits(shape)
    stored = math.prod(shape) if layout is None else layout.n_stored(shape)
    if n_elements is not None and n_elements != stored:
        raise LayoutError(
            f"a shape of {shape} stores {stored} elements, not {n_elements!r}; give n_elements as "
            "the shape"
        )
    return stored, shape


def layout_to_dict(layout: Layout | None) -> dict[str, Any] | None:
    """Return a layout as plain JSON values."""
    if isinstance(layout, Padding):
        return {"kind": "padding", "elements": layout.elements}
    if isinstance(layout, Swizzle):
        return {"kind": "swizzle", "span": layout.span, "unit": layout.unit, "rows": layout.rows}
    return None


def layout_from_dict(data: Mapping[str, Any] | None) -> Layout | None:
    """Read a layout from plain JSON values.

    Raises
    ------
    LayoutError
        When it is none.
    """
    if data is None:
        return None
    fields = dict(data)
    kinds = {"padding": Padding, "swizzle": Swizzle}
    kind = kinds.get(fields.pop("kind", None))
    if kind is None:
        raise LayoutError(f"the kind of a layout is one of {', '.join(map(repr, kinds))}")
    try:
        return kind(**fields)
    except TypeError as error:
        raise LayoutError(f"a layout of odd fields: {sorted(fields)}") from error


def layout_in_words(layout: Layout | None) -> str:
    """Return a layout in a few words."""
    if isinstance(layout, Padding):
        return f"rows padded by {layout.elements}"
    if isinstance(layout, Swizzle):
        return f"swizzled by {layout.span} x {layout.unit}, {layout.rows} rows alike"
    return "plain rows"
