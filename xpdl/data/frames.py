"""Tables of pandas: frames, .parquet and .xlsx files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from xpdl.data.errors import DataFormatError
from xpdl.data.table import Table, unique_names

SUFFIXES = {".parquet": "read_parquet", ".xlsx": "read_excel", ".xls": "read_excel", ".feather": "read_feather"}
"""The suffixes of files that pandas reads, and its functions."""


def is_frame(source: Any) -> bool:
    """Return whether this is a frame of pandas, or of a library with the same names."""
    return all(hasattr(source, name) for name in ("columns", "iloc", "dtypes"))


def read_frame_file(path: str | Path) -> Table:
    """Read a file by pandas.  ``ImportError`` says what to install, ``DataFormatError`` what is wrong with the file."""
    try:
        import pandas
    except ImportError:
        raise ImportError(f"{path} is read by pandas: pip install pandas pyarrow openpyxl") from None
    reader: Callable[..., Any] = getattr(pandas, SUFFIXES[Path(path).suffix.lower()])
    try:
        return table_of_frame(reader(path), str(path))
    except (ImportError, OSError, MemoryError, DataFormatError):
        raise
    except Exception as error:
        raise DataFormatError(f"{path}: pandas cannot read it: {' '.join(str(error).split())}") from error


def table_of_frame(frame: Any, name: str = "frame") -> Table:
    """Return a frame as a table."""
    n, names = len(frame), [str(column) for column in frame.columns]
    if not n or len(names) < 1:
        raise DataFormatError(f"{name}: there are no rows")
    numbers, texts = np.full((n, len(names)), np.nan), {}
    for place in range(len(names)):
        column = frame.iloc[:, place]
        numbers[:, place], texts[place] = _column(column)
    texts = {place: cells for place, cells in texts.items() if cells}
    if np.isinf(numbers).any():
        raise DataFormatError(f"{name}: column {names[int(np.argwhere(np.isinf(numbers))[0, 1])]!r} holds infinity")
    header = names != [str(place) for place in range(len(names))]
    return Table(name, unique_names(names), [numbers], texts, np.arange(n), header)


def _column(column: Any) -> tuple[Any, dict[int, str]]:
    """Return the numbers of a column, and its texts."""
    absent = np.asarray(column.isna(), dtype=bool)
    kind = getattr(column.dtype, "kind", "O")
    if kind in "biuf" and kind != "b":
        return np.asarray(column.astype("float64").fillna(np.nan), dtype=np.float64), {}
    values = column.tolist()
    numbers = np.full(len(values), np.nan)
    texts: dict[int, str] = {}
    for row in np.flatnonzero(~absent):
        value = values[row]
        if isinstance(value, (int, float, np.number)) and not isinstance(value, bool):
            numbers[row] = value
        else:
            texts[int(row)] = str(value)
    return numbers, texts
