"""Kernels of several stages: join consecutive groups of operations into one launch.

Between two matrix products there are more operations than one group can hold: a softmax needs maximum, exponential, sum
and logarithm, on arrays of three shapes.  Each of them is too small to keep a GPU busy for the time of a launch.  So
consecutive groups and reductions become a chain: the stages of one kernel, with a barrier between two stages.  There
are two kinds:

    small     one block does all entries, of arrays of up to ``SMALL`` entries
    columns   each block does some columns, of arrays (n, m) and (m,) of up to ``LARGE`` entries: a derivative, and its
              sum over the samples

A sum in a chain has an order of its own.  There are ``lanes`` partial sums: lane j adds every lanes-th entry from j on,
and then the partial sums are added one after the other.  The order depends on the shape alone, not on threads and
blocks.  But it is not the order of the library, so a step with chains rounds differently from the plain step.  Nothing
here needs a GPU or CuPy.
"""

from collections.abc import Callable, Mapping, Sequence
import math
from typing import Any, NamedTuple, TypeAlias

from xpdl.arrays import Array
from xpdl.backends.kernels.fusion import Fusion, Group, by_entries, ordered
from xpdl.backends.kernels.operations import OPERATIONS, OPTIONS, PREAMBLE, TYPES
from xpdl.backends.replay.recorder import Library, Operation, Recorded
from xpdl.backends.replay.target import Call

Shape: TypeAlias = tuple[int, ...]

SMALL = 8_192
LARGE = 131_072

THREADS, THREADS_OF_DOUBLES = 1024, 256
"""Threads of a block; functions of doubles need so many registers that only a quarter of the threads fits."""

WIDTH = 8
"""Columns of a block: 32 bytes in float32, which a GPU reads at a time."""

SHARED = 4_096
"""Partial sums for which a block has memory."""

# A chain in CUDA C

KERNEL = """
extern "C" __global__ void __launch_bounds__({threads}) xpdl_chain({parameters}) {{
    __shared__ float64 shared[{shared}];
    {stages}
}}
"""
BARRIER = "\n    __syncthreads();\n    "

LOOP = """for (int32 j = threadIdx.x; j < {count}; j += blockDim.x) {{
        const int32 i = {entry};
        {body}
    }}"""

REDUCTION = """for (int32 j = threadIdx.x; j < {count} * {lanes}; j += blockDim.x) {{
        const int32 i = {entry_of_lane}, lane = j % {lanes};
        const {dtype} *x = {x} + {start};
        {dtype} t = x[lane * {stride}];
        for (int32 r = lane + {lanes}; r < {length}; r += {lanes}) t = {both_entries};
        (({dtype} *)shared)[j] = t;
    }}
    __syncthreads();
    for (int32 j = threadIdx.x; j < {count}; j += blockDim.x) {{
        const {dtype} *x = ({dtype} *)shared + j * {lanes};
        {dtype} t = x[0];
        for (int32 lane = 1; lane < {lanes}; lane++) t = {both_lanes};
        const int32 i = {entry};
        {y}[i] = t;
    }}"""


class Place(NamedTuple):
    """The place of an operand in memory: the name of its pointer, and its strides, counted in entries."""

    name: str
    strides: Shape


Places: TypeAlias = Mapping[Recorded, Place]


class Blocks(NamedTuple):
    """How blocks share the entries: each does ``width`` of ``columns`` columns; by default one block does all."""

    columns: int = 1
    width: int = 1

    @property
    def number(self) -> int:
        """The number of blocks."""
        return self.columns // self.width

    def count(self, entries: int) -> int:
        """Return how many of these entries each block does."""
        return entries // self.number

    def entry(self, j: str) -> str:
        """Return, in C, the j-th entry of a block."""
        if self.number == 1:
            return j
        return f"{j} / {self.width} * {self.columns} + blockIdx.x * {self.width} + {j} % {self.width}"


def in_columns(columns: int) -> Blocks:
    """Return blocks of equally many columns, up to ``WIDTH``."""
    return Blocks(columns, max(width for width in range(1, WIDTH + 1) if columns % width == 0))


class Entries(NamedTuple):
    """A stage: lines of C for each entry of arrays of this shape, and the variables of its arrays."""

    shape: Shape
    entries: dict[Recorded, str]
    arrays: dict[Recorded, str]
    lines: list[str]

    @property
    def operands(self) -> list[Recorded]:
        """The arrays that the stage reads or writes."""
        return [*self.entries, *self.arrays]

    def text(self, places: Places, blocks: Blocks) -> str:
        """Return the stage in C."""
        lines = [
            f"{x.dtype} &{name} = {places[x].name}[{offset(self.shape, x.shape, places[x].strides)}];"
            for x, name in self.entries.items()
        ]
        lines += [f"const {x.dtype} *{name} = {places[x].name};" for x, name in self.arrays.items()]
        body = "\n        ".join(lines + self.lines)
        return LOOP.format(count=blocks.count(math.prod(self.shape)), entry=blocks.entry("j"), body=body)


class Reduced(NamedTuple):
    """A stage: y combines the entries of x along an axis, two at a time; ``both`` is the C for two entries."""

    both: str
    axis: int
    x: Recorded
    y: Recorded

    @property
    def operands(self) -> list[Recorded]:
        """The arrays that the stage reads or writes."""
        return [self.x, self.y]

    def text(self, places: Places, blocks: Blocks) -> str:
        """Return the stage in C."""
        (x, steps), axis, length = places[self.x], self.axis, self.x.shape[self.axis]
        left = self.x.shape[:axis] + self.x.shape[axis + 1 :]
        count = blocks.count(math.prod(left))
        lanes = max(1, min(math.isqrt(length), SHARED // count))
        return REDUCTION.format(
            count=count,
            lanes=lanes,
            length=length,
            stride=steps[axis],
            start=offset(left, left, steps[:axis] + steps[axis + 1 :]),
            dtype=self.x.dtype,
            entry=blocks.entry("j"),
            entry_of_lane=blocks.entry(f"(j / {lanes})"),
            both_entries=self.both.format("t", f"x[r * {steps[axis]}]"),
            both_lanes=self.both.format("t", "x[lane]"),
            x=x,
            y=places[self.y].name,
        )


def offset(shape: Shape, own: Shape, steps: Shape) -> str:
    """Return, in C, where entry i of an array of this shape lies in one of shape ``own`` that is broadcast to it."""
    terms = []
    for axis in range(-len(own), 0):
        if own[axis] > 1:
            inner = math.prod(shape[axis + 1 :]) if axis < -1 else 1
            place = "i" if inner == 1 else f"i / {inner}"
            terms.append(f"{place} % {shape[axis]} * {steps[axis]}")
    return " + ".join(terms) or "0"


class Launch:
    """A chain as the function of an operation; ``compiler`` is like ``cupy.RawKernel``."""

    def __init__(
        self,
        compiler: Callable[..., Any],
        stages: Sequence[Entries | Reduced],
        operands: Sequence[Recorded],
        blocks: Blocks,
    ) -> None:
        self.compiler, self.stages, self.operands, self.blocks = compiler, stages, operands, blocks

    @property
    def threads(self) -> int:
        """The threads of each block."""
        return THREADS if all(x.dtype.itemsize <= 4 for x in self.operands) else THREADS_OF_DOUBLES

    def text(self, arrays: Sequence[Array]) -> str:
        """Return the kernel for operands that lie in memory like these arrays."""
        steps = [tuple(step // a.itemsize for step in a.strides) for a in arrays]
        places = {x: Place(f"p{k}", steps[k]) for k, x in enumerate(self.operands)}
        parameters = ", ".join(f"{x.dtype} *{places[x].name}" for x in self.operands)
        stages = BARRIER.join(stage.text(places, self.blocks) for stage in self.stages)
        return PREAMBLE + KERNEL.format(threads=self.threads, shared=SHARED, parameters=parameters, stages=stages)

    def bind(self, *arrays: Array) -> Call:
        """Return the launch as a function without arguments."""
        kernel = self.compiler(self.text(arrays), "xpdl_chain", options=OPTIONS)
        return lambda: kernel((self.blocks.number,), (self.threads,), arrays)

    def __call__(self, *arrays: Array) -> None:
        """Launch the kernel."""
        self.bind(*arrays)()


# Which operations become a chain


class Chained(Fusion):
    """``Fusion`` that also makes chains; ``raw`` is like ``cupy.RawKernel``."""

    def __init__(self, library: Library, compiler: Callable[..., Callable[..., Any]], raw: Callable[..., Any]) -> None:
        super().__init__(library, compiler)
        self.raw = raw
        combined = {self.xp.sum: "add", self.xp.max: "maximum", self.xp.min: "minimum"}
        self.both = {function: OPERATIONS[name].text for function, name in combined.items()}

    def chains(self, groups: list[Group]) -> list[list[Group]]:
        """Return the groups in chains: each joins the last possible chain, unless it must wait for a later chain."""
        chains: list[list[Group]] = []
        for group in groups:
            chain = self.chain_for(chains, group) or []
            chain.append(group)
            if chain == [group]:
                chains.append(chain)
        return chains

    def chain_for(self, chains: list[list[Group]], group: Group) -> list[Group] | None:
        """Return the chain that a group can join."""
        for chain in reversed(chains):
            if self.blocks([*chain, group]):
                return chain
            if any(ordered(one, other) for one in group.operations for g in chain for other in g.operations):
                return None
        return None

    def blocks(self, chain: list[Group]) -> Blocks | None:
        """Return the blocks that can do a chain; None if these groups cannot be one."""
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
        """Return the sizes of the arrays that a group reads or writes at entry i."""
        found = [x for o in group.operations for x in (*self.entries(o), *o.results) if isinstance(x, Recorded)]
        return [math.prod(x.shape) for x in found]

    def by_columns(self, group: Group) -> bool:
        """Return whether no entry depends on another column, and the arrays are not too large."""
        if group.anywhere or not group.shape or max(self.sizes(group)) > LARGE:
            return False
        return group.anywhere is not None or axis_of(group.operations[0]) == 0 < len(group.shape)

    def reduces(self, operation: Operation) -> bool:
        """Return whether the operation is a sum, maximum or minimum along one axis."""
        if operation.function not in self.both or operation.options.keys() - {"axis", "keepdims"}:
            return False
        (x,), result = operation.operands, operation.results[0]
        return axis_of(operation) is not None and x.dtype == result.dtype and x.dtype.name in TYPES

    def joined(self, chain: list[Group], later: set[Recorded]) -> list[Operation]:
        """Return a chain of several groups as one operation."""
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
        """Return a group of a chain as a stage."""
        operation = group.operations[0]
        if group.anywhere is None:
            return Reduced(
                self.both[operation.function], axis_of(operation) or 0, *operation.inputs, *operation.results
            )
        body = self.body(group, later)
        return Entries(group.shape, body.inputs | body.stored, body.arrays, body.lines)


def axis_of(operation: Operation) -> int | None:
    """Return the one axis of a reduction, counted from the first; None if there are several."""
    (x,), axis = operation.inputs, operation.options.get("axis")
    if axis is None:
        return 0 if x.ndim == 1 else None
    return int(axis) % x.ndim if isinstance(axis, int) and x.ndim else None
