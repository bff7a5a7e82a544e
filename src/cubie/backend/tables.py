"""Tables of generated modules: numbers that loops look up, the same for all runs."""

from __future__ import annotations


class Table:
    """Returns its numbers by their index, as the intrinsic that a target makes of it does.

    Parameters
    ----------
    values : tuple of int or of float
    """

    def __init__(self, values: tuple[float, ...]):
        self.values = values

    def __call__(self, index: int) -> float:
        """Return one of them."""
        return self.values[index]


def table(numbers: str) -> Table:
    """Return the table of the numbers in a text: whole ones, where none has a point.

    A text is one constant to whoever reads a module; a hundred thousand numbers are as many.

    Raises
    ------
    ValueError
        For a text of anything else.
    """
    read = float if is_real(numbers) else int
    return Table(tuple(map(read, numbers.split())))


def is_real(numbers: str) -> bool:
    """Tell whether the numbers in a text are real: one has a point, an exponent, or a name."""
    return any(letter in numbers for letter in ".enf")
