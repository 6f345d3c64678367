"""The stages of a chain (chains.py) in C, and the kernel they are in.

A sum has an order of its own: of ``lanes`` partial sums, lane j adds every lanes-th entry from j on, and then they are
added one after the other.  It depends on the shape alone, not on threads and blocks.
"""

from collections.abc import Callable, Mapping, Sequence
import math
from typing import Any, NamedTuple, TypeAlias

from xpdl.arrays import Array
from xpdl.backends.kernels.operations import OPTIONS, PREAMBLE
from xpdl.backends.replay.recorder import Recorded
from xpdl.backends.replay.target import Call

Shape: TypeAlias = tuple[int, ...]

THREADS, THREADS_OF_DOUBLES = 1024, 256
"""Of a block; functions of doubles leave registers for no more than a quarter of them."""

WIDTH = 8
"""Columns of a block: 32 bytes, which is what a GPU reads at a time."""

SHARED = 4_096
"""Partial sums that a block has room for."""

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
    """Where an operand of a launch lies: the name of its pointer, and by how many entries its own are apart."""

    name: str
    strides: Shape


Places: TypeAlias = Mapping[Recorded, Place]


class Blocks(NamedTuple):
    """How entries are shared out: ``width`` columns of ``columns`` for each block, or all for one."""

    columns: int = 1
    width: int = 1

    @property
    def number(self) -> int:
        """The number of blocks."""
        return self.columns // self.width

    def count(self, entries: int) -> int:
        """How many of so many entries a block has."""
        return entries // self.number

    def entry(self, j: str) -> str:
        """Which entry is a block's j-th one."""
        if self.number == 1:
            return j
        return f"{j} / {self.width} * {self.columns} + blockIdx.x * {self.width} + {j} % {self.width}"


def in_columns(columns: int) -> Blocks:
    """Blocks of as many columns as divide them, up to ``WIDTH``."""
    return Blocks(columns, max(width for width in range(1, WIDTH + 1) if columns % width == 0))


class Entries(NamedTuple):
    """A stage: lines for each entry of arrays of this shape, and what their variables are."""

    shape: Shape
    entries: dict[Recorded, str]
    arrays: dict[Recorded, str]
    lines: list[str]

    @property
    def operands(self) -> list[Recorded]:
        """All arrays that it reads or writes."""
        return [*self.entries, *self.arrays]

    def text(self, places: Places, blocks: Blocks) -> str:
        """The stage in C."""
        lines = [
            f"{x.dtype} &{name} = {places[x].name}[{offset(self.shape, x.shape, places[x].strides)}];"
            for x, name in self.entries.items()
        ]
        lines += [f"const {x.dtype} *{name} = {places[x].name};" for x, name in self.arrays.items()]
        body = "\n        ".join(lines + self.lines)
        return LOOP.format(count=blocks.count(math.prod(self.shape)), entry=blocks.entry("j"), body=body)


class Reduced(NamedTuple):
    """A stage: y is ``both`` of two entries, again and again, along an axis of x."""

    both: str
    axis: int
    x: Recorded
    y: Recorded

    @property
    def operands(self) -> list[Recorded]:
        """All arrays that it reads or writes."""
        return [self.x, self.y]

    def text(self, places: Places, blocks: Blocks) -> str:
        """The stage in C."""
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
    """Where the value for entry i of arrays of this shape lies in one of shape ``own``, which is broadcast."""
    terms = []
    for axis in range(-len(own), 0):
        if own[axis] > 1:
            inner = math.prod(shape[axis + 1 :]) if axis < -1 else 1
            place = "i" if inner == 1 else f"i / {inner}"
            terms.append(f"{place} % {shape[axis]} * {steps[axis]}")
    return " + ".join(terms) or "0"


class Launch:
    """A chain as the function of an operation; ``compiler`` is as ``cupy.RawKernel``."""

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
        """Of each block."""
        return THREADS if all(x.dtype.itemsize <= 4 for x in self.operands) else THREADS_OF_DOUBLES

    def text(self, arrays: Sequence[Array]) -> str:
        """The kernel for operands that lie in memory like these arrays."""
        steps = [tuple(step // a.itemsize for step in a.strides) for a in arrays]
        places = {x: Place(f"p{k}", steps[k]) for k, x in enumerate(self.operands)}
        parameters = ", ".join(f"{x.dtype} *{places[x].name}" for x in self.operands)
        stages = BARRIER.join(stage.text(places, self.blocks) for stage in self.stages)
        return PREAMBLE + KERNEL.format(threads=self.threads, shared=SHARED, parameters=parameters, stages=stages)

    def bind(self, *arrays: Array) -> Call:
        """The launch as a function without arguments."""
        kernel = self.compiler(self.text(arrays), "xpdl_chain", options=OPTIONS)
        return lambda: kernel((self.blocks.number,), (self.threads,), arrays)

    def __call__(self, *arrays: Array) -> None:
        """Launch."""
        self.bind(*arrays)()
