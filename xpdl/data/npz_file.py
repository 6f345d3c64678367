"""An .npz file of named arrays: x and y, and for a test part x_test and y_test."""

from collections.abc import Callable, Iterable
import math
import os
from pathlib import Path
from typing import BinaryIO
import zipfile

import numpy as np

from xpdl import checks
from xpdl.data.dataset import Array, DataFormatError, Dataset, labels_or_targets


def read_npz(path: str | Path) -> Dataset:
    """Read the arrays x and y, and optionally x_test and y_test, of an .npz file (``numpy.savez``).

    In x, uint8 and floats stay unchanged, and other integers become float64.  An x of more than two axes (images) is
    flattened to (n, d).  In y, whole numbers and rows with a single 1 become labels, int64 (n,).  ``DataFormatError``
    names the array and what is wrong with it.
    """
    arrays = {name: PREPARE[name](array) for name, array in read_arrays(path, PREPARE).items()}
    for name in ("x", "y"):
        if name not in arrays:
            raise DataFormatError(f"{path}: there is no array {name}, only {', '.join(arrays) or 'others'}")
    return Dataset(**arrays, name=str(path))


def read_arrays(path: str | Path, names: Iterable[str] | None = None) -> dict[str, Array]:
    """Read the arrays of these names that an .npz file has, or all; ``DataFormatError`` if that fails.

    Memory is bounded by the size of the file, about a thousand times as much if it is compressed.
    """
    with checks.regular_file(path).open("rb") as file:
        if not zipfile.is_zipfile(file):
            raise DataFormatError(f"{path}: not an .npz file (a zip archive)")
        if _members(file) > MOST:
            raise DataFormatError(f"{path}: more than {MOST} arrays")
        read = {name: _array(file, path, name) for name in (_names(file, path) if names is None else names)}
    return {name: array for name, array in read.items() if array is not None}


def _names(file: BinaryIO, path: str | Path) -> list[str]:
    try:
        with zipfile.ZipFile(file) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except Exception as error:  # zip raises many kinds of errors
        raise DataFormatError(f"{path}: cannot be read: {error}") from error


MOST = 1000
"""The most members of an archive: each takes some hundred bytes of memory, even if it is empty."""

RATIO = 1040
"""Deflate makes data at most 1032 times as small."""


def _members(file: BinaryIO) -> int:
    """Return the number of members that the end of an archive gives, without reading their list."""
    file.seek(-min(file.seek(0, os.SEEK_END), 22 + 0xFFFF), os.SEEK_END)
    end = file.read()
    place = end.rfind(b"PK\5\6") + 10
    return int.from_bytes(end[place : place + 2], "little")


def _array(file: BinaryIO, path: str | Path, name: str) -> Array | None:
    """Read one array; None if it is absent.  zip, zlib and NumPy raise many kinds of errors; all are caught."""
    try:
        file.seek(0)
        with zipfile.ZipFile(file) as archive:
            found = [member for member in archive.infolist() if member.filename in (f"{name}.npy", name)]
            if len(found) > 1:
                raise ValueError("it comes twice")
            return _read(archive, found[0]) if found else None
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        reason = f"{name} is not an array" if "magic string" in said else said
        raise DataFormatError(f"{path}: array {name} cannot be read: {reason}") from error


HEADERS: dict[tuple[int, int], Callable[..., tuple[tuple[int, ...], bool, np.dtype]]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
"""The functions that read the header of each version of the format."""


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    """Read a member; ``ValueError`` before anything is allocated that the archive cannot hold."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # zipfile reads others without a limit
        raise ValueError("it is compressed in another way than by NumPy")
    with archive.open(member) as stream:
        shape, _, dtype = HEADERS[np.lib.format.read_magic(stream)](stream)
        claimed = stream.tell() + dtype.itemsize * math.prod(shape)
    if not dtype.hasobject and not claimed == member.file_size <= RATIO * member.compress_size:
        raise ValueError(f"its header says {shape} {dtype}, which is not what the archive holds")
    with archive.open(member) as stream:
        array: Array = np.lib.format.read_array(stream, allow_pickle=False)
        return array


def _inputs(x: Array) -> Array:
    x = x.reshape(len(x), math.prod(x.shape[1:])) if x.ndim > 2 else x
    return x.astype(np.float64) if x.dtype.kind in "biu" and x.dtype != np.uint8 else x


PREPARE = {"x": _inputs, "y": labels_or_targets, "x_test": _inputs, "y_test": labels_or_targets}
"""The arrays that are read, each with the function that converts it for a ``Dataset``."""
