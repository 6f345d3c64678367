"""Samples on disk: some rows at a time are checked and brought to the device."""

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
"""Bytes of samples that are read from disk together."""


@dataclass(frozen=True)
class Stored:
    """x (n, d), y and, in memory, the weights (n,) of samples."""

    x: Shards
    y: Shards
    weight: np.ndarray | None

    @cached_property
    def kept(self) -> np.ndarray | None:
        """The rows whose weight is not 0; None if these are all."""
        return inputs.counting(self.weight)

    @property
    def count(self) -> int:
        """How many are kept."""
        return len(self.x if self.kept is None else self.kept)

    def enter(self, net: Network, rows: np.ndarray, backend: Backend, dtype: str) -> tuple[Array, Array, Array | None]:
        """These rows, in ascending order, as ``samples.weighted``."""
        weight = None if self.weight is None else self.weight[rows]
        with named(rows):
            return inputs.weighted(net, self.x[rows], self.y[rows], weight, backend, dtype)

    def windows(self) -> Iterator[np.ndarray]:
        """The rows that count, some at a time."""
        return windows(self.x, np.arange(len(self.x)) if self.kept is None else self.kept)


def stored(net: Network, x: Any, y: Any, weight: Any, dtype: str) -> Stored:
    """x on disk, y and weight there or in memory; what they hold is checked when it enters."""
    checks.instance("net", net, Network)
    x, y = shards("x", x), shards("y", y)
    checks.rows("x", x, net.sizes[0])
    if len(y) != len(x):
        raise ValueError(f"y must hold one row for each of the {len(x)} samples, got shape {y.shape}")
    return Stored(x, y, inputs.weights(weight, len(x), choose_backend("numpy"), dtype))


def shards(argument: str, values: Any) -> Shards:
    """Rows that lie on disk or in memory."""
    if isinstance(values, Shards):
        return values
    array = inputs.numbers(argument, values)
    if array.ndim == 0:
        raise ValueError(f"{argument} must hold a row for each sample, got {checks.shorten(values)}")
    return Shards([array if on_disk(array) else choose_backend("numpy").to_numpy(array)])


def row_bytes(x: Shards) -> int:
    """Of a sample."""
    return x.dtype.itemsize * x.shape[1]


def windows(x: Shards, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Some of these rows at a time, WINDOW bytes of x."""
    length = max(1, WINDOW // row_bytes(x))
    return (rows[first : first + length] for first in range(0, len(rows), length))


@contextmanager
def named(rows: np.ndarray) -> Iterator[None]:
    """Within the block some rows are checked, and an error names the row among all."""
    try:
        yield
    except checks.BadNumberError as error:
        raise error.in_row(rows[error.index[0]]) from None
