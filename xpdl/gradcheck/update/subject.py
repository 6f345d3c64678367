"""``Subject``: the optimizer under test, and the paths that theta takes with made-up histories of gradients."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
import math
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from xpdl import checks
from xpdl.arrays import Array
from xpdl.backends import Backend
from xpdl.backends.base import to_numpy
from xpdl.gradcheck.report import Vector
from xpdl.pytree import flatten

HUGE_GRADIENT = 1e10
LEAST = {"float16": 2.0**-24, "bfloat16": 2.0**-133}
"""The least number above 0 of the dtypes with few digits, which are float32 on the host."""
EPSILON = {"float16": 2.0**-10, "bfloat16": 2.0**-7}
"""The distance from 1 to the next number."""


class Subject(NamedTuple):
    """The optimizer under test, and the kind of arrays it gets."""

    init: Callable[..., Any]
    update: Callable[..., Any]
    home: Backend
    dtype: str
    size: int  # P
    largest: float = HUGE_GRADIENT  # the largest gradient to be used; if gradients are clipped, none of these is

    @property
    def u(self) -> float:
        """The machine epsilon of the dtype."""
        return EPSILON.get(self.dtype) or float(np.finfo(self.dtype).eps)

    def put(self, values: Any) -> Array:
        """A new vector (P,), from one number for all entries or one for each."""
        low = self.dtype in EPSILON
        here = np.broadcast_to(values, (self.size,)).astype("float32" if low else self.dtype)
        there = self.home.asarray(here, copy=True)
        return self.home.xp.astype(there, getattr(self.home.xp, self.dtype, self.dtype)) if low else there

    def fetch(self, vector: Array) -> Vector:
        """A vector on the host."""
        low = checks.dtype_name(vector.dtype) in EPSILON
        return to_numpy(self.home.xp.astype(vector, self.home.xp.float32) if low else vector)

    def rounded(self, values: Vector) -> Vector:
        """These numbers in the dtype of the arrays."""
        return np.array([self.fetch(self.put(value))[0] for value in values], np.float64)

    def step(self, theta: Array, grad: Array, state: Any) -> tuple[Array, Any]:
        """Call ``update``, and check its result."""
        result = self.update(theta, grad, state)
        if not isinstance(result, tuple) or len(result) != 2:
            raise TypeError(f"optimizer.update must return (theta, state), got {checks.shorten(result)}")
        if getattr(result[0], "shape", None) != (self.size,):
            got = getattr(result[0], "shape", None) or checks.shorten(result[0])
            raise TypeError(f"optimizer.update must return theta of shape {(self.size,)}, got {got}")
        return result

    def walk(self, start: Any, grads: Sequence[Any] | Vector) -> Iterator[tuple[Array, Array, Any]]:
        """Yield theta, its gradient and the state: at the start, then after each step, until arithmetic fails."""
        theta = self.put(start)
        state = self.init(theta)
        yield theta, self.put(0.0), state
        with suppress(ArithmeticError):
            for values in grads:
                grad = self.put(values)
                theta, state = self.step(theta, grad, state)
                yield theta, grad, state

    def run(self, start: Any, grads: Sequence[Any] | Vector) -> Vector:
        """theta before and after each step (T + 1, P); NaN once arithmetic has failed."""
        path = np.full((len(grads) + 1, self.size), math.nan)
        for t, (theta, _, _) in enumerate(self.walk(start, grads)):
            path[t] = self.fetch(theta)
        return path

    def slots(self, start: Any, grads: Sequence[Any] | Vector) -> list[Vector]:
        """The vectors of theta's size in the state after these gradients."""
        *_, (_, _, state) = self.walk(start, grads)
        arrays = [np.asarray(to_numpy(slot), np.float64) for slot in arrays_in(state)]
        return [array for array in arrays if array.shape == (self.size,)]


def tolerance_of(u: float) -> float:
    """The error that a step may have, relative to the largest step of its history."""
    return float(8 * u**0.5)


def scale_of(theta: Vector, u: float) -> Vector:
    """The largest step of each path (T + 1, ...), or the rounding of theta if that is larger."""
    rounding = 16 * u * np.max(np.abs(theta), axis=0) / tolerance_of(u)
    return np.asarray(np.maximum(np.max(np.abs(np.diff(theta, axis=0)), axis=0) + rounding, 1e-300))


Slots: TypeAlias = tuple[tuple[float, ...], ...]
SEEN_AFTER = (0, 3)
"""The histories after which the state is looked at: after one, a number may be alike by chance."""


@dataclass(frozen=True)
class EntryPaths:
    """Histories of gradients, and the path of one entry of theta in each."""

    grads: Vector  # (T, C)
    theta: Vector  # (T + 1, C)
    slots: Slots  # its numbers in the state after two of the histories
    u: float

    @property
    def tolerance(self) -> float:
        """The error that a step may have, relative to the largest step of its history."""
        return tolerance_of(self.u)

    @cached_property
    def scale(self) -> Vector:
        """The largest step of each history (C,), or the rounding of theta if that is larger."""
        return scale_of(self.theta, self.u)


def arrays_in(state: Any) -> list[Array]:
    """The arrays in a state made of tuples, lists, mappings and dataclasses, to any depth."""
    found = []
    for leaf in flatten(state):
        found += [leaf] if hasattr(leaf, "shape") and hasattr(leaf, "dtype") else arrays_in(_parts(leaf))
    return found


def _parts(leaf: Any) -> list[Any]:
    """The values in a dataclass, or in a mapping that is not a dict."""
    if is_dataclass(leaf):
        return [getattr(leaf, field.name) for field in fields(leaf)]
    return list(leaf.values()) if isinstance(leaf, Mapping) else []


class Paths(NamedTuple):
    """Histories of gradients, and the paths of all entries of theta."""

    grads: Vector  # (T, C)
    theta: Vector  # (T + 1, C, P)
    slots: list[Vector]  # of the state after two of the histories, each (2, P)
    u: float

    def of(self, entry: int) -> EntryPaths:
        """The paths of one entry."""
        slots = tuple(tuple(map(float, slot[:, entry])) for slot in self.slots)
        return EntryPaths(self.grads, self.theta[:, :, entry], slots, self.u)


def observe(subject: Subject, histories: Sequence[tuple[float, Vector]]) -> Paths:
    """The paths of theta in these histories: (theta at the start, gradients)."""
    theta = np.stack([subject.run(start, grads) for start, grads in histories], axis=1)
    grads = np.stack([grads for _, grads in histories], axis=1)
    slots = zip(*(subject.slots(*histories[min(k, len(histories) - 1)]) for k in SEEN_AFTER), strict=False)
    return Paths(grads, theta, list(map(np.stack, slots)), subject.u)


def groups_of(paths: Paths) -> list[list[int]]:
    """Entries that take the same path, the largest group first."""
    groups, left = [], np.arange(paths.theta.shape[2])
    while len(left):
        one = paths.of(left[0])
        distance = np.abs(paths.theta[:, :, left] - one.theta[:, :, None])
        apart = np.any(distance > one.tolerance * one.scale[:, None], axis=(0, 1))
        groups.append(left[~apart].tolist())
        left = left[apart]
    return sorted(groups, key=len, reverse=True)
