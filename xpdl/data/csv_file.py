"""A .csv file: a table of numbers with the label in the last column."""

from collections.abc import Iterator
import csv
import math
from pathlib import Path
import struct

import numpy as np

from xpdl import checks
from xpdl.data.dataset import DataFormatError, Dataset, labels_or_targets


def read_csv(path: str | Path) -> Dataset:
    """Read rows of comma-separated numbers.  The last number of a row is its label.

    The text is UTF-8, and the first line may be a header.  x is (n, d) float64.  y is (n,) int64 if all labels are
    whole numbers, else targets (n, 1) float64.  ``DataFormatError`` names the line, the column and what is wrong there.
    """
    numbers, row = bytearray(), []  # a list or an array for each row would take many times its length in the file
    for row in _rows(path):
        numbers += struct.pack(f"{len(row)}d", *row)
    if not row:
        raise DataFormatError(f"{path}: there are no rows of numbers")
    x, y = np.split(np.frombuffer(numbers).reshape(-1, len(row)), [-1], axis=1)
    return Dataset(x.copy(), labels_or_targets(y), name=str(path))


def _rows(path: str | Path) -> Iterator[list[float]]:
    """Yield the rows of d + 1 numbers; all must be as long as the first line."""
    width = 0
    for line, cells in _lines(path):
        row = [_number(cell) for cell in cells]
        is_header = not width and all(map(math.isnan, row)) and any(map(_is_text, cells))
        width = width or len(row)
        if len(row) != width or width < 2:
            wanted = width if width > 1 else "2 or more"
            raise DataFormatError(f"{path}, line {line}: expected {wanted} cells, got {len(row)}")
        if is_header:
            continue
        if not all(map(math.isfinite, row)):
            column = [math.isfinite(number) for number in row].index(False)
            cell = cells[column][:40]
            raise DataFormatError(f"{path}, line {line}, column {column + 1}: expected a finite number, got {cell!r}")
        yield row


def _lines(path: str | Path) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and cells of every line that is not empty."""
    with checks.regular_file(path).open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        try:
            yield from ((reader.line_num, cells) for cells in reader if cells)
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataFormatError(f"{path}, after line {reader.line_num}: {error}") from error


def _is_text(cell: str) -> bool:
    """Return whether a cell holds no number, and no NaN either."""
    return math.isnan(_number(cell)) and cell.strip().lower().lstrip("+-") != "nan"


def _number(cell: str) -> float:
    """Return the number in a cell, NaN if there is none."""
    try:
        return float(cell)
    except ValueError:
        return math.nan
