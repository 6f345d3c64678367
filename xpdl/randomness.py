"""Random numbers: NumPy's Philox on the host draws all of them, each at its own address.

Philox is a counter-based generator.  The key identifies the run, and the counter is the place in that run.  So a number
is a pure function of (seed, stream, step, layer, element): no state has to be saved, and a run can resume at any step.

    key      (seed, stream)
    counter  (block, step, layer, 0)     the generator itself counts the blocks

Source: Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3 (Philox4x64-10).
"""

from enum import IntEnum

import numpy as np

from xpdl import checks


class Stream(IntEnum):
    """The purpose of random numbers.  Two streams never share a number."""

    WEIGHTS = 0
    SHUFFLE = 1
    DROPOUT = 2
    DATA = 3


def check_seed(seed: int) -> int:
    """The seed as an int; an error unless it is an integer in [0, 2**64)."""
    return checks.integer("seed", seed, least=0, below=2**64)


WORDS = 8
"""Words of 32 bits in a block of Philox."""


def philox(seed: int, stream: Stream, *, step: int = 0, layer: int = 0, block: int = 0) -> "np.random.Philox":
    """The bit generator at one address."""
    key = np.array([check_seed(seed), stream], dtype=np.uint64)
    counter = np.array([block, step, layer, 0], dtype=np.uint64)
    return np.random.Philox(key=key, counter=counter)


def generator(seed: int, stream: Stream, *, step: int = 0, layer: int = 0) -> "np.random.Generator":
    """NumPy's distributions (``normal``, ``permutation``, ...) on the bits at one address."""
    return np.random.Generator(philox(seed, stream, step=step, layer=layer))


def dropout_bits(seed: int, step: int, layer: int, count: int, first: int = 0) -> np.ndarray:
    """``count`` uniform 32-bit words (uint32), from word ``first`` on; the low half of a raw word comes first."""
    block, before = divmod(first, WORDS)
    words = philox(seed, Stream.DROPOUT, step=step, layer=layer, block=block).random_raw((before + count + 1) // 2)
    return words.astype("<u8", copy=False).view("<u4")[before : before + count].astype(np.uint32, copy=False)


def dropout_mask(
    seed: int, step: int, layer: int, shape: tuple[int, int], drop: float, dtype: str, first: int = 0
) -> np.ndarray:
    """A scaled dropout mask (n, units): 0 with probability ``drop``, else 1 / (1 - drop).

    An entry is dropped if its random word is below round(drop * 2^32).  The rows are those of a larger mask, from row
    ``first`` on.
    """
    n, units = shape
    kept = dropout_bits(seed, step, layer, n * units, first * units) >= round(drop * 2**32)
    return np.multiply(kept, 1 / (1 - drop), dtype=dtype).reshape(shape)


def permutation(seed: int, epoch: int, n: int, *, shuffle: bool = True) -> np.ndarray:
    """The order of n samples in an epoch, as int32 indices; without shuffling 0, 1, ..., n - 1."""
    order = generator(seed, Stream.SHUFFLE, step=epoch).permutation(n) if shuffle else np.arange(n)
    return order.astype(np.int32)
