"""Samples on disk: arrays in memory-mapped files, of which no more is read than the rows that are asked for.

What was read of a mapped file counts as memory of the process until the system needs that for something else; here it
is given back after each reading, so that a process holds what it has asked for and no more.  Nor is more read from disk
than that: a system that meets rows far from one another would read megabytes around each, ten times what is asked for.
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
"""Bytes of rows that are in memory twice, as part of the file and copied."""

EXTENT = 128 << 10
"""The most bytes that the system is asked for at once: some systems leave out what is beyond."""

GAP = 16 << 10
"""Bytes between two rows that are read with them: faster than to ask twice."""


class Shards:
    """Arrays (n_i, ...), one after the other, as one (n, ...) whose rows can be taken, in the machine's byte order."""

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
        """All of it, in memory."""
        return np.asarray(self[:], dtype)

    def __getitem__(self, rows: Array | slice) -> Array:
        """A copy of these rows: a slice forwards, or numbers in ascending order; ``IndexError`` for any others."""
        n, given = len(self), rows
        rows = np.arange(*given.indices(n)) if isinstance(given, slice) else np.asarray(given)
        if rows.ndim != 1 or rows.dtype.kind != "i" or (np.diff(rows, prepend=0, append=n - 1) < 0).any():
            raise IndexError(f"rows must be a slice forwards or ascend in 0..{n - 1}, got {checks.shorten(given)}")
        taken = np.empty((len(rows), *self.shape[1:]), self.dtype)
        offsets = [0, *np.searchsorted(rows, self.ends)]
        for part, start, (first, stop) in zip(self.parts, [0, *self.ends], pairwise(offsets), strict=False):
            for piece in (slice(at, min(at + self.piece, stop)) for at in range(first, stop, self.piece)):
                wanted = rows[piece] - start
                with _in_memory(part, wanted):
                    taken[piece] = part[wanted]
        return taken

    def max(self) -> Any:
        """The greatest number."""
        return max(self[start : start + self.piece].max() for start in range(0, len(self), self.piece))


def on_disk(array: Any) -> bool:
    """Whether an array is too large for memory by what it is: ``Shards``, or mapped from a file."""
    return isinstance(array, Shards | np.memmap)


@contextmanager
def _in_memory(part: Array, rows: Array) -> Iterator[None]:
    """Meanwhile these rows of a mapped file, and no others, are in memory, as far as the system can be told."""
    if not (isinstance(part, np.memmap) and part.mode in ("r", "r+", "w+") and hasattr(mmap, "MADV_DONTNEED")):
        yield
        return
    file: mmap.mmap = part._mmap  # type: ignore[attr-defined]
    file.madvise(mmap.MADV_RANDOM)
    for start, stop in extents(part, rows):
        file.madvise(mmap.MADV_WILLNEED, start, stop - start)
    try:
        yield
    finally:
        file.madvise(mmap.MADV_NORMAL)
        file.madvise(mmap.MADV_DONTNEED)


def extents(part: np.memmap, rows: Array) -> Iterator[tuple[int, int]]:
    """First byte and end of what is to be read of a mapped file, in whole pages of memory, for one row or more."""
    base = np.frombuffer(part._mmap, np.uint8).ctypes.data  # type: ignore[attr-defined]
    low, high = (bound - base for bound in np.lib.array_utils.byte_bounds(part[:1]))
    firsts = np.sort(rows * part.strides[0]) + low
    ends = firsts + (high - low)
    offsets = np.flatnonzero(firsts[1:] > ends[:-1] + GAP) + 1
    for first, end in pairwise([0, *offsets, len(rows)]):
        start, stop = int(firsts[first]) // mmap.PAGESIZE * mmap.PAGESIZE, int(ends[end - 1])
        yield from ((at, min(at + EXTENT, stop)) for at in range(start, stop, EXTENT))
