"""Fusion: join the elementwise operations of a record into as few kernels as possible.

A step has long runs of elementwise operations: a bias is added and an activation follows, the optimizer updates theta.
Each launch takes a GPU one or two microseconds, even for little work, and each pass over memory takes a CPU longer than
the arithmetic.  So an operation joins an earlier group of operations whose results have the same shape, unless it must
wait for an operation between the group and itself.  A group becomes one kernel:

    z += b                   const float32 t0 = x0 + x1;
    a = maximum(z, 0.0)      const float32 t1 = maximum(t0, float32(0.0));
                             x2 = t1;

Only results that are used later are stored.  Every operation is rounded separately, so the kernel gives the same bits
as the single operations.  Taking rows of a matrix counts as elementwise, too: such a kernel may read any entry of the
matrix.  An operation that is not in the table (operations.py) stays a call of the library.  On CUDA, groups and other
small operations are joined further (cuda/multi_stage.py).  Nothing here needs a GPU or CuPy.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
import math
from typing import Any, NamedTuple

import numpy as np

from xpdl.backends.kernels.operations import OPERATIONS, OPTIONS, PREAMBLE, TRUTH, TYPES
from xpdl.backends.replay.recorder import Library, Operation, Record, Recorded


@dataclass
class Group:
    """Operations that can be one kernel: all results have one shape, and entry i depends on entries i alone.

    anywhere  the memory that is read at other entries, too; None for a single operation that is not elementwise
    """

    shape: tuple[int, ...]
    anywhere: set[Recorded] | None
    operations: list[Operation] = field(default_factory=list)

    def takes(self, operation: Operation, anywhere: set[Recorded]) -> bool:
        """Return whether the operation can join: memory that one writes and both use must be used entry by entry."""
        result = operation.results[0]
        if self.anywhere is None or result.shape != self.shape or result.root in self.anywhere | anywhere:
            return False
        made = {x.root for o in self.operations for x in o.results}
        return not anywhere & made and by_entries(self.operations, operation)


class Body(NamedTuple):
    """A group in C: the lines for one entry, and the variables of inputs, of arrays read anywhere, and of results."""

    inputs: dict[Recorded, str]
    arrays: dict[Recorded, str]
    stored: dict[Recorded, str]
    lines: list[str]


class Fusion:
    """Makes records shorter: a group of elementwise operations becomes one operation.

    compiler  (inputs, outputs, body, name, preamble=, options=) -> launch(*inputs, *outputs), as
              ``cupy.ElementwiseKernel``
    suits     (operation) -> whether the compiler should get it
    """

    def __init__(
        self,
        library: Library,
        compiler: Callable[..., Callable[..., Any]],
        suits: Callable[[Operation], bool] = lambda operation: True,
    ) -> None:
        self.xp, self.compiler, self.suits = library.xp, compiler, suits
        self.names = {
            getattr(source, name): name
            for source in (library.module, library.xp)
            for name, row in OPERATIONS.items()
            if row.text and hasattr(source, name)
        }
        self.launches: dict[tuple[str, ...], Callable[..., Any]] = {}

    def __call__(self, record: Record, results: Sequence[Recorded]) -> Record:
        """Return a record of fewer operations that does the same; ``results`` are the arrays that the step returns."""
        later = {x.root for x in results} | entered(record)
        fused: list[Operation] = []
        for chain in reversed(self.chains(self.groups(record))):
            fused += self.joined(chain, later)
            later |= {x.root for group in chain for operation in group.operations for x in operation.inputs}
        shorter = Record(record.library)
        shorter.extend(reversed(fused))
        return shorter

    def groups(self, record: Record) -> list[Group]:
        """Return all operations in groups; an operation that is not elementwise is a group of its own."""
        groups: list[Group] = []
        for operation in record:
            anywhere = {x.root for x in self.arrays(operation)} if self.can(operation) else None
            group = None if anywhere is None else group_for(groups, operation, anywhere)
            if group is None:
                group = Group(operation.results[0].shape, anywhere)
                groups.append(group)
            group.operations.append(operation)
            if group.anywhere is not None:
                group.anywhere |= anywhere or set()
        return groups

    def chains(self, groups: list[Group]) -> list[list[Group]]:
        """Return the groups of each launch: here, one group each."""
        return [[group] for group in groups]

    def joined(self, chain: list[Group], later: set[Recorded]) -> list[Operation]:
        """Return a chain as operations."""
        return self.operations(chain[0], later)

    def can(self, operation: Operation) -> bool:
        """Return whether the operation is elementwise, and its dtypes and numbers can be written in C."""
        if operation.is_view or not self.suits(operation):
            return False
        if not (self.known(operation) or operation.function is self.xp.astype or self.takes_rows(operation)):
            return False
        operands, result = [*self.entries(operation), *self.arrays(operation)], operation.results[0]
        dtypes = {x.dtype for x in operands if isinstance(x, Recorded)} | {result.dtype}
        if any(dtype.name not in TYPES for dtype in dtypes) or (operation.in_place and len(dtypes) > 1):
            return False
        return all(isinstance(x, Recorded) or (type(x) in (int, float) and math.isfinite(x)) for x in operands)

    def known(self, operation: Operation) -> bool:
        """Return whether the table has C for the operation, with a result of this dtype."""
        name = self.names.get(operation.function)
        return name is not None and not operation.options and operation.results[0].dtype.name in OPERATIONS[name].dtypes

    def takes_rows(self, operation: Operation) -> bool:
        """Return whether the operation takes rows of a matrix, or entries of a vector, stored row by row."""
        if operation.function is not self.xp.take or operation.options.get("axis", 0) != 0:
            return False
        x, rows = operation.inputs
        return rows.ndim == 1 <= x.ndim <= 2 and all(a.value.flags.c_contiguous for a in (x, rows))

    def entries(self, operation: Operation) -> tuple[Any, ...]:
        """Return the operands that are read at entry i."""
        if operation.function is self.xp.take:
            return operation.operands[operation.operands[0].ndim :]
        only_read = operation.in_place or operation.function is self.xp.astype
        return operation.operands[:-1] if only_read else operation.operands

    def arrays(self, operation: Operation) -> tuple[Recorded, ...]:
        """Return the operands that are read at any entry: x in x[rows], and the rows of a matrix."""
        takes = operation.function is self.xp.take
        return operation.operands[: operation.operands[0].ndim] if takes else ()

    def operations(self, group: Group, later: set[Recorded]) -> list[Operation]:
        """Return the group as one operation that stores the results that are used later; [] if none is."""
        if len(group.operations) == 1:
            return group.operations
        body = self.body(group, later)
        inputs = parameters(body.inputs) + [f"raw {array}" for array in parameters(body.arrays)]
        launch = self.launch(", ".join(inputs), ", ".join(parameters(body.stored)), "\n".join(body.lines))
        stored = tuple(body.stored)
        return [Operation(launch, (*body.inputs, *body.arrays, *stored), {}, stored)] if stored else []

    def body(self, group: Group, later: set[Recorded]) -> Body:
        """Return the group in C."""
        names: dict[Recorded, str] = {}  # of each array, the variable that holds its present value
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
        """Return the kernel of these inputs, outputs and lines; equal kernels are made once."""
        if texts not in self.launches:
            self.launches[texts] = self.compiler(*texts, "xpdl_group", preamble=PREAMBLE, options=OPTIONS)
        return self.launches[texts]

    def expression(self, operation: Operation, names: dict[Recorded, str], arrays: dict[Recorded, str]) -> str:
        """Return the value of an operation in C."""
        operands, dtype = self.entries(operation), operation.results[0].dtype
        if operation.function is self.xp.astype:
            return f"{dtype}({names[operands[0]]})"
        if operation.function is self.xp.take:
            x, rows = operation.operands
            n, d = x.shape if x.ndim == 2 else (x.shape[0], 1)
            place = f"inside({names[rows]}, {n})" if x.ndim == 1 else f"entry({arrays[rows]}, i, {d}, {n})"
            return f"{arrays[x]}[{place}]"
        row = OPERATIONS[self.names[operation.function]]
        if row.dtypes == TRUTH:
            dtype = np.result_type(*(getattr(x, "dtype", x) for x in operands))
        return row.text.format(*(converted(x, dtype, names) for x in operands))


def converted(x: Any, dtype: Any, names: dict[Recorded, str]) -> str:
    """Return an operand in C, as a value of this dtype."""
    if not isinstance(x, Recorded):
        return f"{dtype}({x!r})"
    return names[x] if x.dtype == dtype else f"{dtype}({names[x]})"


def parameters(names: dict[Recorded, str]) -> list[str]:
    """Return the declarations of these variables."""
    return [f"{x.dtype} {name}" for x, name in names.items()]


def group_for(groups: list[Group], operation: Operation, anywhere: set[Recorded]) -> Group | None:
    """Return the last group that the operation can join; None if it must wait for an operation after that group."""
    for group in reversed(groups):
        if group.takes(operation, anywhere):
            return group
        if any(ordered(operation, other) for other in group.operations):
            return None
    return None


def by_entries(operations: Sequence[Operation], operation: Operation) -> bool:
    """Return whether the operation and the others use the memory that one of them writes through the same array."""
    written, result = {x.root: x for o in operations for x in o.results}, operation.results[0]
    exact = all(written.get(x.root, x) is x for x in operation.inputs)
    return exact and all(x is result for o in operations for x in o.inputs if x.root is result.root)


def ordered(first: Operation, second: Operation) -> bool:
    """Return whether one of two operations writes memory that the other uses.  A view does nothing."""
    if first.is_view or second.is_view:
        return False
    one, other = ({x.root for x in (*o.inputs, *o.results)} for o in (first, second))
    return any(x.root in other for x in first.results) or any(x.root in one for x in second.results)


def entered(record: Record) -> set[Recorded]:
    """Return the arrays that exist before the first operation."""
    made = {x for operation in record if not operation.in_place for x in operation.results}
    return {x.root for operation in record for x in operation.inputs} - made
