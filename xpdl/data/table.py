"""A table as it was read: named columns of numbers and texts, before it is decided what they are for."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from xpdl import checks
from xpdl.data.shards import Array

MISSING = frozenset({"", "?", "na", "n/a", "#n/a", "#na", "<na>", "nan", "+nan", "-nan", "null", "none"})
"""Cells that hold nothing, in small letters."""


@dataclass
class Table:
    """Rows of cells.  A cell is a number, a text, or missing: then it is NaN and there is no text."""

    name: str
    columns: list[str]
    pieces: list[Array]  # (rows, c) uint8 or float64, NaN where there is no number
    texts: dict[int, dict[int, str]]  # column -> row -> the cell, where the number does not say all of it
    lines: Array  # (n,) where in the file
    header: bool  # whether the columns have names of their own
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.lines)

    def column(self, column: int) -> Array:
        """Return the numbers (n,) of a column, uint8 or float64."""
        return np.concatenate([piece[:, column] for piece in self.pieces])

    def numbers(self, column: int) -> Array:
        """Return the numbers (n,) of a column, float64."""
        return self.column(column).astype(np.float64)

    def cells(self, column: int) -> list[str]:
        """Return all cells of a column as texts; a missing one is empty."""
        texts = self.texts.get(column, {})
        return [texts.get(row) or number_text(x) for row, x in enumerate(self.numbers(column).tolist())]

    @cached_property
    def absent(self) -> list[int]:
        """How many cells of each column are missing."""
        counts = np.zeros(len(self.columns), int)
        for piece in self.pieces:
            counts += np.isnan(piece).sum(axis=0) if piece.dtype.kind == "f" else 0
        return [int(count) - len(self.with_text.get(column, [])) for column, count in enumerate(counts)]

    def copy_to(self, x: Array, ats: Sequence[int], columns: Sequence[int]) -> None:
        """Copy columns of numbers into columns of x; neighbours that stay neighbours go together."""
        breaks = np.flatnonzero((np.diff(ats) != 1) | (np.diff(columns) != 1)) + 1
        runs = [(run[0], run[-1] + 1) for run in np.split(np.arange(len(ats)), breaks)]
        row = 0
        for piece in self.pieces:
            for first, end in runs:
                at, column = ats[first], columns[first]
                x[row : row + len(piece), at : at + end - first] = piece[:, column : column + end - first]
            row += len(piece)

    def missing(self, column: int) -> Array:
        """Return which cells (n,) of a column are missing."""
        absent = np.isnan(self.numbers(column))
        absent[list(self.texts.get(column, {}))] = False
        return absent

    @cached_property
    def with_text(self) -> dict[int, list[int]]:
        """The columns that hold texts that are no numbers, with the rows of these."""
        found = {}
        for column, texts in self.texts.items():
            numbers = self.numbers(column)
            rows = [row for row in texts if np.isnan(numbers[row])]
            if rows:
                found[column] = rows
        return found

    def take(self, rows: Array) -> "Table":
        """Return the table of these rows, which ascend."""
        places = {int(row): place for place, row in enumerate(rows)}
        texts = {
            column: {places[row]: text for row, text in cells.items() if row in places}
            for column, cells in self.texts.items()
        }
        kept = np.concatenate(self.pieces)[rows]
        return Table(self.name, self.columns, [kept], texts, self.lines[rows], self.header, self.notes)

    def title(self, column: int) -> str:
        """Return how a message calls a column."""
        name = self.columns[column]
        return f"column {checks.shorten(name, 40)}" if name else f"the unnamed column {column}"

    def place(self, row: int, column: int) -> str:
        """Return where a cell is, for a message."""
        return f"line {self.lines[row]}, {self.title(column)}"


def number_text(number: float) -> str:
    """Return a number as a text: 3 for 3.0; nothing for NaN."""
    if number != number:
        return ""
    return str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)


def unique_names(names: Iterable[str]) -> list[str]:
    """Return the names, a later one of the same name with a number: a, a.1, a.2."""
    seen: dict[str, int] = {}
    found = []
    for name in names:
        count = seen[name] = seen.get(name, -1) + 1
        found.append(f"{name}.{count}" if name and count else name)
    return found


def column_list(names: Sequence[str], most: int = 8) -> str:
    """Return names of columns for a message, of many the first and the last."""
    shown = [checks.shorten(name, 40) for name in names]
    if len(shown) > most:
        shown = [*shown[: most - 2], "...", shown[-1]]
    return ", ".join(shown)
