"""A data set is four NumPy arrays and a name; they are checked once, here, and then trusted everywhere.

    x       (n, d)   rows are samples; uint8 images stay uint8, the network scales them to [0, 1]
    y       (n,)     int64 class labels, or floating targets (n,) or (n, k)
    x_test, y_test   the same for the test part, or both None

x and y may also be ``Shards`` on disk, whose numbers are checked when they are read.  What makes an array unusable is a
``DataFormatError`` with the name of the data set or file.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpdl.data.shards import Shards
from xpdl.randomness import Stream, generator

Array = NDArray[Any]


class DataFormatError(ValueError):
    """Data that cannot be used as it is; the message names the file or data set and the reason, on one line."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and test rows; ``DataFormatError`` if the arrays do not fit together or hold NaN or infinity.

    x, y            the samples (n, d), rows or uint8 images, and their labels (n,) or values (n, k)
    x_test, y_test  the same for the test part; None if there is none
    name            where they come from
    """

    x: Array | Shards
    y: Array | Shards
    x_test: Array | None = None
    y_test: Array | None = None
    name: str = "data"

    def __post_init__(self) -> None:
        for problem in _problems(self):
            raise DataFormatError(f"{self.name}: {problem}")

    @property
    def test(self) -> tuple[Array, Array] | None:
        """The test part, or None."""
        return None if self.x_test is None or self.y_test is None else (self.x_test, self.y_test)

    def split(self, fraction: float, seed: int = 0) -> "Dataset":
        """Move ``round(fraction * n)`` random rows into the test part; for data without one.

        Both parts come out shuffled.  ``ValueError`` if there is a test part already or one part would be empty.
        """
        if self.x_test is not None:
            raise ValueError(f"{self.name} has a test part already, it cannot be split")
        if isinstance(self.x, Shards) or isinstance(self.y, Shards):
            raise ValueError(f"{self.name} lies on disk, and only what is in memory can be split")
        n = len(self.x)
        n_test = round(fraction * n) if 0 < fraction < 1 else 0
        if not 0 < n_test < n:
            raise ValueError(f"fraction must leave rows in both parts of {n}, got {fraction!r}")
        test, train = np.split(generator(seed, Stream.DATA, layer=2).permutation(n), [n_test])
        return replace(self, x=self.x[train], y=self.y[train], x_test=self.x[test], y_test=self.y[test])


def _problems(data: Dataset) -> Iterator[str]:
    """What is wrong, first things first; later checks may rely on earlier ones."""
    yield from _pair_problems(data, "x", "y")
    if data.x_test is None and data.y_test is None:
        return
    if data.x_test is None or data.y_test is None:
        yield "x_test and y_test must come together"
        return
    yield from _pair_problems(data, "x_test", "y_test")
    for name, train, test in (("x", data.x, data.x_test), ("y", data.y, data.y_test)):
        if train.shape[1:] != test.shape[1:]:
            yield f"{name} has rows of shape {train.shape[1:]} but {name}_test of {test.shape[1:]}"
        if train.dtype.kind != test.dtype.kind:
            yield f"{name} is {train.dtype} but {name}_test is {test.dtype}"


def _pair_problems(data: Dataset, x_name: str, y_name: str) -> Iterator[str]:
    x, y = getattr(data, x_name), getattr(data, y_name)
    for name, a in ((x_name, x), (y_name, y)):
        if not isinstance(a, np.ndarray | Shards):
            yield f"{name} must be a NumPy array, got {type(a).__name__}"
    if x.ndim != 2 or 0 in x.shape:
        yield f"{x_name} must be (n, d) with n, d > 0, got shape {x.shape}"
    if x.dtype != np.uint8 and x.dtype.kind != "f":
        yield f"{x_name} must be uint8 or floating, got {x.dtype}"
    if y.dtype != np.int64 and y.dtype.kind != "f":
        yield f"{y_name} must be int64 labels or floating targets, got {y.dtype}"
    if y.ndim not in ((1,) if y.dtype == np.int64 else (1, 2)):
        yield f"{y_name} must be labels (n,) or targets (n,) or (n, k), got {y.dtype} of shape {y.shape}"
    if len(x) != len(y):
        yield f"{x_name} has {len(x)} rows but {y_name} has {len(y)}"
    for name, a in ((x_name, x), (y_name, y)):
        if isinstance(a, np.ndarray) and a.dtype.kind == "f" and not np.isfinite(a).all():
            yield f"{name} holds NaN or infinity"
