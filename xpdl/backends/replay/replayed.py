"""Replay: record a step in its first runs, then repeat the recorded operations without running its Python function.

    record   the first two runs are recorded (recorder.py) and compared.  A step that does something else the second
             time is not a function of its arguments, and is never replayed.  After ``invalidate`` the next run is
             recorded, too, because a rate or an activation may have been changed from outside
    plan     the record becomes calls without arguments (plan.py)
    replay   for call in calls: call()

So a replayed step makes no new array and looks nothing up.  There is one plan for each choice of shapes and dtypes.
If a plan rounds differently from the step itself, the plan computes the recorded steps again, so all steps round alike.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from operator import is_
from typing import Any

from xpdl.arrays import Array
from xpdl.backends.replay.plan import Plan
from xpdl.backends.replay.recorder import Record, values
from xpdl.backends.replay.target import Run, Target
from xpdl.pytree import flatten, tree_map


class Replayed:
    """A step that is replayed from its third call on.  It consumes its first argument."""

    def __init__(self, target: Target, step: Callable[..., Any]) -> None:
        self.target, self.step = target, step
        self.type, self.context = target.library.types[0], target.context
        self.rehearsals: dict[Any, Rehearsal] = {}
        self.runs: dict[Any, Run] = {}  # the function that runs the next step, for each choice of shapes and dtypes
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
        """Return the rehearsal for the current shapes and dtypes."""
        return self.rehearsals.setdefault(self.key, Rehearsal(self.target, self.step))

    def invalidate(self) -> None:
        """Record the next step once more, because something outside may have changed; replay it if nothing has."""
        self.runs.clear()


class Rehearsal:
    """The recorded runs of a step.  Each returns the result, and the function that runs the next step.

    seen      a description of the operations of the last run
    plan      the plan of the last run
    replayed  the function that runs the plan, once two runs have done the same
    changing  whether the second run did something else than the first; then the step is never replayed
    """

    def __init__(self, target: Target, step: Callable[..., Any]) -> None:
        self.target, self.step, self.plain = target, step, unrecorded(step)
        self.seen: list[Any] | None = None
        self.plan: Plan | None = None
        self.replayed: Run | None = None
        self.changing = False

    def __call__(self, arguments: Any, arrays: list[Array]) -> tuple[Any, Run]:
        consumed = flatten(arguments[0])
        if self.changing:
            return self.plain(arguments, arrays)
        try:
            with unharmed(self.target, consumed) as undo:
                return self.rehearse(arguments, arrays, len(consumed), undo)
        except Exception as error:  # the plain step either raises the error again or works
            self.target.notice(f"{type(error).__name__}: {error}")
            return self.plain(arguments, arrays)

    def rehearse(self, arguments: Any, arrays: list[Array], consumed: int, undo: Callable[[], None]) -> tuple[Any, Run]:
        """Run and record the step, and compare it with the last run; an inexact plan then computes the step again."""
        record = Record(self.target.library)
        inputs = [record.stand_in(array) for array in arrays]
        entered = iter(inputs)
        result = self.step(*tree_map(lambda _: next(entered), arguments))
        returned, exact = tree_map(values, result), self.target.exact
        seen, self.seen = self.seen, record.spelled()
        follow = self if seen == self.seen else self.differs(first=seen is None)
        if self.plan is None and (seen == self.seen or not exact):
            self.plan = Plan(self.target, record, inputs, consumed, result)
        record.release()
        if seen == self.seen and self.plan:
            follow = self.replayed = self.replayed or self.target.dispatch(self.plan, self.plain)
        if exact or self.plan is None:
            return returned, follow
        undo()
        if self.replayed is None:
            return self.plan(arguments, arrays)[0], follow
        returned, self.replayed = self.replayed(arguments, arrays)
        return returned, self.replayed

    def differs(self, *, first: bool) -> Run:
        """Return the function for the next step after a run that did something new: a rehearsal, or the plain step."""
        self.changing = not first and self.replayed is None
        self.replayed = self.plan = None
        if self.changing:
            self.target.notice("the step did something else the second time")
        return self.plain if self.changing else self


def unrecorded(step: Callable[..., Any]) -> Run:
    """Return the plain step as a ``Run``.  It holds no array, so no array waits for the garbage collector."""

    def run(arguments: Any, arrays: list[Array]) -> tuple[Any, Run]:
        return step(*arguments), run

    return run


@contextmanager
def unharmed(target: Target, arrays: Sequence[Array]) -> Iterator[Callable[[], None]]:
    """Undo all changes of the arrays if the block raises; yield the function that undoes them."""
    before = list(map(target.library.module.copy, arrays))

    def undo() -> None:
        for array, kept in zip(arrays, before, strict=True):
            target.library.module.copyto(array, kept)

    try:
        yield undo
    except Exception:
        undo()
        raise
