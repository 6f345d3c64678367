"""Streams: run independent calls of a step side by side in a CUDA graph.

Small products leave most of a GPU idle, and nothing before the update needs x.T @ dz, a layer's part of the gradient.
So the longest chains of dependent calls are the main branch, and all other calls are the side branch.  Two calls stay
in order if one writes memory that the other reads or writes.  So the plan should not use the same memory twice.

Side branches are off by default: only the benchmark contender "xpdl-cupy-branches" turns them on.  Expected is a gain
of 5 to 8 us of the 55 to 75 us that a step of 784-256-128-10 should take; nothing was measured on a GPU yet.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from xpdl.arrays import Array

MAIN, SIDE = 0, 1


class Use(NamedTuple):
    """The memory that a call reads and writes, as pairs of first byte and end."""

    read: list[tuple[int, int]]
    written: list[tuple[int, int]]


class Turn(NamedTuple):
    """The branch of a call, and the call of the other branch that it must wait for."""

    branch: int
    after: int | None


def span(x: Array) -> tuple[int, int]:
    """Return the first byte and the end of the memory of a CuPy array."""
    steps = [(size - 1) * stride for size, stride in zip(x.shape, x.strides, strict=True)]
    first = x.data.ptr + sum(step for step in steps if step < 0)
    return first, x.data.ptr + sum(step for step in steps if step > 0) + x.itemsize


def turns(uses: Sequence[Use]) -> list[Turn]:
    """Return the turn of each call."""
    numbers = range(len(uses))
    before = [{j for j in range(i) if conflict(uses[j], uses[i])} for i in numbers]
    after = [{j for j in range(i + 1, len(uses)) if i in before[j]} for i in numbers]
    chain = [up + down for up, down in zip(lengths(before, numbers), lengths(after, numbers[::-1]), strict=True)]
    branches = [MAIN if length == max(chain) else SIDE for length in chain]
    found, waited = [], [-1, -1]
    for branch, earlier in zip(branches, before, strict=True):
        last = max((j for j in earlier if branches[j] != branch), default=-1)
        found.append(Turn(branch, last if last > waited[branch] else None))
        waited[branch] = max(waited[branch], last)
    return found


def lengths(others: list[set[int]], order: range) -> list[int]:
    """Return, for each call, the length of the longest chain of calls before it, or after it."""
    found = [0] * len(order)
    for number in order:
        found[number] = max((found[other] + 1 for other in others[number]), default=0)
    return found


def conflict(one: Use, other: Use) -> bool:
    """Return whether the order of two calls matters."""
    return meet(one.written, other.read) or meet(one.written, other.written) or meet(one.read, other.written)


def meet(ones: list[tuple[int, int]], others: list[tuple[int, int]]) -> bool:
    """Return whether the two lists of spans overlap."""
    return any(first < stop and start < end for first, end in ones for start, stop in others)


def make(calls: Sequence[Callable[[], Any]], plan: Sequence[Turn], main: Any, side: Any) -> None:
    """Make the calls on two streams of CuPy; later work on the main stream waits for both."""
    streams, wanted = (main, side), {turn.after for turn in plan}
    events: dict[int | None, Any] = {}
    side.wait_event(main.record())
    for number, (call, turn) in enumerate(zip(calls, plan, strict=True)):
        stream = streams[turn.branch]
        if turn.after is not None:
            stream.wait_event(events[turn.after])
        with stream:
            call()
        if number in wanted:
            events[number] = stream.record()
    main.wait_event(side.record())
