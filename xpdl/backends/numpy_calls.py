"""How a replayed step calls NumPy: where its memory is, and how its functions write into it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import array_api_compat.numpy as xp
import numpy as np

from xpdl.backends.denormals import Flushed
from xpdl.backends.record import Library
from xpdl.backends.replay import Call, Machine

ALIGNMENT = 64
"""Bytes of a cache line, and of the widest vector register."""


def memory(size: int) -> np.ndarray:
    """So many bytes that begin with a cache line."""
    more = np.empty(size + ALIGNMENT, dtype=np.uint8)
    return more[-more.ctypes.data % ALIGNMENT :][:size]


def elementwise(function: Callable[..., Any]) -> bool:
    """Whether it is a ufunc and no product."""
    return isinstance(function, np.ufunc) and function.signature is None


def _matmul(place: np.ndarray, x: np.ndarray, y: np.ndarray) -> Call:
    return partial(np.matmul, x, y, place)


def _take(place: np.ndarray, x: np.ndarray, rows: np.ndarray, *, axis: int | None = None) -> Call:
    return partial(np.take, x, rows, axis, place, "wrap")  # to look at indices first would take a buffer


def _astype(place: np.ndarray, x: np.ndarray, dtype: Any, **options: Any) -> Call:
    return partial(np.copyto, place, x, "unsafe")


def _reduction(ufunc: np.ufunc) -> Callable[..., Call]:
    return lambda place, x, **options: partial(ufunc.reduce, x, out=place, **{"axis": None} | options)


MACHINE = Machine(
    library=Library(xp, np, (np.ndarray, np.generic)),
    memory=memory,
    elementwise=elementwise,
    writers={
        np.matmul: _matmul,
        xp.matmul: _matmul,
        xp.take: _take,
        xp.astype: _astype,
        xp.sum: _reduction(np.add),
        xp.max: _reduction(np.maximum),
        xp.min: _reduction(np.minimum),
    },
    context=Flushed,
)
