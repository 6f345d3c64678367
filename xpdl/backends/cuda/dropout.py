"""Dropout: masks made on an NVIDIA GPU (dropout.cu), with the bits of ``randomness.dropout_mask``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from xpdl.arrays import Array, Namespace
from xpdl.backends.shared import once
from xpdl.randomness import Stream, check_seed

TEXT = Path(__file__).with_suffix(".cu").read_text(encoding="utf-8")
C_TYPES = {"float32": "float", "float64": "double"}
THREADS = 128  # in a block of the grid
ENTRIES = 8  # of the mask that a thread makes at a time


def dropout_mask(
    library: Namespace, seed: int, step: int, layer: int, shape: tuple[int, int], drop: float, dtype: str
) -> Array:
    """Return the mask on the current device of the library, which has ``empty`` and ``RawKernel`` as CuPy does."""
    mask = library.empty(shape, dtype=dtype)
    words = (mask.size, check_seed(seed), Stream.DROPOUT, step, layer, round(drop * 2**32))
    kept = np.dtype(dtype).type(1 / (1 - drop))
    blocks = mask.size // (ENTRIES * THREADS) + 1
    _kernel(library.RawKernel, dtype)((blocks,), (THREADS,), (mask, *map(np.uint64, words), kept))
    return mask


@once
def _kernel(compiler: Callable[..., Any], dtype: str) -> Any:
    return compiler(TEXT, "dropout_mask", options=(f"-DENTRY={C_TYPES[dtype]}",))
