"""NumPy as the target of replayed steps: its memory, the calls that write into it, and the choice of steps to fuse."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import array_api_compat.numpy as xp
import numpy as np

from xpdl.backends.denormals import Flushed
from xpdl.backends.kernels.c_compiler import Kernel, compiler, ready, spread
from xpdl.backends.kernels.fusion import Fusion
from xpdl.backends.kernels.operations import OPERATIONS
from xpdl.backends.replay.recorder import Library, Operation, Record, Recorded
from xpdl.backends.replay.target import Call, Target

ALIGNMENT = 64
"""Bytes of a cache line, and of the widest vector register."""


def memory(size: int) -> np.ndarray:
    """Return ``size`` bytes of memory that begin at a cache line."""
    more = np.empty(size + ALIGNMENT, dtype=np.uint8)
    return more[-more.ctypes.data % ALIGNMENT :][:size]


def elementwise(function: Callable[..., Any]) -> bool:
    """Return whether the function is a ufunc, but not a matrix product."""
    return isinstance(function, np.ufunc) and function.signature is None


def _matmul(place: np.ndarray, x: np.ndarray, y: np.ndarray) -> Call:
    return partial(np.matmul, x, y, place)


def _take(place: np.ndarray, x: np.ndarray, rows: np.ndarray, *, axis: int | None = None) -> Call:
    return partial(np.take, x, rows, axis, place, "wrap")  # "raise" would allocate a buffer to check the indices first


def _astype(place: np.ndarray, x: np.ndarray, dtype: Any, **options: Any) -> Call:
    return partial(np.copyto, place, x, "unsafe")


def _reshape(place: np.ndarray, x: np.ndarray, shape: tuple[int, ...], **options: Any) -> Call:
    return partial(np.copyto, place.reshape(x.shape), x)


def _reduction(ufunc: np.ufunc) -> Callable[..., Call]:
    return lambda place, x, **options: partial(ufunc.reduce, x, out=place, **{"axis": None} | options)


LIBRARY = Library(xp, np, (np.ndarray, np.generic))

INEXACT = {getattr(source, name, None) for source in (np, xp) for name, row in OPERATIONS.items() if not row.exact}
"""The functions that C and NumPy may round differently."""

LONG = 131_072
"""The number of parameters from which on a network is worth the tenths of a second that a C compiler takes."""

LARGE = 16_384
"""The number of entries of a result from which on a kernel in C saves more time than its call takes."""


def suits(operation: Operation) -> bool:
    """Return whether a kernel in C gives the same bits and is faster: for large results, and for 0-d arrays."""
    size, shape = operation.results[0].value.size, operation.results[0].shape
    plain = all(x.value.flags.c_contiguous and spread(x.shape, shape) for x in operation.inputs)
    exact = operation.function not in INEXACT and operation.function is not xp.take  # NumPy is as fast at taking rows
    return plain and exact and (size >= LARGE or operation.results[0].ndim == 0)


groups = Fusion(LIBRARY, Kernel, suits)


def fusion(record: Record, results: Sequence[Recorded]) -> Record:
    """Return the record with groups in C, if the step returns long vectors (theta) and there is a compiler."""
    worth = any(x.value.size >= LONG for x in results)
    return groups(record, results) if worth and compiler() else record


TARGET = Target(
    library=LIBRARY,
    memory=memory,
    elementwise=elementwise,
    writers={
        np.matmul: _matmul,
        xp.matmul: _matmul,
        xp.take: _take,
        xp.astype: _astype,
        xp.reshape: _reshape,
        xp.sum: _reduction(np.add),
        xp.max: _reduction(np.maximum),
        xp.min: _reduction(np.minimum),
    },
    context=Flushed,
    fusion=fusion,
    ready=ready,
)
