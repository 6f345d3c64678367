"""A step that is written down while it runs, and from then on repeated without its Python text.

    record   the first two runs are written down (record.py) and compared: a step that does something else the second
             time is no function of its arguments, and runs as it is from then on; at the beginning of an epoch the
             next run is recorded as well, as a rate or an activation may have been changed from outside
    plan     what was written down becomes calls without arguments (plan.py)
    replay   for call in calls: call()

So a replayed step makes no array and looks nothing up.  There is a plan for each choice of shapes and dtypes.  Where
plans round differently from the step as it is, one does the recorded steps again, so that all steps round alike.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from operator import is_
from typing import Any

from xpdl.arrays import Array
from xpdl.backends.replay.plan import Plan
from xpdl.backends.replay.recorder import Record, values
from xpdl.backends.replay.target import Machine, Run
from xpdl.pytree import flatten, tree_map


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

    def invalidate(self) -> None:
        """Something outside may have changed: record once more, and replay if the step still does the same."""
        self.runs.clear()


class Rehearsal:
    """Recorded runs of a step.  Each returns the result and what is to run the next.

    seen      what the last one did
    plan      that as a plan
    replayed  what runs it as long as it does that, once two have done the same
    changing  whether the second did something else than the first: then it is never replayed
    """

    def __init__(self, machine: Machine, step: Callable[..., Any]) -> None:
        self.machine, self.step, self.plain = machine, step, unrecorded(step)
        self.seen: list[Any] | None = None
        self.plan: Plan | None = None
        self.replayed: Run | None = None
        self.changing = False

    def __call__(self, arguments: Any, arrays: list[Array]) -> tuple[Any, Run]:
        consumed = flatten(arguments[0])
        if self.changing:
            return self.plain(arguments, arrays)
        try:
            with unharmed(self.machine, consumed) as undo:
                return self.rehearse(arguments, arrays, len(consumed), undo)
        except Exception as error:  # whatever it is, the step as it is shows it again, or does not have it
            self.machine.notice(f"{type(error).__name__}: {error}")
            return self.plain(arguments, arrays)

    def rehearse(self, arguments: Any, arrays: list[Array], consumed: int, undo: Callable[[], None]) -> tuple[Any, Run]:
        """Run and write down, and compare with the last time; where a plan rounds differently, it does the step."""
        record = Record(self.machine.library)
        inputs = [record.stand_in(array) for array in arrays]
        entered = iter(inputs)
        result = self.step(*tree_map(lambda _: next(entered), arguments))
        returned, exact = tree_map(values, result), self.machine.exact
        seen, self.seen = self.seen, record.spelled()
        follow = self if seen == self.seen else self.differs(first=seen is None)
        if self.plan is None and (seen == self.seen or not exact):
            self.plan = Plan(self.machine, record, inputs, consumed, result)
        record.release()
        if seen == self.seen and self.plan:
            follow = self.replayed = self.replayed or self.machine.dispatch(self.plan, self.plain)
        if exact or self.plan is None:
            return returned, follow
        undo()
        if self.replayed is None:
            return self.plan(arguments, arrays)[0], follow
        returned, self.replayed = self.replayed(arguments, arrays)
        return returned, self.replayed

    def differs(self, *, first: bool) -> Run:
        """What runs next after something new: the next rehearsal, or the step as it is if it is new each time."""
        self.changing = not first and self.replayed is None
        self.replayed = self.plan = None
        if self.changing:
            self.machine.notice("the step did something else the second time")
        return self.plain if self.changing else self


def unrecorded(step: Callable[..., Any]) -> Run:
    """The step as it is; it holds no array, so that what holds it need not wait for the garbage collector."""

    def run(arguments: Any, arrays: list[Array]) -> tuple[Any, Run]:
        return step(*arguments), run

    return run


@contextmanager
def unharmed(machine: Machine, arrays: Sequence[Array]) -> Iterator[Callable[[], None]]:
    """A block that, if it raises, has changed none of the arrays; it is given what undoes its changes."""
    before = list(map(machine.library.module.copy, arrays))

    def undo() -> None:
        for array, kept in zip(arrays, before, strict=True):
            machine.library.module.copyto(array, kept)

    try:
        yield undo
    except Exception:
        undo()
        raise
