"""Where the samples of a step come from: all of them lie on the device, or they are read from disk window by window.

A source hands out an epoch in blocks: steps whose samples lie on the device together.  Every rank of a job draws the
same order and takes its share of each batch, so that any number of ranks computes the same run.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from xpdl import checks
from xpdl.arrays import Array
from xpdl.data.disk_inputs import WINDOW, Stored, row_bytes
from xpdl.distributed.communicators import share
from xpdl.randomness import Stream, generator
from xpdl.training.run_config import Setting
from xpdl.training.step import Data

PAGE = 128 << 10
"""Bytes of samples that lie together on disk and are read one after the other: what a disk does at full speed."""

SKETCH = 1024
"""Samples by which a data set on disk is told from another."""

Item = TypeVar("Item")
Loaded = TypeVar("Loaded")


class Block(NamedTuple):
    """Steps of an epoch, and for each size of batch in them what they read."""

    steps: range
    data: dict[int, Data]


class Source(Protocol):
    """Samples in batches."""

    @property
    def batches(self) -> list[int]:
        """The number of samples in each step of an epoch."""

    @property
    def weight(self) -> Any:
        """The weights of the samples; None: all are 1."""

    def blocks(self, epoch: int, first: int) -> Iterator[Block]:
        """The steps of an epoch from the first on."""

    def head(self, epoch: int, count: int) -> list[Array | None]:
        """x, y and weight of the first samples of an epoch, which are of its first batch."""

    def arrays(self) -> dict[str, np.ndarray]:
        """What tells these samples from others."""


def batches_of(n: int, batch_size: int | None) -> list[int]:
    """The sizes of the batches of n samples; the last may be smaller."""
    size = n if batch_size is None else min(checks.integer("batch_size", batch_size, least=1), n)
    return [size] * (n // size) + [n % size] * (n % size > 0)


def lanes(setting: Setting, n: int, start: int) -> Array:
    """The places of this rank's share of a batch of n samples, in an order that begins with sample ``start``."""
    return setting.backend.asarray(np.arange(n, dtype=np.int32)[share(n, setting.communicator)] - np.int32(start))


@dataclass(frozen=True)
class OnDevice:
    """Samples that all lie on the device, in a new order each epoch."""

    setting: Setting
    batches: list[int]
    x: Array  # (n, d)
    y: Array  # (n, k)
    weight: Array | None  # (n,)

    def blocks(self, epoch: int, first: int) -> Iterator[Block]:
        """The epoch is one block."""
        order = self.setting.backend.asarray(self.setting.order(epoch, sum(self.batches)))
        places = {n: lanes(self.setting, n, 0) for n in set(self.batches)}
        data = {n: Data(self.x, self.y, order, places[n], self.weight) for n in places}
        yield Block(range(first, len(self.batches)), data)

    def head(self, epoch: int, count: int) -> list[Array | None]:
        """The first samples of an epoch."""
        rows = self.setting.backend.asarray(self.setting.order(epoch, sum(self.batches))[:count])
        values = (self.x, self.y, self.weight)
        return [value if value is None else self.setting.backend.xp.take(value, rows, axis=0) for value in values]

    def arrays(self) -> dict[str, np.ndarray]:
        """All of them."""
        values = {"x": self.x, "y": self.y, "sample_weight": self.weight}
        return {name: self.setting.backend.to_numpy(value) for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class OnDisk:
    """Samples on disk, of which two windows are in memory: one is trained on while the next is read.

    Disks are slow at single samples, so the order of an epoch is drawn in two steps: the order of pages of PAGE bytes,
    and, for each window of WINDOW bytes of pages in that order, the order of the samples in it.
    """

    setting: Setting
    batches: list[int]
    data: Stored

    @property
    def weight(self) -> np.ndarray | None:
        """The weights of the samples; None: all are 1."""
        return self.data.weight

    def windows(self) -> list[range]:
        """The steps of each window."""
        length = max(1, WINDOW // (row_bytes(self.data.x) * self.batches[0]))
        total = len(self.batches)
        return [range(first, min(first + length, total)) for first in range(0, total, length)]

    def blocks(self, epoch: int, first: int) -> Iterator[Block]:
        """A block for each window."""
        windows = [window for window in self.windows() if window.stop > first]
        for window, data in zip(windows, ahead(partial(self.load, epoch), windows), strict=True):
            yield Block(range(max(first, window.start), window.stop), data)

    def order(self, epoch: int, window: range) -> np.ndarray:
        """The row of each sample of a window, in the order in which they are trained on."""
        n, page = sum(self.batches), max(1, PAGE // row_bytes(self.data.x))
        start, stop = (min(step * self.batches[0], n) for step in (window.start, window.stop))
        pages = np.append(self.setting.order(epoch, n // page), n // page)  # one that is not full: last
        places = np.arange(start, stop)
        rows = pages[places // page].astype(np.int64) * page + places % page
        if self.setting.shuffle:
            generator(self.setting.seed, Stream.SHUFFLE, step=epoch, layer=1 + window.start).shuffle(rows)
        return rows if self.data.kept is None else self.data.kept[rows]

    def load(self, epoch: int, window: range) -> dict[int, Data]:
        """Read this rank's share of a window, in the order in which it lies on disk."""
        rows, sizes = self.order(epoch, window), self.batches[window.start : window.stop]
        firsts = np.cumsum([0, *sizes[:-1]])
        mine = np.concatenate(
            [first + np.arange(n)[share(n, self.setting.communicator)] for first, n in zip(firsts, sizes, strict=True)]
        )
        mine = mine if len(mine) else np.array([0])  # a rank without a share needs arrays all the same
        mine = mine[np.argsort(rows[mine])]
        order = np.zeros(len(rows), dtype=np.int32)
        order[mine] = np.arange(len(mine))
        with self.setting.backend.activate():
            x, y, weight = self.enter(rows[mine])
            places = {n: lanes(self.setting, n, window.start * self.batches[0]) for n in set(sizes)}
            entered = self.setting.backend.asarray(order)
            return {n: Data(x, y, entered, places[n], weight) for n in places}

    def enter(self, rows: np.ndarray) -> tuple[Array, Array, Array | None]:
        """Samples, by their rows in ascending order."""
        return self.data.enter(self.setting.net, rows, self.setting.backend, self.setting.dtype)

    def head(self, epoch: int, count: int) -> list[Array | None]:
        """The first samples of an epoch."""
        rows = self.order(epoch, self.windows()[0])[:count]
        ascending = np.argsort(rows)
        back = self.setting.backend.asarray(np.argsort(ascending))
        values = self.enter(rows[ascending])
        return [value if value is None else self.setting.backend.xp.take(value, back, axis=0) for value in values]

    def arrays(self) -> dict[str, np.ndarray]:
        """Samples that lie as far from one another as can be: to look at all would take as long as an epoch."""
        x, y = self.data.x, self.data.y
        rows = np.unique(np.linspace(0, len(x) - 1, SKETCH).astype(np.int64))
        weights = {} if self.weight is None else {"sample_weight": self.weight}
        return {"x on disk": x[rows], "y on disk": y[rows]} | weights


def ahead(load: Callable[[Item], Loaded], items: list[Item]) -> Iterator[Loaded]:
    """load(item) of each, and meanwhile that of the next in another thread."""
    with ThreadPoolExecutor(max_workers=1) as reader:
        coming: Future[Loaded] | None = None
        for item in items:
            following = reader.submit(load, item)
            if coming is not None:
                yield coming.result()
            coming = following
        if coming is not None:
            yield coming.result()
