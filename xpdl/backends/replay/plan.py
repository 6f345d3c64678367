"""Plan: a record becomes a list of calls without arguments, which write into the same memory each time.

place    each result gets memory.  A later result may use the same memory once the first one is no longer needed.  An
         array that is only used as a part of a larger vector (``concat``) is computed directly in that vector
bind     each operation becomes a call; views are taken once
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate, pairwise
import math
from typing import Any

from xpdl.arrays import Array
from xpdl.backends.replay.recorder import Operation, Record, Recorded, recorded
from xpdl.backends.replay.target import Call, Target
from xpdl.pytree import tree_map


class Plan:
    """A record, placed and bound.

    arrays  the present array of each recorded array
    calls   the call of each operation that is not a view, by the number of the operation
    users   for each input that is not consumed, the operations that read its memory, directly or through views
    """

    def __init__(self, target: Target, record: Record, inputs: list[Recorded], consumed: int, result: Any) -> None:
        record = target.fusion(needed(record, recorded(result)), recorded(result))
        self.target, self.record, self.inputs = target, record, inputs
        self.users = {x: users(record, x) for x in inputs[consumed:]}
        self.arrays = placed(target, record, inputs[:consumed], inputs[consumed:], recorded(result))
        self.calls: dict[int, Call] = {}
        for number in views_first(record):
            self.bind(number)
        target.ready(self.calls.values())
        self.result = tree_map(self.array, result)

    def __call__(self, arguments: Any, arrays: list[Array]) -> tuple[Any, "Plan"]:
        changed = [(x, a) for x, a in zip(self.inputs, arrays, strict=True) if self.arrays[x] is not a]
        if changed:
            self.enter(changed)
        for call in self.calls.values():
            call()
        return self.result, self

    def enter(self, changed: list[tuple[Recorded, Array]]) -> None:
        """Use other arrays than in the last run: consumed arrays are copied, all others are read where they lie."""
        module = self.target.library.module
        # Two consumed arrays may have been swapped, so all are read before one is written.
        copies = [(self.arrays[x], module.copy(a)) for x, a in changed if x not in self.users]
        for own, copy in copies:
            module.copyto(own, copy)
        for x, a in changed:
            if x in self.users:
                self.arrays[x] = a
                for number in self.users[x]:
                    self.bind(number)

    def bind(self, number: int) -> None:
        """Turn an operation into a call, or take its view."""
        operation = self.record[number]
        nested = any(isinstance(x, (list, tuple)) for x in operation.operands)
        # A new mask is bound in every step: without ``tree_map`` that takes a fifth of the time.
        operands = tree_map(self.array, operation.operands) if nested else tuple(map(self.array, operation.operands))
        if operation.is_view:
            self.arrays[operation.results[0]] = operation.function(*operands, **operation.options)
        else:
            self.calls[number] = call(self.target, operation, operands, self.arrays[operation.results[0]])

    def used(self, number: int) -> tuple[list[Array], list[Array]]:
        """Return the arrays that an operation reads, and those that it writes."""
        operation = self.record[number]
        return [self.arrays[x] for x in operation.inputs], [self.arrays[x] for x in operation.results]

    def array(self, x: Any) -> Any:
        """Return the present array of x; x itself if it is not recorded."""
        return self.arrays[x] if isinstance(x, Recorded) else x


def needed(record: Record, results: list[Recorded]) -> Record:
    """Return the record without unused operations, such as the step counter of a constant learning rate."""
    read, kept = {x.root for x in results}, []
    for operation in reversed(record):
        if operation.in_place or any(x.root in read for x in operation.results):
            read |= {x.root for x in operation.inputs}
            kept.append(operation)
    shorter = Record(record.library)
    shorter.extend(reversed(kept))
    return shorter


def users(record: Record, x: Recorded) -> list[int]:
    """Return the numbers of the operations that read or write the memory of x."""
    return [number for number in views_first(record) if any(y.root is x for y in record[number].inputs)]


def views_first(record: Record) -> list[int]:
    """Return the numbers of all operations, views first: a fused kernel may come before a view that it reads."""
    return sorted(range(len(record)), key=lambda number: not record[number].is_view)


# Calls: operations that write into given memory


def call(target: Target, operation: Operation, operands: tuple[Any, ...], place: Array) -> Call:
    """Return the operation as a function without arguments that writes into ``place``."""
    function, options = operation.function, operation.options
    if operation.in_place:
        bind = getattr(function, "bind", partial(partial, function))
        return bind(*operands)
    if target.elementwise(function) and not options:
        return partial(function, *operands, out=place)
    if function is target.library.xp.concat:
        return _joining(target.library.module, place, *operands, **options)
    return target.writers.get(function, partial(_copying, target.library.module, function))(place, *operands, **options)


def _copying(module: Any, function: Callable[..., Any], place: Array, *operands: Any, **options: Any) -> Call:
    return lambda: module.copyto(place, function(*operands, **options))


def _joining(module: Any, place: Array, arrays: Sequence[Array], *, axis: int = 0) -> Call:
    """Return a call that copies the arrays into ``place``, except for those that already lie there."""
    ends = accumulate((x.shape[axis] for x in arrays), initial=0)
    parts = [module.moveaxis(module.moveaxis(place, axis, 0)[start:stop], 0, axis) for start, stop in pairwise(ends)]
    moves = [(part, x) for part, x in zip(parts, arrays, strict=True) if not module.may_share_memory(part, x)]
    return lambda: [module.copyto(part, x) for part, x in moves]


# Memory


def placed(
    target: Target, record: Record, consumed: list[Recorded], inputs: list[Recorded], results: list[Recorded]
) -> dict[Recorded, Array]:
    """Return memory for every array that is not a view; memory is used again when its array is no longer needed.

    Consumed inputs get aligned memory of their own; other inputs stay where they are.
    """
    last = {x.root: number for number, operation in enumerate(record) for x in (*operation.inputs, *operation.results)}
    last |= {x.root: len(record) for x in (*consumed, *inputs, *results)}
    homes, pool = joined(target, record, last), Pool(target)
    arrays = {x: x.value for x in inputs} | {x: pool.take(x) for x in consumed}

    for number, operation in enumerate(record):
        roots = {x.root for x in (*operation.inputs, *operation.results)}
        ending = {x for x in roots if last[x] == number and x in arrays and x not in homes}
        early = {x for x in ending if target.elementwise(operation.function) and may_overwrite(operation, x)}
        for x in early:
            pool.give(arrays[x])
        for x in operation.results:
            if x.source is None:
                place(x, arrays, homes, pool)
        for x in ending - early:
            pool.give(arrays[x])
    return arrays


def place(
    x: Recorded, arrays: dict[Recorded, Array], homes: dict[Recorded, tuple[Recorded, int]], pool: "Pool"
) -> None:
    """Add memory for x to ``arrays``."""
    if x in arrays:
        return
    if x not in homes:
        arrays[x] = pool.take(x)
        return
    vector, start = homes[x]
    place(vector, arrays, homes, pool)
    arrays[x] = arrays[vector][start : start + math.prod(x.shape)].reshape(x.shape)


def may_overwrite(operation: Operation, x: Recorded) -> bool:
    """Return whether an elementwise result may overwrite the operand x: each entry is read before it is written."""
    alike = x.shape == operation.results[0].shape
    return alike and not any(y.root is x and y is not x for y in operation.inputs)


def joined(target: Target, record: Record, last: dict[Recorded, int]) -> dict[Recorded, tuple[Recorded, int]]:
    """Return the arrays that are only used as a part of a vector, with that vector and their place in it."""
    homes = {}
    made = {x for operation in record for x in operation.results if x.source is None}
    for number, operation in enumerate(record):
        vector = operation.results[0]
        if operation.function is target.library.xp.concat and vector.ndim == 1:
            ends = accumulate((x.shape[0] for x in operation.inputs), initial=0)
            for x, start in zip(operation.inputs, ends, strict=False):
                whole = math.prod(x.root.shape) == x.shape[0] and _in_order(target, x.root.value)
                ends_here = x.root in made and last[x.root] == number and x.root not in homes
                if whole and ends_here and x.dtype == vector.dtype and _in_order(target, x.value):
                    homes[x.root] = vector, start
    return homes


def _in_order(target: Target, array: Array) -> bool:
    """Return whether the array is stored row by row."""
    shared: bool = target.library.module.may_share_memory(array.reshape(-1), array)
    return shared


class Pool:
    """Free memory, by size."""

    def __init__(self, target: Target) -> None:
        self.memory, self.byte, self.reuse = target.memory, target.library.xp.uint8, target.reuse
        self.free: dict[int, list[Array]] = {}

    def take(self, x: Recorded) -> Array:
        """Return memory for an array like x: the memory that was given back last, because it is still in cache."""
        size = x.value.nbytes
        memory = self.free[size].pop() if self.free.get(size) else self.memory(size)
        return memory.view(x.dtype).reshape(x.shape)

    def give(self, array: Array) -> None:
        """Take back the memory of an array."""
        if self.reuse:
            self.free.setdefault(array.nbytes, []).append(array.reshape(-1).view(self.byte))
