"""How a replayed step calls NumPy: where its memory is, and how its functions write into it."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import array_api_compat.numpy as xp
import numpy as np

from xpdl.backends.denormals import Flushed
from xpdl.backends.kernels.c_compiler import Kernel, compile_waiting
from xpdl.backends.kernels.fusion import Fusion
from xpdl.backends.replay.recorder import Library, Operation, Record, Recorded
from xpdl.backends.replay.target import Call, Machine

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


LIBRARY = Library(xp, np, (np.ndarray, np.generic))

LEFT = {np.exp, np.expm1, np.log, np.log1p, np.sin, np.cos, np.tanh, xp.take}
"""C and NumPy may round these differently; and NumPy takes rows as fast."""

LARGE = 16_384
"""Results of so many entries gain more from a kernel than its call takes; so do single numbers, by the dozen."""


def suits(operation: Operation) -> bool:
    """Whether a kernel in C does the same, and faster."""
    size = operation.results[0].value.size
    plain = all(x.value.flags.c_contiguous for x in operation.inputs)
    return plain and operation.function not in LEFT and (size >= LARGE or operation.results[0].ndim == 0)


groups = Fusion(LIBRARY, Kernel, suits)


def fusion(record: Record, results: Sequence[Recorded]) -> Record:
    """Groups in C, if the optimizer has found that worth a compiler's time."""
    return groups(record, results) if any(isinstance(o.function, Kernel) for o in record) else record


MACHINE = Machine(
    library=LIBRARY,
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
    fusion=fusion,
    ready=compile_waiting,
)
