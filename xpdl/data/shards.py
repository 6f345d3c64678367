"""Samples on disk: arrays in memory-mapped files, of which no more is read than the rows that are asked for.

What was read of a mapped file counts as memory of the process until the system needs that for something else; here it
is given back after each reading, so that a process holds what it has asked for and no more.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise
import mmap
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]

PIECE = 4 << 20
"""Bytes that are read at a time: around each the system may bring 2 MiB of the file into memory."""


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
        """A copy of these rows: a slice, or numbers in ascending order."""
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        taken = np.empty((len(rows), *self.shape[1:]), self.dtype)
        cuts = [0, *np.searchsorted(rows, self.ends)]
        for part, start, (first, stop) in zip(self.parts, [0, *self.ends], pairwise(cuts), strict=False):
            for piece in (slice(at, min(at + self.piece, stop)) for at in range(first, stop, self.piece)):
                taken[piece] = part[rows[piece] - start]
                _forget(part)
        return taken

    def max(self) -> Any:
        """The greatest number."""
        return max(self[start : start + self.piece].max() for start in range(0, len(self), self.piece))


def on_disk(array: Any) -> bool:
    """Whether an array is too large for memory by what it is: ``Shards``, or mapped from a file."""
    return isinstance(array, Shards | np.memmap)


def _forget(part: Array) -> None:
    """Give back the memory that holds what was read of a file, where the system can."""
    if isinstance(part, np.memmap) and part.mode in ("r", "r+") and hasattr(mmap, "MADV_DONTNEED"):
        part._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]
