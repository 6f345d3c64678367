"""NumPy: the host itself."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import array_api_compat.numpy as xp
import numpy as np

from xpdl.backends.base import Backend
from xpdl.backends.numpy_calls import MACHINE
from xpdl.backends.replay import Replayed

BLOCK = 49_152
"""Entries of a vector worked on at a time: a kernel's vectors and temporaries then stay in the second-level cache."""


def fuse(kernel: Callable[..., Any], cuts: Sequence[int] = ()) -> Callable[..., Any]:
    """The kernel block by block, so that its temporaries stay in cache instead of passing through memory.

    Blocks are views, so what the kernel changes by augmented assignment changes in the whole vectors.
    """

    def blocked(*arguments: Any) -> tuple[Any, ...]:
        vectors = [getattr(argument, "ndim", 0) > 0 for argument in arguments]
        for start in range(0, arguments[0].shape[-1], BLOCK):
            block = slice(start, start + BLOCK)
            views = [a[block] if vector else a for a, vector in zip(arguments, vectors, strict=True)]
            parts = kernel(*views)
        return tuple(next(a for a, view in zip(arguments, views, strict=True) if view is part) for part in parts)

    return blocked


def quiet() -> np.errstate:
    """No warnings of overflow: ``train`` reports a cost that is not finite, on every backend alike."""
    return np.errstate(over="ignore", invalid="ignore", divide="ignore")


def connect(name: str, device: str) -> Backend:
    """The NumPy backend; it has no other device than the host."""
    if device not in ("", "cpu"):
        raise ValueError(f"backend 'numpy' has only the device 'cpu', got {device!r}")
    replayed = partial(Replayed, MACHINE)
    return Backend(name, xp, "cpu", to_numpy=np.asarray, fuse=fuse, compile=replayed, activate=quiet)
