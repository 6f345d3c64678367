"""Samples on disk: a window of rows at a time is read, checked and moved to the device."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from xpdl import checks
from xpdl.arrays import Array
from xpdl.backends import Backend, backend as choose_backend
from xpdl.data import inputs
from xpdl.data.shards import Shards, on_disk
from xpdl.network import Network

WINDOW = 32 << 20
"""Bytes of samples that are read from disk together, as one window."""


@dataclass(frozen=True)
class DiskInputs:
    """Samples x (n, d) and y on disk, and their weights (n,) or (n, k) in memory."""

    x: Shards
    y: Shards
    weight: np.ndarray | None

    @classmethod
    def checked(cls, net: Network, x: Any, y: Any, weight: Any, dtype: str) -> "DiskInputs":
        """Check the shapes of samples on disk (y may be in memory).  Numbers are checked when they are read."""
        checks.instance("net", net, Network)
        x, y = as_shards("x", x), as_shards("y", y)
        checks.rows("x", x, net.sizes[0])
        if len(y) != len(x):
            raise ValueError(f"y must hold one row for each of the {len(x)} samples, got shape {y.shape}")
        return cls(x, y, inputs.weights(net, weight, len(x), choose_backend("numpy"), dtype))

    @cached_property
    def kept(self) -> np.ndarray | None:
        """The rows whose weight is not 0, or None if these are all rows."""
        return inputs.nonzero_rows(self.weight)

    @property
    def count(self) -> int:
        """The number of rows whose weight is not 0."""
        return len(self.x if self.kept is None else self.kept)

    def enter(self, net: Network, rows: np.ndarray, backend: Backend, dtype: str) -> tuple[Array, Array, Array | None]:
        """Move these rows, in ascending order, to the device, as ``inputs.weighted`` does."""
        weight = None if self.weight is None else self.weight[rows]
        with global_row_numbers(rows):
            return inputs.weighted(net, self.x[rows], self.y[rows], weight, backend, dtype)

    def windows(self) -> Iterator[np.ndarray]:
        """Yield the rows whose weight is not 0, a window at a time."""
        return windows(self.x, np.arange(len(self.x)) if self.kept is None else self.kept)


def as_shards(argument: str, values: Any) -> Shards:
    """Return rows, on disk or in memory, as ``Shards``."""
    if isinstance(values, Shards):
        return values
    array = inputs.numbers(argument, values)
    if array.ndim == 0:
        raise ValueError(f"{argument} must hold a row for each sample, got {checks.shorten(values)}")
    return Shards([array if on_disk(array) else choose_backend("numpy").to_numpy(array)])


def row_bytes(x: Shards) -> int:
    """Return the size of a row in bytes."""
    return x.dtype.itemsize * x.shape[1]


def windows(x: Shards, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yield these rows, a window of WINDOW bytes of x at a time."""
    length = max(1, WINDOW // row_bytes(x))
    return (rows[first : first + length] for first in range(0, len(rows), length))


@contextmanager
def global_row_numbers(rows: np.ndarray) -> Iterator[None]:
    """Within the block, let an error about one of these rows give the row's number in the whole data set."""
    try:
        yield
    except checks.BadNumberError as error:
        raise error.in_row(rows[error.index[0]]) from None
