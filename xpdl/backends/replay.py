"""A step as a list of calls that write into the same memory again and again.

    record   the first two runs are written down (record.py) and compared: a step that does something else the second
             time is no function of its arguments, and runs as it is from then on; at the beginning of an epoch the
             next run is recorded as well, as a rate or an activation may have been changed from outside
    place    each result gets memory, which a later one takes over when nobody needs it any more; what is only joined
             to a larger vector (``concat``) is computed in its place there
    bind     each operation becomes a call without arguments; views are taken once
    replay   for call in calls: call()

So a replayed step makes no array and looks nothing up.  There is a plan for each choice of shapes and dtypes.  How an
array library does all this is a ``Machine``.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from itertools import accumulate, pairwise
import math
from operator import is_
from typing import Any, NamedTuple, TypeAlias

from xpdl.arrays import Array
from xpdl.backends.record import Library, Operation, Record, Recorded, flatten, recorded, tree_map, values

Call: TypeAlias = Callable[[], Any]
Run: TypeAlias = Callable[[Any, list[Array]], tuple[Any, Any]]
"""(arguments of the step, the arrays in them) -> its result, and the Run of the next call."""


def replay(plan: "Plan", plain: Run) -> Run:
    """The default of ``Machine.dispatch``."""
    return plan


def as_it_is(record: Record, results: Sequence[Recorded]) -> Record:
    """The default of ``Machine.fusion``."""
    return record


def nothing() -> None:
    """The default of ``Machine.ready``."""


def silent(reason: str) -> None:
    """The default of ``Machine.notice``."""


class Machine(NamedTuple):
    """How the steps of an array library are replayed.

    library      what recording must know
    memory       (bytes) -> so many bytes, aligned: a vector of uint8
    elementwise  (function) -> whether it works entry by entry and takes ``out=``
    writers      function -> (place, *operands, **options) -> a call that writes the result into place; for functions
                 that are not elementwise.  What has none makes an array, which is copied
    fusion       (record, what is returned) -> a record of fewer operations that do the same
    ready        () -> None, when all calls of a plan are bound and before the first is made
    context      () -> context in which steps run
    dispatch     (plan, the step as it is) -> what runs the plan
    notice       is told why a step is not replayed
    """

    library: Library
    memory: Callable[[int], Array]
    elementwise: Callable[[Callable[..., Any]], bool]
    writers: dict[Callable[..., Any], Callable[..., Call]]
    fusion: Callable[[Record, Sequence[Recorded]], Record] = as_it_is
    ready: Callable[[], None] = nothing
    context: Callable[[], AbstractContextManager[Any]] = nullcontext
    dispatch: Callable[["Plan", Run], Run] = replay
    notice: Callable[[str], None] = silent


class Replayed:
    """A step that is replayed from its third call on.  It consumes its first argument."""

    def __init__(self, machine: Machine, step: Callable[..., Any]) -> None:
        self.machine, self.step = machine, step
        self.type, self.context = machine.library.types[0], machine.context
        self.rehearsals: dict[Any, Rehearsal] = {}
        self.runs: dict[Any, Run] = {}  # what runs it, for each choice of shapes and dtypes
        self.arrays: list[Array] = []  # of the last call
        self.key: Any = None

    def __call__(self, *arguments: Any) -> Any:
        arrays = flatten(arguments)
        if len(arrays) != len(self.arrays) or not all(map(is_, arrays, self.arrays)):
            if not all(isinstance(array, self.type) for array in arrays):
                return self.step(*arguments)
            self.arrays, self.key = arrays, tuple((array.shape, array.dtype) for array in arrays)
        with self.context():
            run = self.runs.get(self.key) or self.rehearsed()
            result, self.runs[self.key] = run(arguments, arrays)
        return result

    def rehearsed(self) -> Run:
        """The rehearsal for these shapes and dtypes."""
        return self.rehearsals.setdefault(self.key, Rehearsal(self.machine, self.step))

    def doubt(self) -> None:
        """Something outside may have changed: record once more, and replay if the step still does the same."""
        self.runs.clear()


class Rehearsal:
    """Recorded runs of a step.  Each returns the result and what is to run the next.

    seen      what the last one did
    replayed  what runs it as long as it does that, once two have done the same
    changing  whether the second did something else than the first: then it is never replayed
    """

    def __init__(self, machine: Machine, step: Callable[..., Any]) -> None:
        self.machine, self.step, self.plain = machine, step, unrecorded(step)
        self.seen: list[Any] | None = None
        self.replayed: Run | None = None
        self.changing = False

    def __call__(self, arguments: Any, arrays: list[Array]) -> tuple[Any, Run]:
        consumed = flatten(arguments[0])
        if self.changing:
            return self.plain(arguments, arrays)
        try:
            with unharmed(self.machine, consumed):
                return self.rehearse(arguments, arrays, len(consumed))
        except Exception as error:  # whatever it is, the step as it is shows it again, or does not have it
            self.machine.notice(f"{type(error).__name__}: {error}")
            return self.plain(arguments, arrays)

    def rehearse(self, arguments: Any, arrays: list[Array], consumed: int) -> tuple[Any, Run]:
        """Run and write down, and compare with the last time."""
        record = Record(self.machine.library)
        inputs = [record.stand_in(array) for array in arrays]
        entered = iter(inputs)
        result = self.step(*tree_map(lambda _: next(entered), arguments))
        returned = tree_map(values, result)
        seen, self.seen = self.seen, record.spelled()
        if seen != self.seen:
            follow = self.differs(first=seen is None)
        else:
            if self.replayed is None:
                plan = Plan(self.machine, record, inputs, consumed, result)
                self.replayed = self.machine.dispatch(plan, self.plain)
            follow = self.replayed
        record.release()
        return returned, follow

    def differs(self, *, first: bool) -> Run:
        """What runs next after something new: the next rehearsal, or the step as it is if it is new each time."""
        self.changing = not first and self.replayed is None
        self.replayed = None
        if self.changing:
            self.machine.notice("the step did something else the second time")
        return self.plain if self.changing else self


def unrecorded(step: Callable[..., Any]) -> Run:
    """The step as it is; it holds no array, so that what holds it need not wait for the garbage collector."""

    def run(arguments: Any, arrays: list[Array]) -> tuple[Any, Run]:
        return step(*arguments), run

    return run


@contextmanager
def unharmed(machine: Machine, arrays: Sequence[Array]) -> Iterator[None]:
    """A block that, if it raises, has changed none of the arrays."""
    before = list(map(machine.library.module.copy, arrays))
    try:
        yield
    except Exception:
        for array, kept in zip(arrays, before, strict=True):
            machine.library.module.copyto(array, kept)
        raise


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
        self.memory, self.byte = machine.memory, machine.library.xp.uint8
        self.free: dict[int, list[Array]] = {}

    def take(self, x: Recorded) -> Array:
        """Memory like x, what was given last first: that is in cache."""
        size = x.value.nbytes
        memory = self.free[size].pop() if self.free.get(size) else self.memory(size)
        return memory.view(x.dtype).reshape(x.shape)

    def give(self, array: Array) -> None:
        """Back."""
        self.free.setdefault(array.nbytes, []).append(array.reshape(-1).view(self.byte))
