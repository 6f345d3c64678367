"""Samples on disk: arrays in memory-mapped files.  Only the requested rows are read.

Pages that were read from a mapped file count as memory of the process until the system needs them for something else.
Here they are given back after each access, so a process holds only the rows that it has requested.  For single rows
that lie far apart, the system would read megabytes around each row, ten times the requested bytes.  ``madvise``
prevents it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate, pairwise
import mmap
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from xpdl import checks

Array = NDArray[Any]

PIECE = 4 << 20
"""Bytes of rows that are in memory twice at a time: as pages of the file, and as a copy."""

EXTENT = 128 << 10
"""The most bytes that are requested from the system at once; some systems ignore the rest of a longer request."""

GAP = 16 << 10
"""A gap of at most this many bytes between two rows is read too, because one request is faster than two."""


class Shards:
    """Arrays (n_i, ...), joined to one array (n, ...) in the machine's byte order, whose rows can be read."""

    def __init__(self, parts: Sequence[Array], dtype: DTypeLike | None = None) -> None:
        self.parts = parts
        self.ends = [*accumulate(len(part) for part in parts)]
        self.shape: tuple[int, ...] = (self.ends[-1], *parts[0].shape[1:])
        self.ndim = len(self.shape)
        self.dtype = np.dtype(dtype or parts[0].dtype.newbyteorder("="))
        self.piece = max(1, PIECE // max(1, parts[0][:1].nbytes))  # rows

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        """Return all rows, in memory."""
        return np.asarray(self[:], dtype)

    def __getitem__(self, rows: Array | slice) -> Array:
        """Return a copy of rows: ascending numbers or a slice with a positive step, else ``IndexError``."""
        n, given = len(self), rows
        rows = np.arange(*given.indices(n)) if isinstance(given, slice) else np.asarray(given)
        if rows.ndim != 1 or rows.dtype.kind != "i" or (np.diff(rows, prepend=0, append=n - 1) < 0).any():
            expected = f"ascending numbers in 0..{n - 1} or a slice with a positive step"
            raise IndexError(f"rows must be {expected}, got {checks.shorten(given)}")
        taken = np.empty((len(rows), *self.shape[1:]), self.dtype)
        offsets = [0, *np.searchsorted(rows, self.ends)]
        for part, start, (first, stop) in zip(self.parts, [0, *self.ends], pairwise(offsets), strict=False):
            for piece in (slice(at, min(at + self.piece, stop)) for at in range(first, stop, self.piece)):
                wanted = rows[piece] - start
                with _in_memory(part, wanted):
                    taken[piece] = part[wanted]
                if part.dtype.kind == "u" and self.dtype.kind == "i" and (taken[piece] < 0).any():
                    raise ValueError(f"labels must be below 2**63, got {part[wanted].max()}")
        return taken

    def max(self) -> Any:
        """Return the largest number."""
        return max(self[start : start + self.piece].max() for start in range(0, len(self), self.piece))


def on_disk(array: Any) -> bool:
    """Return whether an array lies on disk: ``Shards``, or an array that is mapped from a file."""
    return isinstance(array, Shards | np.memmap)


@contextmanager
def _in_memory(part: Array, rows: Array) -> Iterator[None]:
    """Within the block, tell the system that just these rows of a mapped file are needed in memory."""
    if not (isinstance(part, np.memmap) and part.mode in ("r", "r+", "w+") and hasattr(mmap, "MADV_DONTNEED")):
        yield
        return
    file: mmap.mmap = part._mmap  # type: ignore[attr-defined]
    if file.size() < _end(part):  # reading beyond its end would end this process
        raise OSError(f"{checks.one_line(part.filename)} has become shorter while it is in use")
    file.madvise(mmap.MADV_RANDOM)
    for start, stop in extents(part, rows):
        file.madvise(mmap.MADV_WILLNEED, start, stop - start)
    try:
        yield
    finally:
        file.madvise(mmap.MADV_NORMAL)
        file.madvise(mmap.MADV_DONTNEED)


def _end(part: np.memmap) -> int:
    """Return where in its file the last byte of a mapped array lies, which may be a part of a larger one."""
    start = part.offset - part.offset % mmap.ALLOCATIONGRANULARITY
    return int(start + np.lib.array_utils.byte_bounds(part)[1] - _base(part))


def _base(part: np.memmap) -> int:
    """Return the address of the first byte that is mapped."""
    return int(np.frombuffer(part._mmap, np.uint8).ctypes.data)  # type: ignore[attr-defined]


def extents(part: np.memmap, rows: Array) -> Iterator[tuple[int, int]]:
    """Yield the parts of a mapped file to read for one row or more: the first byte, at a page, and the end."""
    low, high = (bound - _base(part) for bound in np.lib.array_utils.byte_bounds(part[:1]))
    firsts = np.sort(rows * part.strides[0]) + low
    ends = firsts + (high - low)
    offsets = np.flatnonzero(firsts[1:] > ends[:-1] + GAP) + 1
    for first, end in pairwise([0, *offsets, len(rows)]):
        start, stop = int(firsts[first]) // mmap.PAGESIZE * mmap.PAGESIZE, int(ends[end - 1])
        yield from ((at, min(at + EXTENT, stop)) for at in range(start, stop, EXTENT))
