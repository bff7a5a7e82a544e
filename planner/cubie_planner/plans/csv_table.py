"""The header of a CSV and its lines as cells; what is odd is refused by its line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

from cubie_planner.reading import FormatError, shown

Cells = Mapping[str, str]


class CsvTable:
    """The header of a CSV, and its lines as cells."""

    def __init__(self, text: str):
        if not isinstance(text, str):
            raise FormatError(f"a CSV is given as text, not {shown(text)}")
        lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
        self._reader = csv.reader(io.StringIO(lines), strict=True)
        try:
            self.header = [name.strip() for name in next(self._reader, [])]
        except csv.Error as error:
            raise FormatError(f"line 1: {error}") from error

    def rows(self, names: Iterable[str]) -> Iterable[tuple[str, Cells]]:
        """Yield where each line is, and its cells by the names of the columns."""
        names = list(names)
        try:
            for row in self._reader:
                where = f"line {self._reader.line_num}"
                if not row:
                    continue
                if len(row) > len(names):
                    raise FormatError(
                        f"{where}: has {len(row)} cells under {len(names)} columns; the first "
                        f"beyond them is {shown(row[len(names)])}"
                    )
                cells = dict.fromkeys(names, "")
                cells.update(zip(names, (cell.strip() for cell in row), strict=False))
                yield where, cells
        except csv.Error as error:
            raise FormatError(f"line {self._reader.line_num}: {error}") from error

    def known(
        self, columns: Sequence[str], required: Iterable[str], optional: Iterable[str]
    ) -> None:
        """Refuse columns of which one is lacking, there twice, or of no meaning."""
        for name in required:
            if name not in columns:
                raise FormatError(f"the CSV header lacks {name!r}; it has {shown(self.header)}")
        allowed = [*required, *optional]
        for index, name in enumerate(columns):
            if name in columns[:index]:
                raise FormatError(f"the CSV header has the column {name!r} twice")
            if name not in allowed:
                raise FormatError(
                    f"the CSV header has an unknown column {shown(name)}; known: "
                    f"{', '.join(allowed)}"
                )


def require_no_blanks(name: str) -> None:
    """Refuse a name that reading would trim."""
    if name != name.strip():
        raise FormatError(f"a CSV cannot hold the blanks around the name {name!r}")
