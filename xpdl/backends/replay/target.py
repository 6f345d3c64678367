"""How an array library replays steps: what record.py, plan.py and replay.py must know of it."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, TypeAlias

from xpdl.arrays import Array
from xpdl.backends.replay.recorder import Library, Record, Recorded

Call: TypeAlias = Callable[[], Any]
Run: TypeAlias = Callable[[Any, list[Array]], tuple[Any, Any]]
"""(arguments of the step, the arrays in them) -> its result, and the Run of the next call."""


def replay(plan: Run, plain: Run) -> Run:
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
    reuse        whether memory goes on to the next array when its time is over: then the calls must keep their order
    exact        whether a plan rounds as the step as it is does; if not, the plan does every step, recorded ones too
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
    reuse: bool = True
    exact: bool = True
    ready: Callable[[], None] = nothing
    context: Callable[[], AbstractContextManager[Any]] = nullcontext
    dispatch: Callable[[Any, Run], Run] = replay
    notice: Callable[[str], None] = silent
