"""Memory layout: arrays with the strides of others, so that code which reads memory as it lies shows its mistakes."""

from collections.abc import Sequence
import math
from typing import Any

import numpy as np

from xpdl.gradcheck.function.sparse import is_sparse
from xpdl.gradcheck.report import Vector

MOST = 2**24
"""The most elements of memory that an array may span."""

Strides = tuple[int, ...]


def strides_of(array: Any) -> Strides | None:
    """The strides of an array in elements; None if it has none, or lies in rows without gaps."""
    if is_sparse(array):
        return None
    stride, shape = getattr(array, "stride", None), tuple(array.shape)
    if callable(stride):
        steps = tuple(int(step) for step in stride())
    else:
        steps = tuple(int(step) // array.dtype.itemsize for step in getattr(array, "strides", None) or ())
    return None if len(steps) != len(shape) or compact(steps, shape) else steps


def compact(strides: Strides, shape: Sequence[int]) -> bool:
    """Whether the elements lie in rows without gaps."""
    return all(n <= 1 or step == expected for step, n, expected in zip(strides, shape, rows(shape), strict=True))


def rows(shape: Sequence[int]) -> Strides:
    """The strides of an array that lies in rows without gaps."""
    return tuple(math.prod(shape[k:]) for k in range(1, len(shape) + 1))


def laid_out(values: Vector, strides: Strides | None) -> Vector:
    """The same values with these strides; as they are if elements would share memory and differ."""
    if strides is None or not _possible(values, strides):
        return values
    spans = [(n - 1) * step for n, step in zip(values.shape, strides, strict=True)]
    start = -sum(span for span in spans if span < 0)
    memory = np.zeros(sum(map(abs, spans)) + 1, values.dtype)
    bytes_ = tuple(step * values.itemsize for step in strides)
    array = np.lib.stride_tricks.as_strided(memory[start:], values.shape, bytes_)
    array[...] = values
    return array


def _possible(values: Vector, strides: Strides) -> bool:
    """Whether each element has a place of its own; along an axis of stride 0, all values must be the same."""
    if values.size == 0:
        return False
    reach = 0
    for step, n, axis in sorted(zip(map(abs, strides), values.shape, range(values.ndim), strict=True)):
        if step == 0 and not np.all(values == np.take(values, [0], axis)):
            return False
        if step and n > 1 and step <= reach:
            return False
        reach += step * (n - 1)
    return reach < MOST
