"""Groups of operations one after the other in a single launch.

Between two products stand more operations than one group can hold: what a softmax needs is maximum, exponential, sum,
logarithm, in arrays of three shapes.  Each is too small to keep a GPU busy for the time that a launch takes.  So groups
and reductions that follow each other become stages of one kernel, with a barrier between two of them:

    small     one block goes through arrays of up to ``SMALL`` entries
    columns   each block goes through some columns of arrays (n, m) and (m,) of up to ``LARGE`` entries: a derivative,
              and its sum over the samples

A sum has an order of its own (stages.py), which is not that of the library: a step in chains rounds differently from
the step as it is.  Nothing here needs a GPU or CuPy.
"""

from collections.abc import Callable
import math
from typing import Any

from xpdl.backends.cuda.stages import Blocks, Entries, Launch, Reduced, in_columns
from xpdl.backends.kernels.fusion import Fusion, Group, by_entries, ordered
from xpdl.backends.kernels.operations import TYPES
from xpdl.backends.replay.recorder import Library, Operation, Recorded

SMALL = 8_192
LARGE = 131_072


class Chained(Fusion):
    """Records of a library with chains, too; ``raw`` is as ``cupy.RawKernel``."""

    def __init__(self, library: Library, compiler: Callable[..., Callable[..., Any]], raw: Callable[..., Any]) -> None:
        super().__init__(library, compiler)
        self.raw = raw
        self.both = {self.xp.sum: "{} + {}", self.xp.max: "maximum({}, {})", self.xp.min: "minimum({}, {})"}

    def chains(self, groups: list[Group]) -> list[list[Group]]:
        """Each group goes to the last chain that takes it, if it need not wait for what comes after that."""
        chains: list[list[Group]] = []
        for group in groups:
            chain = self.home(chains, group) or []
            chain.append(group)
            if chain == [group]:
                chains.append(chain)
        return chains

    def home(self, chains: list[list[Group]], group: Group) -> list[Group] | None:
        """The chain that a group can join."""
        for chain in reversed(chains):
            if self.blocks([*chain, group]):
                return chain
            if any(ordered(one, other) for one in group.operations for g in chain for other in g.operations):
                return None
        return None

    def blocks(self, chain: list[Group]) -> Blocks | None:
        """The blocks that can go through a chain, if it can be one."""
        if not all(group.anywhere is not None or self.reduces(group.operations[0]) for group in chain):
            return None
        if all(size <= SMALL for group in chain for size in self.sizes(group)):
            return Blocks()
        columns = {group.shape[-1:] for group in chain}
        if len(columns) > 1 or not all(map(self.by_columns, chain)):
            return None
        operations = [operation for group in chain for operation in group.operations]
        apart = all(by_entries(operations[:k], operation) for k, operation in enumerate(operations))
        return in_columns(*columns.pop()) if apart else None

    def sizes(self, group: Group) -> list[int]:
        """Of the arrays whose entries are gone through."""
        found = [x for o in group.operations for x in (*self.entries(o), *o.results) if isinstance(x, Recorded)]
        return [math.prod(x.shape) for x in found]

    def by_columns(self, group: Group) -> bool:
        """Whether no entry depends on one of another column, in arrays that are not too large."""
        if group.anywhere or not group.shape or max(self.sizes(group)) > LARGE:
            return False
        return group.anywhere is not None or axis_of(group.operations[0]) == 0 < len(group.shape)

    def reduces(self, operation: Operation) -> bool:
        """Whether it is a sum, maximum or minimum along one axis."""
        if operation.function not in self.both or operation.options.keys() - {"axis", "keepdims"}:
            return False
        (x,), result = operation.operands, operation.results[0]
        return axis_of(operation) is not None and x.dtype == result.dtype and x.dtype.name in TYPES

    def joined(self, chain: list[Group], later: set[Recorded]) -> list[Operation]:
        """A chain of several groups as one operation."""
        if len(chain) == 1:
            return super().joined(chain, later)
        stages: list[Entries | Reduced] = []
        for group in reversed(chain):
            stages.insert(0, self.stage(group, later))
            later = later | {x.root for operation in group.operations for x in operation.inputs}
        used = dict.fromkeys(x for stage in stages for x in stage.operands)
        results = {x for group in chain for operation in group.operations for x in operation.results}
        order = (*(x for x in used if x not in results), *(x for x in used if x in results))
        launch = Launch(self.raw, stages, order, self.blocks(chain) or Blocks())
        return [Operation(launch, order, {}, tuple(x for x in used if x in results))]

    def stage(self, group: Group, later: set[Recorded]) -> Entries | Reduced:
        """A group of a chain in C."""
        operation = group.operations[0]
        if group.anywhere is None:
            return Reduced(
                self.both[operation.function], axis_of(operation) or 0, *operation.inputs, *operation.results
            )
        body = self.body(group, later)
        return Entries(group.shape, body.inputs | body.stored, body.arrays, body.lines)


def axis_of(operation: Operation) -> int | None:
    """The one axis of a reduction, counted from the first; None if there are several."""
    (x,), axis = operation.inputs, operation.options.get("axis")
    if axis is None:
        return 0 if x.ndim == 1 else None
    return int(axis) % x.ndim if isinstance(axis, int) and x.ndim else None
