"""An .npz file of named arrays: x and y, and for a test part x_test and y_test."""

import math
from pathlib import Path
from typing import BinaryIO
import zipfile

import numpy as np

from xpdl.data.dataset import Array, DataFormatError, Dataset, labels_or_targets


def read_npz(path: str | Path) -> Dataset:
    """Read the arrays x and y, and optionally x_test and y_test, of an .npz file (``numpy.savez``).

    In x, uint8 and floats stay unchanged, and other integers become float64.  An x of more than two axes (images) is
    flattened to (n, d).  In y, whole numbers and rows with a single 1 become labels, int64 (n,).  ``DataFormatError``
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


def _array(file: BinaryIO, path: str | Path, name: str) -> Array | None:
    """Read one array; None if it is absent.  zip, zlib and NumPy raise many kinds of errors; all are caught."""
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


PREPARE = {"x": _inputs, "y": labels_or_targets, "x_test": _inputs, "y_test": labels_or_targets}
"""The arrays that are read, each with the function that converts it for a ``Dataset``."""
