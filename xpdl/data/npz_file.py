"""An .npz file of named arrays: samples, labels and, if they are there, those of a test part."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
import math
import os
from pathlib import Path
from typing import BinaryIO
import zipfile

import numpy as np

from xpdl import checks
from xpdl.data.array_names import roles
from xpdl.data.dataset import Dataset
from xpdl.data.errors import DataFormatError
from xpdl.data.parts import dataset_of_arrays, flat
from xpdl.data.roles import Options
from xpdl.data.shards import Array


def read_npz(path: str | Path, options: Options = Options()) -> Dataset:  # noqa: B008
    """Read the samples and the labels in an .npz file (``numpy.savez``), which are found by their names.

    In x, uint8 and floats stay unchanged, and other integers become float64, or uint8 if they are pixels.  An x of more
    than two axes (images) is flattened to (n, d).  ``DataFormatError`` names the array and what is wrong with it.
    """
    return dataset_of_arrays(_arrays(path, ("x", "y")), str(path), task=options.task)


def read_samples(path: str | Path) -> tuple[Array, Array | None]:
    """Read the samples x (n, d) in an .npz file, and their labels as they are, or None if there are none."""
    arrays = _arrays(path, ("x",))
    return flat(arrays["x"]), arrays.get("y")


def _arrays(path: str | Path, needed: Sequence[str]) -> dict[str, Array]:
    """Return the arrays by their roles; those of the roles ``needed`` must be there."""
    with _opened(path) as file:
        chosen = roles(_names(file, path), str(path), needed)
        return {role: _array(file, path, name) for role, name in chosen.items()}


def read_arrays(path: str | Path) -> dict[str, Array]:
    """Read all arrays of an .npz file, by their names; ``DataFormatError`` if that fails.

    Memory is bounded by the size of the file, about a thousand times as much if it is compressed.
    """
    with _opened(path) as file:
        return {name: _array(file, path, name) for name in _names(file, path)}


@contextmanager
def _opened(path: str | Path) -> Iterator[BinaryIO]:
    """Within the block, give the file of an archive that is not too long."""
    with checks.regular_file(path).open("rb") as file:
        if not zipfile.is_zipfile(file):
            raise DataFormatError(f"{path}: not an .npz file (a zip archive)")
        if _members(file) > MOST:
            raise DataFormatError(f"{path}: more than {MOST} arrays")
        yield file


def _names(file: BinaryIO, path: str | Path) -> list[str]:
    """Return the names of the arrays."""
    try:
        file.seek(0)
        with zipfile.ZipFile(file) as archive:
            return [name.removesuffix(".npy") for name in dict.fromkeys(archive.namelist())]
    except Exception as error:
        raise DataFormatError(f"{path}: the archive cannot be read: {' '.join(str(error).split())}") from error


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


def _array(file: BinaryIO, path: str | Path, name: str) -> Array:
    """Read one array.  zip, zlib and NumPy raise many kinds of errors; all are caught."""
    try:
        file.seek(0)
        with zipfile.ZipFile(file) as archive:
            found = [member for member in archive.infolist() if member.filename in (f"{name}.npy", name)]
            if len(found) > 1:
                raise ValueError("it comes twice")
            return _read(archive, found[0])
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
