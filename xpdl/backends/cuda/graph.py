"""Graph: turn all launches of a step into the launch of one CUDA graph.

    record, plan    as on NumPy (replay/replayed.py): a list of calls that write into the same memory each time warm up
    the plan runs once call by call, so that everything is compiled, loaded and allocated capture         the calls are
    made once more, on a stream that only records them launch          one launch does everything that was recorded
    repeat          if steps change only the arrays that they consume, they are launched without checking their
    arguments
                    again, ``STEPS`` of them as one graph

A capture records addresses and numbers.  It follows:

* A CUDA graph keeps nothing alive.  So every array of the plan lives as long as the graph, and memory that a call
  allocates comes from a pool of the graph's own.
* Numbers never change after the capture.  That is right, because the plan only has constants: everything that changes
  from step to step (step number, learning rate, offset) is an array on the device, or the two recorded runs would have
  differed.
* If an argument is another array than before, it is copied into memory of the graph, or the graph is captured again and
  reads the array where it lies (``Captured.settled``).  Each choice of shapes has its own plan and graph.

Only the capture uses streams of its own, and nothing runs on them.  Copies and launches go to the stream that is
current when the step is called, as everything in CuPy.  So they are in order with the caller's own work.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
import gc
from threading import Lock
from typing import Any
import warnings

from xpdl.arrays import Array, Namespace
from xpdl.backends.cuda.streams import Use, make, span, turns
from xpdl.backends.replay.plan import Plan
from xpdl.backends.replay.recorder import Recorded
from xpdl.backends.replay.replayed import Replayed, unharmed
from xpdl.backends.replay.target import Run
from xpdl.backends.shared import Shared
from xpdl.pytree import flatten

STEPS = 7
"""The number of steps in a graph of several steps.  A training repeats 50 steps at a time; the first runs by itself."""

RECAPTURE = 100
"""A capture takes about as long as this number of copies: half a millisecond for some 30 launches, and 5 us for a copy.

The figures are estimates; nothing was measured on a GPU."""


class Repeated:
    """(run, data, count) -> the run after ``count`` steps of a compiled step without masks."""

    def __init__(self, step: Replayed) -> None:
        self.step, self.invalidate = step, step.invalidate

    def __call__(self, run: Any, data: Any, count: int) -> Any:
        while count:
            run, count = self.step(run, data, None), count - 1
            following = self.step.runs.get(self.step.key)
            if isinstance(following, Captured) and following.continues:
                with self.step.context():
                    count -= following.repeat(count)
        return run


class Graphs:
    """The common part of the graphs of a step: the streams for captures, and one warning for all graphs."""

    def __init__(self, cupy: Namespace, branches: bool) -> None:
        self.cupy, self.branches, self.warned = cupy, branches, False

    @cached_property
    def streams(self) -> list[Any]:
        """The streams for captures; non-blocking, because other work on the default stream would spoil a capture."""
        return [self.cupy.cuda.Stream(non_blocking=True) for _ in range(1 + self.branches)]

    def notice(self, reason: str) -> None:
        """Warn once that the step is slower than it should be."""
        if not self.warned:
            self.warned = True
            warnings.warn(
                f"a step is not run as a CUDA graph, and takes longer: {reason}", RuntimeWarning, stacklevel=2
            )

    def dispatch(self, plan: Plan, plain: Run) -> Run:
        """Return the ``Run`` of a plan: first call by call, then as a graph; or the plain step if a call fails."""

        def warm_up(arguments: Any, arrays: list[Array]) -> tuple[Any, Run]:
            try:
                with unharmed(plan.target, flatten(arguments[0])):
                    result, _ = plan(arguments, arrays)
            except Exception as error:
                self.notice(_spelled(error))
                return plain(arguments, arrays)
            return result, plan if self.warned else Captured(self, plan)

        return warm_up

    def capture(self, plan: Plan, steps: int, pool: Any) -> Any:
        """Return the calls of ``steps`` steps as a graph; the memory that they allocate comes from the pool."""
        with NO_GARBAGE_COLLECTION, self.cupy.cuda.using_allocator(pool.malloc), self.streams[0] as stream:
            stream.begin_capture()
            try:
                for _ in range(steps):
                    self.call(plan)
            except Exception:
                with suppress(Exception):  # the failed capture must be ended, which raises its error again
                    stream.end_capture()
                raise
            return stream.end_capture()

    def call(self, plan: Plan) -> None:
        """Make the calls of a plan on the streams for captures."""
        if self.branches:
            uses = (Use(*([span(x) for x in arrays] for arrays in plan.used(number))) for number in plan.calls)
            make([*plan.calls.values()], turns([*uses]), *self.streams)
        else:
            for call in plan.calls.values():
                call()


class Captured:
    """A plan as a graph.

    graphs_of  number of steps -> their graph; empty if the next run must capture the plan again
    buffers    the arguments that are copied before each launch, into memory of the graph
    continues  whether the results lie where the next step reads them
    """

    def __init__(self, graphs: Graphs, plan: Plan) -> None:
        self.graphs, self.plan = graphs, plan
        self.pool = graphs.cupy.cuda.MemoryPool()
        self.graphs_of: dict[int, Any] = {}
        self.buffers: set[Recorded] = set()
        self.runs = 0
        self.changes: Counter[Recorded] = Counter()
        consumed, results = [plan.arrays[x] for x in plan.inputs if x not in plan.users], flatten(plan.result)
        self.continues = len(consumed) == len(results) and all(map(_same, consumed, results))

    def __call__(self, arguments: Any, arrays: list[Array]) -> tuple[Any, Run]:
        self.runs += 1
        entered = zip(self.plan.inputs, arrays, strict=True)
        changed = [(x, a) for x, a in entered if not _same(self.plan.arrays[x], a)]
        if changed:
            self.enter(changed)
        graph = self.graph(1)
        if graph is None:
            return self.plan(arguments, arrays)
        graph.launch()
        return self.plan.result, self

    def repeat(self, count: int) -> int:
        """Do up to ``count`` more steps with the arrays of the last run; return how many were done."""
        steps = STEPS if count >= STEPS else 1
        graph, times = self.graph(steps), count // steps
        if graph is None:
            return 0
        for _ in range(times):
            graph.launch()
        self.runs += steps * times
        return steps * times

    def graph(self, steps: int) -> Any:
        """Return the graph of ``steps`` steps; None if they cannot be captured."""
        if steps not in self.graphs_of:
            self.graphs_of[steps] = None
            try:
                self.graphs_of[steps] = self.graphs.capture(self.plan, steps, self.pool)
            except Exception as error:
                self.graphs.notice(_spelled(error))
        return self.graphs_of[steps]

    def enter(self, changed: list[tuple[Recorded, Array]]) -> None:
        """Use other arrays than in the last run: those with a buffer are copied, all others go to the plan."""
        for x, a in changed:
            if x in self.buffers:
                self.graphs.cupy.copyto(self.plan.arrays[x], a)
        moved = [(x, self.settled(x, a)) for x, a in changed if x in self.plan.users and x not in self.buffers]
        if moved:
            self.graphs_of.clear()
        self.plan.enter([(x, a) for x, a in changed if x not in self.plan.users] + moved)

    def settled(self, x: Recorded, a: Array) -> Array:
        """Return the array that the graph reads for the argument x from now on.

        An argument that often changes, such as a mask, gets a buffer and is copied before every launch: even the same
        array may have new content.  An argument that seldom changes, such as the samples or their order in an epoch, is
        read where it lies.
        """
        self.changes[x] += 1
        if self.changes[x] * RECAPTURE <= self.runs:
            return a
        self.buffers.add(x)
        return a.copy()


def _same(x: Array, y: Array) -> bool:
    """Return whether two arrays of the same shape and dtype are the same memory."""
    return x is y or (x.data.ptr == y.data.ptr and x.strides == y.strides)


def _spelled(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Within the block, destroy no unused array, handle or graph: CUDA may refuse that during a capture."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


NO_GARBAGE_COLLECTION = Shared(_no_garbage_collection, Lock())
