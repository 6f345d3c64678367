"""Elementwise operations of a record, one launch for as many as possible.

A step has long runs of them: a bias is added and an activation follows, a learning rate is computed.  Each launch
takes a GPU a microsecond or two, however little there is to do, and each pass over memory takes a CPU longer than the
arithmetic.  So an operation joins an earlier group of operations whose results have the same shape, if nothing between
the two needs it to wait.  A group becomes one kernel:

    z += b                   const float32 t0 = x0 + x1;
    a = maximum(z, 0.0)      const float32 t1 = maximum(t0, float32(0.0));
                             x2 = t1;

Only what is used later is stored.  Every operation is rounded by itself, so the numbers are those of the operations
one by one, to the last bit.  Rows that are taken from a matrix are elementwise, too, with a matrix that is read
anywhere.  Groups and other small operations can be joined further (chains.py).  Nothing here needs a GPU or CuPy.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
import math
from typing import Any, NamedTuple

import numpy as np

from xpdl.backends.kernels.operations import ARITHMETIC, OPTIONS, PREAMBLE, TESTS, TYPES, converted, parameters
from xpdl.backends.replay.recorder import Library, Operation, Record, Recorded


@dataclass
class Group:
    """Operations that can be one kernel: their results have the same shape, and entries i depend on entries i alone.

    anywhere   the memory that is read at other entries, too; None for an operation that is alone: not elementwise
    """

    shape: tuple[int, ...]
    anywhere: set[Recorded] | None
    operations: list[Operation] = field(default_factory=list)

    def takes(self, operation: Operation, anywhere: set[Recorded]) -> bool:
        """Whether it can be one more: it reads what the group writes, and writes what the group reads, by entries."""
        result = operation.results[0]
        if self.anywhere is None or result.shape != self.shape or result.root in self.anywhere | anywhere:
            return False
        made = {x.root for o in self.operations for x in o.results}
        return not anywhere & made and by_entries(self.operations, operation)


class Body(NamedTuple):
    """A group in C: lines for one entry, and the variables in them of what is read, stored, and read anywhere."""

    inputs: dict[Recorded, str]
    arrays: dict[Recorded, str]
    stored: dict[Recorded, str]
    lines: list[str]


class Fusion:
    """Records of a library with groups instead of elementwise operations.

    compiler(inputs, outputs, body, name, preamble=, options=) -> launch(*inputs, *outputs) is as
    ``cupy.ElementwiseKernel``; ``suits`` tells which operations it is for.
    """

    def __init__(
        self,
        library: Library,
        compiler: Callable[..., Callable[..., Any]],
        suits: Callable[[Operation], bool] = lambda operation: True,
    ) -> None:
        self.xp, self.compiler, self.suits = library.xp, compiler, suits
        self.names = {getattr(library.module, name): name for name in (*ARITHMETIC, *TESTS)}
        self.launches: dict[tuple[str, ...], Callable[..., Any]] = {}

    def __call__(self, record: Record, results: Sequence[Recorded]) -> Record:
        """The same done in fewer operations; ``results`` are what is returned."""
        later = {x.root for x in results} | entered(record)
        fused: list[Operation] = []
        for chain in reversed(self.chains(self.groups(record))):
            fused += self.joined(chain, later)
            later |= {x.root for group in chain for operation in group.operations for x in operation.inputs}
        shorter = Record(record.library)
        shorter.extend(reversed(fused))
        return shorter

    def groups(self, record: Record) -> list[Group]:
        """All operations in groups; one that is not elementwise is a group that takes no other."""
        groups: list[Group] = []
        for operation in record:
            anywhere = {x.root for x in self.arrays(operation)} if self.can(operation) else None
            group = None if anywhere is None else home(groups, operation, anywhere)
            if group is None:
                group = Group(operation.results[0].shape, anywhere)
                groups.append(group)
            group.operations.append(operation)
            if group.anywhere is not None:
                group.anywhere |= anywhere or set()
        return groups

    def chains(self, groups: list[Group]) -> list[list[Group]]:
        """Groups that are one launch: here each by itself."""
        return [[group] for group in groups]

    def joined(self, chain: list[Group], later: set[Recorded]) -> list[Operation]:
        """A chain as operations."""
        return self.operations(chain[0], later)

    def can(self, operation: Operation) -> bool:
        """Whether it is elementwise, of numbers that C has."""
        known = operation.function in self.names and not operation.options
        if operation.is_view or not self.suits(operation):
            return False
        if not (known or operation.function is self.xp.astype or self.takes_rows(operation)):
            return False
        operands, result = [*self.entries(operation), *self.arrays(operation)], operation.results[0]
        dtypes = {x.dtype for x in operands if isinstance(x, Recorded)} | {result.dtype}
        if any(dtype.name not in TYPES for dtype in dtypes) or (operation.in_place and len(dtypes) > 1):
            return False
        return all(isinstance(x, Recorded) or (type(x) in (int, float) and math.isfinite(x)) for x in operands)

    def takes_rows(self, operation: Operation) -> bool:
        """Whether it takes rows of a matrix, or entries of a vector, that lies in memory row by row."""
        if operation.function is not self.xp.take or operation.options.get("axis", 0) != 0:
            return False
        x, rows = operation.inputs
        return rows.ndim == 1 <= x.ndim <= 2 and all(a.value.flags.c_contiguous for a in (x, rows))

    def entries(self, operation: Operation) -> tuple[Any, ...]:
        """The operands whose own entry is read."""
        if operation.function is self.xp.take:
            return operation.operands[operation.operands[0].ndim :]
        only_read = operation.in_place or operation.function is self.xp.astype
        return operation.operands[:-1] if only_read else operation.operands

    def arrays(self, operation: Operation) -> tuple[Recorded, ...]:
        """Those that are read anywhere: x in x[rows], and the rows of a matrix."""
        takes = operation.function is self.xp.take
        return operation.operands[: operation.operands[0].ndim] if takes else ()

    def operations(self, group: Group, later: set[Recorded]) -> list[Operation]:
        """The group as one operation that stores what is used later; none, if nothing is."""
        if len(group.operations) == 1:
            return group.operations
        body = self.body(group, later)
        inputs = parameters(body.inputs) + [f"raw {array}" for array in parameters(body.arrays)]
        launch = self.launch(", ".join(inputs), ", ".join(parameters(body.stored)), "\n".join(body.lines))
        stored = tuple(body.stored)
        return [Operation(launch, (*body.inputs, *body.arrays, *stored), {}, stored)] if stored else []

    def body(self, group: Group, later: set[Recorded]) -> Body:
        """The group in C."""
        names: dict[Recorded, str] = {}  # what is read or made, and the variable that has its value now
        read: dict[Recorded, str] = {}
        arrays: dict[Recorded, str] = {}
        lines: list[str] = []
        for operation in group.operations:
            for x in self.arrays(operation):
                arrays.setdefault(x, f"a{len(arrays)}")
            for x in self.entries(operation):
                if isinstance(x, Recorded) and x not in names:
                    names[x] = read[x] = f"x{len(read)}"
            result, text = operation.results[0], self.expression(operation, names, arrays)
            names[result] = f"t{len(lines)}"
            lines.append(f"const {result.dtype} {names[result]} = {text};")
        made = dict.fromkeys(operation.results[0] for operation in group.operations)
        stored = {x: read.get(x, f"y{number}") for number, x in enumerate(made) if x.root in later}
        lines += [f"{place} = {names[x]};" for x, place in stored.items()]
        return Body({x: name for x, name in read.items() if x not in stored}, arrays, stored, lines)

    def launch(self, *texts: str) -> Callable[..., Any]:
        """The kernel of these inputs, outputs and lines, compiled once."""
        if texts not in self.launches:
            self.launches[texts] = self.compiler(*texts, "xpdl_group", preamble=PREAMBLE, options=OPTIONS)
        return self.launches[texts]

    def expression(self, operation: Operation, names: dict[Recorded, str], arrays: dict[Recorded, str]) -> str:
        """The value of an operation in C."""
        operands, dtype = self.entries(operation), operation.results[0].dtype
        if operation.function is self.xp.astype:
            return f"{dtype}({names[operands[0]]})"
        if operation.function is self.xp.take:
            x, rows = operation.operands
            n, d = x.shape if x.ndim == 2 else (x.shape[0], 1)
            place = f"inside({names[rows]}, {n})" if x.ndim == 1 else f"entry({arrays[rows]}, i, {d}, {n})"
            return f"{arrays[x]}[{place}]"
        name = self.names[operation.function]
        if name in TESTS:
            dtype = np.result_type(*(getattr(x, "dtype", x) for x in operands))
        return (ARITHMETIC | TESTS)[name].format(*(converted(x, dtype, names) for x in operands))


def home(groups: list[Group], operation: Operation, anywhere: set[Recorded]) -> Group | None:
    """The last group that takes the operation, if the operation need not wait for what comes after that group."""
    for group in reversed(groups):
        if group.takes(operation, anywhere):
            return group
        if any(ordered(operation, other) for other in group.operations):
            return None
    return None


def by_entries(operations: Sequence[Operation], operation: Operation) -> bool:
    """Whether it reads what they write, and writes what they read, only as that same array."""
    written, result = {x.root: x for o in operations for x in o.results}, operation.results[0]
    exact = all(written.get(x.root, x) is x for x in operation.inputs)
    return exact and all(x is result for o in operations for x in o.inputs if x.root is result.root)


def ordered(first: Operation, second: Operation) -> bool:
    """Whether one of two operations writes what the other reads or writes.  A view does nothing."""
    if first.is_view or second.is_view:
        return False
    one, other = ({x.root for x in (*o.inputs, *o.results)} for o in (first, second))
    return any(x.root in other for x in first.results) or any(x.root in one for x in second.results)


def entered(record: Record) -> set[Recorded]:
    """The memory that is there before the first operation."""
    made = {x for operation in record if not operation.in_place for x in operation.results}
    return {x.root for operation in record for x in operation.inputs} - made
