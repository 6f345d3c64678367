"""Does a table begin with the names of its columns?  The first row is compared with the rows below it."""

from collections.abc import Sequence
from itertools import pairwise
import re

from xpdl.data.table import MISSING

NUMBER = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?")
"""A number, with a decimal point or a decimal comma."""

FEW = 3
"""So many consecutive numbers in the first row are taken for names."""

Rows = Sequence[Sequence[str]]


def has_header(rows: Rows) -> bool:
    """Return whether the first of these rows holds names."""
    first, rest = rows[0], rows[1:]
    numbers = [cell for cell in first if NUMBER.fullmatch(cell)]
    if len(numbers) == len(first):
        return _counted(numbers, rest) or _doubled(first)
    texts = [column for column, cell in enumerate(first) if cell.lower() not in MISSING and cell not in numbers]
    apart = [column for column in texts if _mostly_numbers(rest, column) or _never_again(rows, [column])]
    if numbers and not _consecutive(numbers):
        return len(apart) > len(first) / 2
    return bool(texts) and (
        not rest or any(_mostly_numbers(rest, column) for column in apart) or _never_again(rows, texts)
    )


def header_names(rows: Rows) -> list[str]:
    """Return the names in the first row.  The rows below may be longer by an index, or by an empty cell at the end."""
    first = [cell.removeprefix("\ufeff") for cell in rows[0]]
    if not rows[1:] or any(len(row) != len(first) + 1 for row in rows[1:]):
        return first
    return [*first, ""] if all(row[-1] == "" for row in rows[1:]) else ["", *first]


def _consecutive(numbers: Sequence[str]) -> bool:
    """Return whether these are whole numbers one after the other, as names of years or pixels are."""
    if len(numbers) < FEW or not all(cell.isdecimal() for cell in numbers):
        return False
    return all(int(b) == int(a) + 1 for a, b in pairwise(numbers))


def _counted(numbers: Sequence[str], rest: Rows) -> bool:
    """Return whether the first row is 0, 1, 2, ..., as pandas names columns, and the next ones are not."""
    if numbers != [str(place) for place in range(len(numbers))] or len(numbers) < FEW or not rest:
        return False
    return not any(_consecutive(row) for row in rest)


def _doubled(first: Sequence[str]) -> bool:
    """Return whether these are names that pandas has made of a row of numbers: 5, 0, 0.1, 0.2, 0.3, ..."""
    zeros = [cell for cell in first if re.fullmatch(r"0(\.\d+)?", cell)]
    return len(zeros) > FEW and zeros == ["0", *(f"0.{count}" for count in range(1, len(zeros)))]


def _mostly_numbers(rows: Rows, column: int) -> bool:
    cells = [row[column] for row in rows if column < len(row) and row[column].lower() not in MISSING]
    return bool(cells) and sum(bool(NUMBER.fullmatch(cell)) for cell in cells) > len(cells) / 2


def _never_again(rows: Rows, columns: Sequence[int]) -> bool:
    """Return whether no cell of the first row comes again below, while others do: it is no sample of a few classes."""
    below = [[row[column] for row in rows[1:] if column < len(row)] for column in columns]
    if any(rows[0][column] in cells for column, cells in zip(columns, below, strict=True)):
        return False
    return any(len(set(cells)) < len(cells) for cells in below)
