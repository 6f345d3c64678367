"""Sources of batches: samples that are all on the device, or samples that are read from disk window by window.

A source yields an epoch in blocks.  A block is a range of steps whose samples are on the device together.  Every rank
draws the same order and takes its share of each batch, so the run is the same for any number of ranks.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from xpdl import checks
from xpdl.arrays import Array
from xpdl.data.disk_inputs import WINDOW, DiskInputs, row_bytes
from xpdl.distributed.communicators import share
from xpdl.randomness import Stream, generator, permutation
from xpdl.training.population import Own
from xpdl.training.run_config import RunConfig
from xpdl.training.step import Data

PAGE = 128 << 10
"""Bytes of samples that are read one after the other: a disk is fast only at consecutive reads."""

FINGERPRINTED = 1024
"""The number of samples that identify a data set on disk."""

Item = TypeVar("Item")
Loaded = TypeVar("Loaded")


class Block(NamedTuple):
    """Steps of an epoch, and the data that they read for each batch size."""

    steps: range
    data: dict[int, Data]


class Source(Protocol):
    """Samples in batches."""

    @property
    def batches(self) -> list[int]:
        """The number of samples in each step of an epoch."""

    @property
    def weight(self) -> Any:
        """The weights of the samples (n,); None if all are 1."""

    @property
    def lengths(self) -> int | np.ndarray:
        """The number of steps in an epoch; (K,) if networks differ in it."""

    def blocks(self, epoch: int, first: int) -> Iterator[Block]:
        """Yield the blocks of an epoch, from step ``first`` on."""

    def first_samples(self, epoch: int, count: int) -> list[Array | None]:
        """Return x, y and weight of the first samples of an epoch's first batch."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that identify these samples."""


def batches_of(n: int, batch_size: int | None) -> list[int]:
    """Return the sizes of the batches of n samples; the last may be smaller."""
    size = n if batch_size is None else min(checks.integer("batch_size", batch_size, least=1), n)
    return [size] * (n // size) + [n % size] * (n % size > 0)


def positions(config: RunConfig, n: int, start: int) -> Array:
    """Return the positions of this rank's share of a batch of n samples, in an order that begins at ``start``."""
    return config.backend.asarray(np.arange(n, dtype=np.int32)[share(n, config.communicator)] - np.int32(start))


@dataclass(frozen=True)
class OnDevice:
    """Samples that are all on the device.  Each epoch has a new order.

    Networks with weights of their own have orders of their own, of the samples that count for them: the folds of a
    cross-validation, or the samples of a bootstrap.  The network with the most samples decides the batches, and a
    network without samples left waits for the next epoch.
    """

    config: RunConfig
    batches: list[int]
    x: Array  # (n, d)
    y: Array  # (n, k)
    weight: Array | None  # (n,) or (n, k); (K, n) or (K, n, k) with ``counted``
    counted: np.ndarray | None = None  # (K, n) bool, the samples of each network

    @cached_property
    def counts(self) -> np.ndarray | None:
        """The number of samples (K,) of each network."""
        return None if self.counted is None else np.count_nonzero(self.counted, axis=1).astype(np.int32)

    @cached_property
    def lengths(self) -> int | np.ndarray:
        """The number of steps in an epoch; (K,) if networks differ in it."""
        if self.counts is None:
            return len(self.batches)
        lengths = -(-self.counts // self.batches[0])
        return lengths if lengths.min() < lengths.max() else int(lengths[0])

    def blocks(self, epoch: int, first: int) -> Iterator[Block]:
        """Yield the epoch as one block, or as one for each set of networks that have samples left."""
        order, start = self.config.backend.asarray(self.order(epoch)), 0
        for stop in np.unique(self.lengths).tolist():
            if stop > first:
                yield Block(range(max(first, start), stop), self.data(order, start, stop))
            start = stop

    def order(self, epoch: int) -> np.ndarray:
        """Return the order of an epoch, (n,) or (K, m)."""
        n = sum(self.batches)
        if self.counted is None:
            return self.config.order(epoch, n)
        order = np.empty((len(self.counted), n), dtype=np.int32)
        for row, counted, seed in zip(order, self.counted, self.config.seeds, strict=True):
            kept = np.flatnonzero(counted)
            row[: len(kept)] = kept[permutation(seed, epoch, len(kept), shuffle=self.config.shuffle)]
            row[len(kept) :] = counted.argmin()  # a sample without weight
            row[-(-len(kept) // self.batches[0]) * self.batches[0] :] = kept[0]
        return order

    def data(self, order: Array, start: int, stop: int) -> dict[int, Data]:
        """Return the data of these steps, in which the same networks have samples, for each batch size."""
        weight, own, put = self.weight, None, self.config.backend.asarray
        if self.counted is not None and self.counts is not None and self.weight is not None:
            k, n = self.counted.shape
            weight = self.config.backend.xp.reshape(weight, (k * n, *self.weight.shape[2:]))
            starts, active = np.arange(0, k * n, n, dtype=np.int32)[:, None], np.reshape(self.lengths > start, (-1, 1))
            own = Own(put(starts), put(self.counts), None if active.all() else put(active))
        return {
            size: Data(self.x, self.y, order, positions(self.config, size, 0), weight, own)
            for size in set(self.batches[start:stop])
        }

    def first_samples(self, epoch: int, count: int) -> list[Array | None]:
        """Return the first samples of an epoch."""
        rows = self.config.backend.asarray(self.order(epoch)[:count])
        values = (self.x, self.y, self.weight)
        return [value if value is None else self.config.backend.xp.take(value, rows, axis=0) for value in values]

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all samples."""
        values = {"x": self.x, "y": self.y, "sample_weight": self.weight}
        return {name: self.config.backend.to_numpy(value) for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class OnDisk:
    """Samples on disk.  Two windows are in memory: the run trains on one while the next is read.

    A disk is slow at reading single samples, so the order of an epoch is drawn in two stages.  First the pages of PAGE
    bytes are shuffled.  Then consecutive pages of that order form windows of WINDOW bytes, and the samples of each
    window are shuffled.
    """

    config: RunConfig
    batches: list[int]
    data: DiskInputs

    @property
    def weight(self) -> np.ndarray | None:
        """The weights of the samples (n,); None if all are 1."""
        return self.data.weight

    @property
    def lengths(self) -> int:
        """The number of steps in an epoch."""
        return len(self.batches)

    def windows(self) -> list[range]:
        """Return the steps of each window."""
        length = max(1, WINDOW // (row_bytes(self.data.x) * self.batches[0]))
        total = len(self.batches)
        return [range(first, min(first + length, total)) for first in range(0, total, length)]

    def blocks(self, epoch: int, first: int) -> Iterator[Block]:
        """Yield a block for each window."""
        windows = [window for window in self.windows() if window.stop > first]
        for window, data in zip(windows, ahead(partial(self.load, epoch), windows), strict=True):
            yield Block(range(max(first, window.start), window.stop), data)

    def order(self, epoch: int, window: range) -> np.ndarray:
        """Return the rows of a window's samples, in the order of training."""
        n, page = sum(self.batches), max(1, PAGE // row_bytes(self.data.x))
        start, stop = (min(step * self.batches[0], n) for step in (window.start, window.stop))
        pages = np.append(self.config.order(epoch, n // page), n // page)  # the last page may not be full
        places = np.arange(start, stop)
        rows = pages[places // page].astype(np.int64) * page + places % page
        if self.config.shuffle:
            generator(self.config.seeds[0], Stream.SHUFFLE, step=epoch, layer=1 + window.start).shuffle(rows)
        return rows if self.data.kept is None else self.data.kept[rows]

    def load(self, epoch: int, window: range) -> dict[int, Data]:
        """Read this rank's share of a window, in the order on disk."""
        rows, sizes = self.order(epoch, window), self.batches[window.start : window.stop]
        firsts = np.cumsum([0, *sizes[:-1]])
        mine = np.concatenate(
            [first + np.arange(n)[share(n, self.config.communicator)] for first, n in zip(firsts, sizes, strict=True)]
        )
        mine = mine if len(mine) else np.array([0])  # a rank without a share still needs arrays
        mine = mine[np.argsort(rows[mine])]
        order = np.zeros(len(rows), dtype=np.int32)
        order[mine] = np.arange(len(mine))
        with self.config.backend.activate():
            x, y, weight = self.enter(rows[mine])
            entered, start = self.config.backend.asarray(order), window.start * self.batches[0]
            return {n: Data(x, y, entered, positions(self.config, n, start), weight) for n in set(sizes)}

    def enter(self, rows: np.ndarray) -> tuple[Array, Array, Array | None]:
        """Read samples by their row numbers, which must be ascending."""
        return self.data.enter(self.config.net, rows, self.config.backend, self.config.dtype)

    def first_samples(self, epoch: int, count: int) -> list[Array | None]:
        """Return the first samples of an epoch."""
        rows = self.order(epoch, self.windows()[0])[:count]
        ascending = np.argsort(rows)
        back = self.config.backend.asarray(np.argsort(ascending))
        values = self.enter(rows[ascending])
        return [value if value is None else self.config.backend.xp.take(value, back, axis=0) for value in values]

    def arrays(self) -> dict[str, np.ndarray]:
        """Return evenly spaced samples: reading all would take as long as an epoch."""
        x, y = self.data.x, self.data.y
        rows = np.unique(np.linspace(0, len(x) - 1, FINGERPRINTED).astype(np.int64))
        weights = {} if self.weight is None else {"sample_weight": self.weight}
        return {"x on disk": x[rows], "y on disk": y[rows]} | weights


def ahead(load: Callable[[Item], Loaded], items: list[Item]) -> Iterator[Loaded]:
    """Yield load(item) for each item, while a thread loads the next one."""
    with ThreadPoolExecutor(max_workers=1) as reader:
        coming: Future[Loaded] | None = None
        for item in items:
            following = reader.submit(load, item)
            if coming is not None:
                yield coming.result()
            coming = following
        if coming is not None:
            yield coming.result()
