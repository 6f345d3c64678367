"""A communicator: what the ranks of a job, processes that run the same program, tell one another.

    rank, size         which of how many this one is
    allreduce(array)   the sum of the arrays of all ranks, the same bits on each
    broadcast(array)   the array of rank 0

All ranks must call the same operations in the same order with arrays of the same shape and dtype.  They take arrays of
any library, and may write into what they are given.
"""

from dataclasses import dataclass
import json
from typing import Any, Protocol

import numpy as np

from xpdl.arrays import Array


class Communicator(Protocol):
    """Three operations."""

    @property
    def rank(self) -> int:
        """Which rank this is, from 0."""

    @property
    def size(self) -> int:
        """How many ranks there are."""

    def allreduce(self, array: Array) -> Array:
        """The sum over the ranks."""

    def broadcast(self, array: Array) -> Array:
        """What rank 0 has."""


@dataclass(frozen=True)
class Serial:
    """The only rank."""

    rank: int = 0
    size: int = 1

    def allreduce(self, array: Array) -> Array:
        """The array itself."""
        return array

    def broadcast(self, array: Array) -> Array:
        """The array itself."""
        return array


def share(n: int, communicator: Communicator) -> slice:
    """Which of n samples are this rank's: as many as the others have, or one more or less."""
    rank, size = communicator.rank, communicator.size
    return slice(n * rank // size, n * (rank + 1) // size)


def gather(communicator: Communicator, value: Any) -> list[Any]:
    """The value of every rank, each as JSON has it, on every rank."""
    text = np.frombuffer(json.dumps(value).encode(), dtype=np.uint8)
    lengths = np.zeros(communicator.size, dtype=np.int64)
    lengths[communicator.rank] = len(text)
    lengths = communicator.allreduce(lengths)
    texts = np.zeros((communicator.size, lengths.max()), dtype=np.uint8)
    texts[communicator.rank, : len(text)] = text
    texts = communicator.allreduce(texts)
    return [json.loads(row[:length].tobytes()) for row, length in zip(texts, lengths, strict=True)]
