"""Data of your own: an .npz of named arrays, or a .csv with the label in the last column."""

from collections.abc import Iterator
import csv
import math
from pathlib import Path
from typing import BinaryIO
import zipfile

import numpy as np

from xpdl.data.dataset import Array, DataFormatError, Dataset


def read_npz(path: str | Path) -> Dataset:
    """Arrays x and y, optionally x_test and y_test, of an .npz file (``numpy.savez``).

    In x uint8 and floats stay as they are, and other integers become float64; an x of more than two axes (images) is
    flattened to (n, d).  In y whole numbers, and rows with a single 1, are labels: int64 (n,).  ``DataFormatError``
    names the array and what is wrong with it.
    """
    with Path(path).open("rb") as file:
        if not zipfile.is_zipfile(file):
            raise DataFormatError(f"{path}: not an .npz file (a zip archive)")
        read = {name: _array(file, path, name) for name in PREPARE}
    arrays = {name: PREPARE[name](array) for name, array in read.items() if array is not None}
    for name in ("x", "y"):
        if name not in arrays:
            raise DataFormatError(f"{path}: there is no array {name}, only {', '.join(arrays) or 'others'}")
    return Dataset(**arrays, name=str(path))


def read_csv(path: str | Path) -> Dataset:
    """Rows of comma-separated numbers, the last one the label; UTF-8, the first line may be a header.

    x (n, d) float64.  y (n,) int64 if all labels are whole numbers, else targets (n, 1) float64.  ``DataFormatError``
    names the line, the column and what is wrong there.
    """
    rows = list(_rows(path))
    if not rows:
        raise DataFormatError(f"{path}: there are no rows of numbers")
    x, y = np.split(np.stack(rows), [-1], axis=1)
    return Dataset(x.copy(), _targets(y), name=str(path))


def _array(file: BinaryIO, path: str | Path, name: str) -> Array | None:
    """One array; None if it is absent.  The errors of zip, zlib and NumPy's header parser are many: all are caught."""
    try:
        file.seek(0)
        with np.load(file, allow_pickle=False) as archive:
            array = archive.get(name)
    except Exception as error:
        raise DataFormatError(f"{path}: array {name} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(array, np.ndarray | None):
        raise DataFormatError(f"{path}: {name} is not an array")
    return array


def _inputs(x: Array) -> Array:
    x = x.reshape(len(x), math.prod(x.shape[1:])) if x.ndim > 2 else x
    return x.astype(np.float64) if x.dtype.kind in "biu" and x.dtype != np.uint8 else x


def _targets(y: Array) -> Array:
    """Labels (n,) if that is what they are, in whatever form; else targets."""
    if y.dtype.kind not in "biuf" or y.ndim not in (1, 2) or 0 in y.shape:
        return y
    if y.ndim == 2 and y.shape[1] > 1:
        one_hot = np.all((y == 0) | (y == 1)) and np.all(np.sum(y, axis=1) == 1)
        return np.argmax(y, axis=1).astype(np.int64) if one_hot else y
    whole = y.dtype.kind in "biu" or np.all((y == np.rint(y)) & (np.abs(y) < 2**53))
    return y.reshape(-1).astype(np.int64) if whole else y


PREPARE = {"x": _inputs, "y": _targets, "x_test": _inputs, "y_test": _targets}


def _rows(path: str | Path) -> Iterator[Array]:
    """The rows (d + 1,) of a .csv, each of the length of the first line."""
    width = 0
    for line, cells in _lines(path):
        row = np.array([_number(cell) for cell in cells])
        is_header = not width and np.isnan(row).all()
        width = width or len(row)
        if len(row) != width or width < 2:
            wanted = width if width > 1 else "2 or more"
            raise DataFormatError(f"{path}, line {line}: expected {wanted} cells, got {len(row)}")
        if is_header:
            continue
        for column in np.flatnonzero(~np.isfinite(row)):
            cell = cells[column][:40]
            raise DataFormatError(f"{path}, line {line}, column {column + 1}: expected a finite number, got {cell!r}")
        yield row


def _lines(path: str | Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of every line that is not empty."""
    with Path(path).open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        try:
            yield from ((reader.line_num, cells) for cells in reader if cells)
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataFormatError(f"{path}, after line {reader.line_num}: {error}") from error


def _number(cell: str) -> float:
    """The number in a cell, NaN if there is none."""
    try:
        return float(cell)
    except ValueError:
        return math.nan
