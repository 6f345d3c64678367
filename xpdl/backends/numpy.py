"""NumPy: the host itself."""

from collections.abc import Callable, Sequence
from functools import partial
import math
from typing import Any

import array_api_compat.numpy as xp
import numpy as np

from xpdl.backends.base import Backend
from xpdl.backends.kernels.c_compiler import elementwise_kernel
from xpdl.backends.kernels.tracing import fuse as traced
from xpdl.backends.numpy_replay import MACHINE
from xpdl.backends.replay.replayed import Replayed

BLOCK = 49_152
"""Entries of a vector worked on at a time: a kernel's vectors and temporaries then stay in the second-level cache."""

LONG = 131_072
"""Vectors of so many entries are worth the tenths of a second that a C compiler takes."""


def fuse(kernel: Callable[..., Any], offsets: Sequence[int] = ()) -> Callable[..., Any]:
    """The kernel in as few passes over memory as there can be: one if it can be had in C, else block by block."""
    in_c, in_blocks = traced(elementwise_kernel, kernel), blocked(kernel)
    impossible: list[TypeError] = []

    def fused(*arguments: Any) -> tuple[Any, ...]:
        if not impossible and math.prod(arguments[0].shape) >= LONG:
            try:
                return tuple(in_c(*arguments))
            except TypeError as error:
                impossible.append(error)
        return in_blocks(*arguments)

    return fused


def blocked(kernel: Callable[..., Any]) -> Callable[..., tuple[Any, ...]]:
    """The kernel block by block, so that its temporaries stay in cache instead of passing through memory.

    Blocks are views, so what the kernel changes by augmented assignment changes in the whole vectors.
    """

    def run(*arguments: Any) -> tuple[Any, ...]:
        vectors = [getattr(argument, "ndim", 0) > 0 for argument in arguments]
        for start in range(0, arguments[0].shape[-1], BLOCK):
            block = slice(start, start + BLOCK)
            views = [a[block] if vector else a for a, vector in zip(arguments, vectors, strict=True)]
            parts = kernel(*views)
        places = {id(view): a for a, view in zip(arguments, views, strict=True)}
        if not all(id(part) in places for part in parts):
            raise TypeError(f"{kernel} must return vectors it was given, changed by augmented assignment")
        return tuple(places[id(part)] for part in parts)

    return run


def quiet() -> np.errstate:
    """No warnings of overflow: ``train`` reports a cost that is not finite, on every backend alike."""
    return np.errstate(over="ignore", invalid="ignore", divide="ignore")


def connect(name: str, device: str) -> Backend:
    """The NumPy backend; it has no other device than the host."""
    if device not in ("", "cpu"):
        raise ValueError(f"backend 'numpy' has only the device 'cpu', got {device!r}")
    replayed = partial(Replayed, MACHINE)
    return Backend(name, xp, "cpu", to_numpy=np.asarray, fuse=fuse, compile=replayed, activate=quiet)
