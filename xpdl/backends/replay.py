"""A step of NumPy as a list of calls that write into the same memory again and again.

    record   the first two runs are written down (record.py) and compared: a step that does something else the second
             time is no function of its arguments, and runs as it is from then on
    place    each result gets memory, which a later one takes over when nobody needs it any more; what is only joined
             to a larger vector (``concat``) is computed in its place there
    bind     each operation becomes a call without arguments; views are taken once
    replay   for call in calls: call()

So a replayed step makes no array and looks nothing up.  There is a plan for each choice of shapes and dtypes.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate, pairwise
import math
from typing import Any

import array_api_compat.numpy as xp
import numpy as np

from xpdl.backends.denormals import Flushed
from xpdl.backends.record import Operation, Record, Recorded, flatten, recorded, tree_map, values

ALIGNMENT = 64
"""Bytes of a cache line, and of the widest vector register."""


class Replayed:
    """A step that is replayed from its third call on.  It consumes its first argument."""

    def __init__(self, step: Callable[..., Any]) -> None:
        self.step = step
        self.runs: dict[Any, Callable[..., Any]] = {}  # what runs it, for each choice of shapes and dtypes

    def __call__(self, *arguments: Any) -> Any:
        arrays = flatten(arguments)
        if not all(isinstance(array, np.ndarray) for array in arrays):
            return self.step(*arguments)
        key = tuple((array.shape, array.dtype) for array in arrays)
        with Flushed():
            run = self.runs.get(key) or Rehearsal(self.step)
            result, self.runs[key] = run(arguments, arrays)
        return result


class Rehearsal:
    """The first runs of a step, which are recorded.  Each run of it returns the result and what is to run the next."""

    def __init__(self, step: Callable[..., Any]) -> None:
        self.step = step
        self.seen: list[Any] | None = None

    def __call__(self, arguments: Any, arrays: list[Any]) -> tuple[Any, Callable[..., Any]]:
        consumed = flatten(arguments[0])
        before = [np.copy(array) for array in consumed]
        try:
            return self.rehearse(arguments, arrays, len(consumed))
        except Exception:  # whatever it is, the step as it is shows it again, or does not have it
            for array, kept in zip(consumed, before, strict=True):
                np.copyto(array, kept)
            return self.plain(arguments, arrays)

    def rehearse(self, arguments: Any, arrays: list[Any], consumed: int) -> tuple[Any, Callable[..., Any]]:
        """Run and write down; the second time it is either the same or no function of its arguments."""
        record: Record = Record()
        inputs = [Recorded(array, record) for array in arrays]
        entered = iter(inputs)
        result = self.step(*tree_map(lambda _: next(entered), arguments))
        seen, self.seen = self.seen, record.spelled()
        if seen is None:
            return tree_map(values, result), self
        return tree_map(values, result), Plan(record, inputs, consumed, result) if seen == self.seen else self.plain

    def plain(self, arguments: Any, arrays: list[Any]) -> tuple[Any, Callable[..., Any]]:
        """The step as it is."""
        return self.step(*arguments), self.plain


class Plan:
    """A record, placed and bound.

    arrays  what each recorded array is now
    calls   the operations that are no views, by their number
    users   for each input that is not consumed the operations that see its memory, directly or through views
    """

    def __init__(self, record: Record, inputs: list[Recorded], consumed: int, result: Any) -> None:
        self.record, self.inputs = record, inputs
        self.users = {x: users(record, x) for x in inputs[consumed:]}
        self.arrays = placed(record, inputs, recorded(result))
        self.calls: dict[int, Callable[[], Any]] = {}
        for number in range(len(record)):
            self.bind(number)
        self.result = tree_map(self.array, result)

    def __call__(self, arguments: Any, arrays: list[np.ndarray]) -> tuple[Any, "Plan"]:
        changed = [(x, a) for x, a in zip(self.inputs, arrays, strict=True) if self.arrays[x] is not a]
        if changed:
            self.enter(changed)
        for call in self.calls.values():
            call()
        return self.result, self

    def enter(self, changed: list[tuple[Recorded, np.ndarray]]) -> None:
        """Other arrays than in the last run: what is consumed is copied, the rest is read where it lies."""
        copies = [(self.arrays[x], a.copy()) for x, a in changed if x not in self.users]  # they may be one another's
        for own, copy in copies:
            np.copyto(own, copy)
        for x, a in changed:
            if x in self.users:
                self.arrays[x] = a
                for number in self.users[x]:
                    self.bind(number)

    def bind(self, number: int) -> None:
        """Make an operation a call, or take a view."""
        operation = self.record[number]
        operands = tree_map(self.array, operation.operands)
        if operation.is_view:
            self.arrays[operation.result] = operation.function(*operands, **operation.options)
        else:
            self.calls[number] = call(operation, operands, self.arrays[operation.result])

    def array(self, x: Any) -> Any:
        """What x is now."""
        return self.arrays[x] if isinstance(x, Recorded) else x


def users(record: Record, x: Recorded) -> list[int]:
    """The operations that see the memory of x."""
    return [i for i, operation in enumerate(record) if any(y.root is x for y in operation.inputs)]


# Calls: an operation and where to write its result


def call(operation: Operation, operands: tuple[Any, ...], place: np.ndarray) -> Callable[[], Any]:
    """The operation as a function without arguments that writes into its place."""
    function, options = operation.function, operation.options
    if operation.in_place or (isinstance(function, np.ufunc) and not options):
        return partial(function, *operands, out=place)
    return WRITERS.get(function, partial(_anything, function))(place, *operands, **options)


def _anything(function: Callable[..., Any], place: np.ndarray, *operands: Any, **options: Any) -> Callable[[], Any]:
    return lambda: np.copyto(place, function(*operands, **options))


def _take(place: np.ndarray, x: np.ndarray, rows: np.ndarray, *, axis: int | None = None) -> Callable[[], Any]:
    return partial(np.take, x, rows, axis, place, "wrap")  # to look at indices first would take a buffer


def _astype(place: np.ndarray, x: np.ndarray, dtype: Any, **options: Any) -> Callable[[], Any]:
    return partial(np.copyto, place, x, "unsafe")


def _concat(place: np.ndarray, arrays: Sequence[np.ndarray], *, axis: int = 0) -> Callable[[], Any]:
    """Only what does not lie there already is copied."""
    ends = accumulate((x.shape[axis] for x in arrays), initial=0)
    parts = [np.moveaxis(np.moveaxis(place, axis, 0)[start:stop], 0, axis) for start, stop in pairwise(ends)]
    moves = [partial(np.copyto, part, x) for part, x in zip(parts, arrays, strict=True) if not _same_place(part, x)]
    return lambda: [move() for move in moves]


def _same_place(x: np.ndarray, y: np.ndarray) -> bool:
    return x.ctypes.data == y.ctypes.data and x.strides == y.strides


def _reduction(ufunc: np.ufunc) -> Callable[..., Callable[[], Any]]:
    return lambda place, x, **options: partial(ufunc.reduce, x, out=place, **{"axis": None} | options)


WRITERS: dict[Callable[..., Any], Callable[..., Callable[[], Any]]] = {
    xp.matmul: lambda place, x, y: partial(np.matmul, x, y, place),
    xp.take: _take,
    xp.astype: _astype,
    xp.concat: _concat,
    xp.sum: _reduction(np.add),
    xp.max: _reduction(np.maximum),
    xp.min: _reduction(np.minimum),
}
"""Functions that are no ufuncs, and how they write into a place; whatever is not here makes an array and copies it."""


# Places


def placed(record: Record, inputs: list[Recorded], results: list[Recorded]) -> dict[Recorded, np.ndarray]:
    """Memory for every array that is no view; it goes on to the next when its time is over.  Inputs keep theirs."""
    last = {x.root: number for number, operation in enumerate(record) for x in (*operation.inputs, operation.result)}
    last |= {x.root: len(record) for x in (*inputs, *results)}
    homes, pool, arrays = joined(record, last), Pool(), {x: x.value for x in inputs}

    def place(x: Recorded) -> None:
        if x in arrays:
            return
        if x not in homes:
            arrays[x] = pool.take(x)
            return
        vector, start = homes[x]
        place(vector)
        arrays[x] = arrays[vector][start : start + math.prod(x.shape)].reshape(x.shape)

    for number, operation in enumerate(record):
        roots = {x.root for x in (*operation.inputs, operation.result)}
        ending = {x for x in roots if last[x] == number and x in arrays and x not in homes}
        early = {x for x in ending if may_overwrite(operation, x)}
        for x in early:
            pool.give(arrays[x])
        if operation.result.source is None:
            place(operation.result)
        for x in ending - early:
            pool.give(arrays[x])
    return arrays


def may_overwrite(operation: Operation, x: Recorded) -> bool:
    """Whether the result may be written over the operand x: entry by entry, where it has been read."""
    elementwise = isinstance(operation.function, np.ufunc) and operation.function.signature is None
    return elementwise and not any(y.root is x and y is not x for y in operation.inputs)


def joined(record: Record, last: dict[Recorded, int]) -> dict[Recorded, tuple[Recorded, int]]:
    """The arrays that end as a part of a vector: the vector, and where in it."""
    homes = {}
    made = {operation.result for operation in record if operation.result.source is None}
    for number, operation in enumerate(record):
        if operation.function is xp.concat and operation.result.ndim == 1:
            ends = accumulate((x.shape[0] for x in operation.inputs), initial=0)
            for x, start in zip(operation.inputs, ends, strict=False):
                whole = x.root.value.size == x.value.size and x.root.value.flags.c_contiguous
                alike = x.dtype == operation.result.dtype and x.value.flags.c_contiguous
                if whole and alike and x.root in made and last[x.root] == number and x.root not in homes:
                    homes[x.root] = operation.result, start
    return homes


class Pool:
    """Memory that is not needed, by its size."""

    def __init__(self) -> None:
        self.free: dict[int, list[np.ndarray]] = {}

    def take(self, x: Recorded) -> np.ndarray:
        """Memory like x, what was given last first: that is in cache."""
        size = x.value.nbytes
        if self.free.get(size):
            memory = self.free[size].pop()
        else:
            memory = np.empty(size + ALIGNMENT, dtype=np.uint8)
            memory = memory[-memory.ctypes.data % ALIGNMENT :][:size]
        return memory.view(x.dtype).reshape(x.shape)

    def give(self, array: np.ndarray) -> None:
        """Back."""
        self.free.setdefault(array.nbytes, []).append(array.reshape(-1).view(np.uint8))
