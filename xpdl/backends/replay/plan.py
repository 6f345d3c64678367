"""A record as calls without arguments, that write into the same memory again and again.

place    each result gets memory, which a later one may take over when nobody needs it any more; what is only joined
         to a larger vector (``concat``) is computed in its place there
bind     each operation becomes a call; views are taken once
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate, pairwise
import math
from typing import Any

from xpdl.arrays import Array
from xpdl.backends.replay.recorder import Operation, Record, Recorded, recorded
from xpdl.backends.replay.target import Call, Machine
from xpdl.pytree import tree_map


class Plan:
    """A record, placed and bound.

    arrays  what each recorded array is now
    calls   the operations that are no views, by their number
    users   for each input that is not consumed the operations that see its memory, directly or through views
    """

    def __init__(self, machine: Machine, record: Record, inputs: list[Recorded], consumed: int, result: Any) -> None:
        record = machine.fusion(needed(record, recorded(result)), recorded(result))
        self.machine, self.record, self.inputs = machine, record, inputs
        self.users = {x: users(record, x) for x in inputs[consumed:]}
        self.arrays = placed(machine, record, inputs[:consumed], inputs[consumed:], recorded(result))
        self.calls: dict[int, Call] = {}
        for number in views_first(record):
            self.bind(number)
        machine.ready()
        self.result = tree_map(self.array, result)

    def __call__(self, arguments: Any, arrays: list[Array]) -> tuple[Any, "Plan"]:
        changed = [(x, a) for x, a in zip(self.inputs, arrays, strict=True) if self.arrays[x] is not a]
        if changed:
            self.enter(changed)
        for call in self.calls.values():
            call()
        return self.result, self

    def enter(self, changed: list[tuple[Recorded, Array]]) -> None:
        """Other arrays than in the last run: what is consumed is copied, the rest is read where it lies."""
        module = self.machine.library.module
        copies = [
            (self.arrays[x], module.copy(a)) for x, a in changed if x not in self.users
        ]  # they may be one another's
        for own, copy in copies:
            module.copyto(own, copy)
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
            self.arrays[operation.results[0]] = operation.function(*operands, **operation.options)
        else:
            self.calls[number] = call(self.machine, operation, operands, self.arrays[operation.results[0]])

    def used(self, number: int) -> tuple[list[Array], list[Array]]:
        """What an operation reads, and what it writes."""
        operation = self.record[number]
        return [self.arrays[x] for x in operation.inputs], [self.arrays[x] for x in operation.results]

    def array(self, x: Any) -> Any:
        """What x is now."""
        return self.arrays[x] if isinstance(x, Recorded) else x


def needed(record: Record, results: list[Recorded]) -> Record:
    """The operations without those whose result nobody reads, such as a learning rate's step where it is constant."""
    read, kept = {x.root for x in results}, []
    for operation in reversed(record):
        if operation.in_place or any(x.root in read for x in operation.results):
            read |= {x.root for x in operation.inputs}
            kept.append(operation)
    shorter = Record(record.library)
    shorter.extend(reversed(kept))
    return shorter


def users(record: Record, x: Recorded) -> list[int]:
    """The operations that see the memory of x."""
    return [number for number in views_first(record) if any(y.root is x for y in record[number].inputs)]


def views_first(record: Record) -> list[int]:
    """The numbers of all operations in an order to bind them: those in a kernel may be before the views they read."""
    return sorted(range(len(record)), key=lambda number: not record[number].is_view)


# Calls: an operation and where to write its result


def call(machine: Machine, operation: Operation, operands: tuple[Any, ...], place: Array) -> Call:
    """The operation as a function without arguments that writes into its place."""
    function, options = operation.function, operation.options
    if operation.in_place:
        bind = getattr(function, "bind", partial(partial, function))
        return bind(*operands)
    if machine.elementwise(function) and not options:
        return partial(function, *operands, out=place)
    if function is machine.library.xp.concat:
        return _joining(machine.library.module, place, *operands, **options)
    return machine.writers.get(function, partial(_copying, machine.library.module, function))(
        place, *operands, **options
    )


def _copying(module: Any, function: Callable[..., Any], place: Array, *operands: Any, **options: Any) -> Call:
    return lambda: module.copyto(place, function(*operands, **options))


def _joining(module: Any, place: Array, arrays: Sequence[Array], *, axis: int = 0) -> Call:
    """Only what does not lie there already is copied."""
    ends = accumulate((x.shape[axis] for x in arrays), initial=0)
    parts = [module.moveaxis(module.moveaxis(place, axis, 0)[start:stop], 0, axis) for start, stop in pairwise(ends)]
    moves = [(part, x) for part, x in zip(parts, arrays, strict=True) if not module.may_share_memory(part, x)]
    return lambda: [module.copyto(part, x) for part, x in moves]


# Places


def placed(
    machine: Machine, record: Record, consumed: list[Recorded], inputs: list[Recorded], results: list[Recorded]
) -> dict[Recorded, Array]:
    """Memory for every array that is no view; it goes on to the next when its time is over.

    What is consumed gets aligned memory for good; other inputs stay where they are.
    """
    last = {x.root: number for number, operation in enumerate(record) for x in (*operation.inputs, *operation.results)}
    last |= {x.root: len(record) for x in (*consumed, *inputs, *results)}
    homes, pool = joined(machine, record, last), Pool(machine)
    arrays = {x: x.value for x in inputs} | {x: pool.take(x) for x in consumed}

    for number, operation in enumerate(record):
        roots = {x.root for x in (*operation.inputs, *operation.results)}
        ending = {x for x in roots if last[x] == number and x in arrays and x not in homes}
        early = {x for x in ending if machine.elementwise(operation.function) and may_overwrite(operation, x)}
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
    """Enter the memory of x into ``arrays``."""
    if x in arrays:
        return
    if x not in homes:
        arrays[x] = pool.take(x)
        return
    vector, start = homes[x]
    place(vector, arrays, homes, pool)
    arrays[x] = arrays[vector][start : start + math.prod(x.shape)].reshape(x.shape)


def may_overwrite(operation: Operation, x: Recorded) -> bool:
    """Whether an elementwise result may be written over the operand x: each entry where it has been read."""
    alike = x.shape == operation.results[0].shape
    return alike and not any(y.root is x and y is not x for y in operation.inputs)


def joined(machine: Machine, record: Record, last: dict[Recorded, int]) -> dict[Recorded, tuple[Recorded, int]]:
    """The arrays that end as a part of a vector: the vector, and where in it."""
    homes = {}
    made = {x for operation in record for x in operation.results if x.source is None}
    for number, operation in enumerate(record):
        vector = operation.results[0]
        if operation.function is machine.library.xp.concat and vector.ndim == 1:
            ends = accumulate((x.shape[0] for x in operation.inputs), initial=0)
            for x, start in zip(operation.inputs, ends, strict=False):
                whole = math.prod(x.root.shape) == x.shape[0] and _in_order(machine, x.root.value)
                ends_here = x.root in made and last[x.root] == number and x.root not in homes
                if whole and ends_here and x.dtype == vector.dtype and _in_order(machine, x.value):
                    homes[x.root] = vector, start
    return homes


def _in_order(machine: Machine, array: Array) -> bool:
    """Whether it lies in memory row by row."""
    shared: bool = machine.library.module.may_share_memory(array.reshape(-1), array)
    return shared


class Pool:
    """Memory that is not needed, by its size."""

    def __init__(self, machine: Machine) -> None:
        self.memory, self.byte, self.reuse = machine.memory, machine.library.xp.uint8, machine.reuse
        self.free: dict[int, list[Array]] = {}

    def take(self, x: Recorded) -> Array:
        """Memory like x, what was given last first: that is in cache."""
        size = x.value.nbytes
        memory = self.free[size].pop() if self.free.get(size) else self.memory(size)
        return memory.view(x.dtype).reshape(x.shape)

    def give(self, array: Array) -> None:
        """Back."""
        if self.reuse:
            self.free.setdefault(array.nbytes, []).append(array.reshape(-1).view(self.byte))
