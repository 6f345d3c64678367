"""``Target``: everything that recorder, plan and replay need from an array library to repeat its steps."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, TypeAlias

from xpdl.arrays import Array
from xpdl.backends.replay.recorder import Library, Record, Recorded

Call: TypeAlias = Callable[[], Any]
Run: TypeAlias = Callable[[Any, list[Array]], tuple[Any, Any]]
"""(arguments of the step, the arrays in them) -> (its result, the Run for the next call)."""


def replay(plan: Run, plain: Run) -> Run:
    """Return the plan: the default of ``Target.dispatch``."""
    return plan


def unfused(record: Record, results: Sequence[Recorded]) -> Record:
    """Return the record: the default of ``Target.fusion``."""
    return record


def nothing(calls: Iterable[Call]) -> None:
    """Do nothing: the default of ``Target.ready``."""


def silent(reason: str) -> None:
    """Do nothing: the default of ``Target.notice``."""


class Target(NamedTuple):
    """An array library as the target of replayed steps.

    library      the description of the library for the recorder
    memory       (bytes) -> an aligned vector of uint8, with this number of bytes
    elementwise  (function) -> whether the function works entry by entry and takes ``out=``
    writers      function -> (place, *operands, **options) -> a call that writes the result into place.  They are for
                 functions that are not elementwise; the result of a function without a writer is copied into place
    fusion       (record, arrays that the step returns) -> a record of fewer operations that does the same
    reuse        whether an array may use the memory of an array that is no longer needed; then the calls must keep
                 their order
    exact        whether a plan rounds like the step itself; if not, the plan computes every step, recorded ones too
    ready        (calls) -> None, called when all calls of a plan are bound, before the first one is made
    context      () -> the context in which steps run
    dispatch     (plan, the plain step) -> the function that runs the plan
    notice       (reason) -> None, called when a step cannot be replayed
    """

    library: Library
    memory: Callable[[int], Array]
    elementwise: Callable[[Callable[..., Any]], bool]
    writers: dict[Callable[..., Any], Callable[..., Call]]
    fusion: Callable[[Record, Sequence[Recorded]], Record] = unfused
    reuse: bool = True
    exact: bool = True
    ready: Callable[[Iterable[Call]], None] = nothing
    context: Callable[[], AbstractContextManager[Any]] = nullcontext
    dispatch: Callable[[Any, Run], Run] = replay
    notice: Callable[[str], None] = silent
