"""IDX, the file format of MNIST: a header with the shape, and then the elements.

    bytes 0-1   zero
    byte  2     type of the elements, big-endian
    byte  3     number of dimensions k
    4 k bytes   the dimensions, unsigned 32-bit big-endian
    the rest    the elements, last index fastest

A header may give a wrong size.  Memory grows only with the data that are read, and never beyond the size in the header.
Source: LeCun, Cortes, Burges 1998, http://yann.lecun.com/exdb/mnist
"""

from collections.abc import Mapping
import gzip
import hashlib
from io import BufferedIOBase
import math
import os
from pathlib import Path
from typing import Any
import zlib

import numpy as np

from xpdl import checks
from xpdl.data.errors import DataFormatError
from xpdl.data.shards import Array

DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MAX_DIMS = 4
RATIO = 1040
"""gzip makes data at most 1032 times as small."""

BLOCK = 1 << 18  # bytes read at a time


def read_idx(path: str | Path, sha256: str | None = None, most: int | None = None) -> Array:
    """Read the array in an IDX file, in the machine's byte order.  A gzipped file is recognized by its first bytes.

    ``sha256`` is the expected hash of the uncompressed content, in hexadecimal, and ``most`` the largest size of its
    elements in bytes; a header that says more is refused before they are read.  ``DataFormatError`` names the file and
    what is wrong with it; ``OSError`` if it cannot be opened.
    """
    with checks.regular_file(path).open("rb") as raw:
        size = os.fstat(raw.fileno()).st_size
        gzipped = raw.peek(2)[:2] == b"\x1f\x8b"
        try:
            with gzip.GzipFile(fileobj=raw) if gzipped else raw as stream:
                possible = RATIO * size if gzipped else size
                array, digest = _parse(stream, possible if most is None else min(most, possible))
        except (DataFormatError, gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataFormatError(f"{path}: {error}") from error
    if sha256 not in (None, digest):
        raise DataFormatError(f"{path}: not the expected content: its SHA-256 is {digest}, expected {sha256}")
    return array


def map_idx(path: str | Path) -> np.memmap:
    """Map the array in an IDX file that is not gzipped.  It stays on disk, big-endian, until its elements are used."""
    with checks.regular_file(path).open("rb") as stream:
        try:
            dtype, shape, header = _header(stream)
            expected, found = len(header) + dtype.itemsize * math.prod(shape), Path(path).stat().st_size
            if expected != found:
                raise DataFormatError(f"{found} bytes, but the header says {expected}")
        except DataFormatError as error:
            raise DataFormatError(f"{path}: {error}") from error
    return np.memmap(path, dtype, "r", len(header), shape)


def _parse(stream: BufferedIOBase, most: int) -> tuple[Array, str]:
    """Read the array, of at most ``most`` bytes, and compute the SHA-256 of all bytes."""
    dtype, shape, header = _header(stream)
    if dtype.itemsize * math.prod(shape) > most:
        raise DataFormatError(
            f"truncated: the header says {shape} {dtype.name}, more than the {most} bytes that can be"
        )
    content = _read(stream, dtype.itemsize * math.prod(shape), f"elements of {shape} {dtype.name}")
    if stream.read(1):
        raise DataFormatError(f"more data than the header says, {shape} {dtype.name}")
    digest = hashlib.sha256(header)
    digest.update(content)
    array = np.frombuffer(content, dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False), digest.hexdigest()


def _header(stream: BufferedIOBase) -> tuple[np.dtype[Any], tuple[int, ...], bytearray]:
    """Read the header: the dtype, the shape, and its bytes."""
    magic = _read(stream, 4, "magic number")
    code, ndim = magic[2:]
    if magic[:2] != b"\0\0" or code not in DTYPES or not 1 <= ndim <= MAX_DIMS:
        raise DataFormatError(f"not an IDX file of 1 to {MAX_DIMS} dimensions: it begins with {magic.hex(' ')}")
    sizes = _read(stream, 4 * ndim, "dimensions")
    shape = tuple(int(size) for size in np.frombuffer(sizes, ">u4"))
    if 0 in shape:
        raise DataFormatError(f"no data: the header says {shape}")
    return np.dtype(DTYPES[code]), shape, magic + sizes


def _read(stream: BufferedIOBase, count: int, what: str) -> bytearray:
    """Read exactly ``count`` bytes, block by block."""
    content = bytearray()
    while block := stream.read(min(count - len(content), BLOCK)):
        content += block
    if len(content) < count:
        raise DataFormatError(f"truncated: {count} bytes of {what} expected, {len(content)} found")
    return content


def find_idx(folder: Path, name: str) -> Path | None:
    """Find a file such as "train-images-idx3-ubyte" in a folder, also with ".idx" or ".gz"; None if it is absent."""
    spellings = (base + end for end in ("", ".gz") for base in (name, name.replace("-idx", ".idx")))
    return next((folder / spelling for spelling in spellings if (folder / spelling).is_file()), None)


def read_pair(
    folder: Path, part: str, sha256: Mapping[str, str] | None = None, most: int | None = None
) -> tuple[Array, Array]:
    """Read the images, flattened to (n, d), and the labels (n,) int64 of a part, "train" or "t10k"."""
    images_path, images = _member(folder, f"{part}-images-idx3-ubyte", sha256 or {}, most)
    labels_path, labels = _member(folder, f"{part}-labels-idx1-ubyte", sha256 or {}, most)
    if images.ndim != 3:
        raise DataFormatError(f"{images_path}: images must have 3 dimensions, got shape {images.shape}")
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataFormatError(f"{labels_path}: labels must be integers (n,), got {labels.dtype} {labels.shape}")
    if len(images) != len(labels):
        raise DataFormatError(f"{labels_path}: {len(labels)} labels for the {len(images)} images of {images_path.name}")
    return images.reshape(len(images), -1), labels.astype(np.int64)


def _member(folder: Path, name: str, sha256: Mapping[str, str], most: int | None) -> tuple[Path, Array]:
    path = find_idx(folder, name)
    if path is None:
        raise DataFormatError(
            f"{folder}: there is no file {name}, {name.replace('-idx', '.idx')} or one of them with .gz"
        )
    return path, read_idx(path, sha256.get(name), most)
