"""An .npy file of one array: a table (n, d + 1) of numbers, or one whose columns have names."""

from pathlib import Path

import numpy as np

from xpdl import checks
from xpdl.data.errors import DataFormatError
from xpdl.data.shards import Array
from xpdl.data.table import Table


def read_npy(path: str | Path) -> Table:
    """Read the table in an .npy file.  ``DataFormatError`` if it is none."""
    with checks.regular_file(path).open("rb") as file:
        try:
            array: Array = np.lib.format.read_array(file, allow_pickle=False)
        except MemoryError:
            raise
        except Exception as error:
            raise DataFormatError(f"{path}: not an .npy file of numbers: {' '.join(str(error).split())}") from error
    if array.dtype.names:
        columns, header = list(array.dtype.names), True
        parts = [array[name] for name in columns]
        array = np.stack(parts, axis=-1) if all(part.dtype.kind in "biuf" for part in parts) else array
    else:
        columns, header = [str(column) for column in range(array.shape[1] if array.ndim == 2 else 0)], False
    if array.ndim != 2 or array.dtype.kind not in "biuf" or array.shape[1] < 2 or not len(array):
        raise DataFormatError(
            f"{path}: expected a table of numbers (n, d + 1), got {array.dtype} of shape {array.shape}"
        )
    numbers = array if array.dtype == np.uint8 else array.astype(np.float64)
    if np.isinf(numbers).any() if numbers.dtype.kind == "f" else False:
        raise DataFormatError(f"{path}: it holds infinity")
    return Table(str(path), columns, [numbers], {}, np.arange(len(array)), header)
