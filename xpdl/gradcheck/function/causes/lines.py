"""A number of its own in each row, column or slice; and values that are the same in each."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from xpdl.gradcheck.function.causes.evidence import Evidence, Hypothesis, Number
from xpdl.gradcheck.function.causes.places import lines_named
from xpdl.gradcheck.function.causes.wholes import inverse, opposite
from xpdl.gradcheck.report import Vector

MOST = 64
"""An axis of more indices has no number for each of them."""
SHOWN = 6
"""The most numbers that a text shows."""


def own_factors(evidence: Evidence) -> Iterator[Hypothesis]:
    """A factor of its own at each wrong index of an axis."""
    for axis, lines, shape in _wrong_lines(evidence):
        where = [_at(line, axis, shape) for line in lines]
        text = partial(_each, f"a factor of its own in each of {lines_named(lines, axis, shape)}", inverse)
        yield Hypothesis(text, evidence.claim * (1 - sum(where)), [evidence.claim * at for at in where])


def own_offsets(evidence: Evidence) -> Iterator[Hypothesis]:
    """A number of its own too much at each wrong index of an axis."""
    for axis, lines, shape in _wrong_lines(evidence):
        where = [np.broadcast_to(_at(line, axis, shape), shape) for line in lines]
        text = partial(_each, f"a number of its own too much in each of {lines_named(lines, axis, shape)}", opposite)
        yield Hypothesis(text, evidence.claim, where)


def _each(text: str, change: Callable[[Number], Number], numbers: Sequence[Number]) -> str:
    return f"{text}: {_shown([change(number) for number in numbers])}"


def own_multiples(evidence: Evidence) -> Iterator[Hypothesis]:
    """What a norm of each row or column takes away: multiples of 1 and of theta."""
    for axis, lines, shape in _wrong_lines(evidence):
        where = [_at(line, axis, shape) for line in lines]
        thetas, ones = [evidence.theta * at for at in where], [np.broadcast_to(at, shape) for at in where]
        for name, terms in (("theta", thetas), ("1 and theta", thetas + ones)):
            text = f"the numeric gradient + multiples of {name}, of their own in each of"
            yield Hypothesis(f"{text} {lines_named(lines, axis, shape)}: a norm's terms?", evidence.claim, terms)


def _wrong_lines(evidence: Evidence) -> Iterator[tuple[int, list[int], tuple[int, ...]]]:
    """Each axis with the indices at which entries are wrong."""
    shape = evidence.claim.shape
    for axis, length in enumerate(shape):
        if len(shape) > 1 and 1 < length <= MOST and length < evidence.claim.size:
            others = tuple(k for k in range(len(shape)) if k != axis)
            wrong = np.ones(length, bool) if evidence.signs is not None else evidence.wrong.any(others)
            lines = [int(k) for k in np.flatnonzero(wrong)]
            if len(lines) < len(evidence.derivatives) - 1:
                yield axis, lines, shape


def _at(line: int, axis: int, shape: Sequence[int]) -> Vector:
    """1 at one index of an axis, and 0 elsewhere."""
    return np.asarray(np.arange(shape[axis]) == line, np.float64).reshape(_along(axis, len(shape)))


def _along(axis: int, ndim: int) -> list[int]:
    return [-1 if k == axis else 1 for k in range(ndim)]


def _shown(numbers: Sequence[Number]) -> str:
    """The first numbers, or how they grow."""
    values = np.array([0.0 if number.is_at(0.0) else number.value for number in numbers])
    steps = values[1:] / values[:-1]
    if len(values) > 2 and np.all(values) and np.ptp(steps) <= 1e-6 * np.max(np.abs(steps)):
        return f"{values[0]:.4g}, each {steps[0]:.4g} x the one before"
    return ", ".join(f"{value:.4g}" for value in values[:SHOWN]) + (", ..." if len(values) > SHOWN else "")


# Lines in other places


def moved(evidence: Evidence) -> str | None:
    """Rows, columns or slices that hold the numeric values of others."""
    if evidence.signs is not None:
        return None
    for axis, lines, shape in _wrong_lines(evidence):
        there = _matches(evidence, lines, axis)
        if there:
            here, holds = lines_named(lines, axis, shape), ", ".join(map(str, there[:SHOWN]))
            swapped = len(there) == 2 and there == lines[::-1]
            more = ", ..." if len(there) > SHOWN else ""
            return f"{here} swapped" if swapped else f"{here} hold the numeric gradient of {holds}{more}"
    return None


def _matches(evidence: Evidence, lines: Sequence[int], axis: int) -> list[int] | None:
    """For each line the one whose numeric gradient it holds."""
    claim, numeric, bar = (np.moveaxis(t, axis, 0) for t in (evidence.claim, evidence.numeric, evidence.bar))
    found = []
    for line in lines:
        axes = tuple(range(1, claim.ndim))
        same = (np.abs(claim[line] - numeric) <= 2 * bar).all(axes) & (np.abs(numeric) > bar).any(axes)
        found += [int(k) for k in np.flatnonzero(same)[:1]]
    return found if len(found) == len(lines) else None


# Values that are the same at each index


def spread(evidence: Evidence) -> str | None:
    """The same at each index of an axis, where the numeric gradient is not."""
    if evidence.signs is not None or evidence.claim.size < 3:
        return None
    for axis, length in enumerate(evidence.claim.shape):
        claim, numeric = evidence.claim, evidence.numeric
        alike = np.all(np.ptp(numeric, axis) <= 2 * np.max(evidence.bar))
        if length > 1 and not alike and np.all(claim == claim.take([0], axis)):
            return f"the same at every index of axis {axis}{_which(evidence, axis)}"
    return None


def _which(evidence: Evidence, axis: int) -> str:
    """What of the numeric gradient it is."""
    bar = 2 * evidence.bar.sum(axis, keepdims=True)
    first = evidence.claim.take([0], axis)
    names = (n for n, reduce in REDUCTIONS.items() if np.all(np.abs(first - reduce(evidence.numeric, axis)) <= bar))
    return next((f": {name} along it" for name in names), "")


REDUCTIONS: dict[str, Callable[[Vector, int], Vector]] = {
    "the mean of the numeric gradient": lambda n, axis: n.mean(axis, keepdims=True),
    "the sum of the numeric gradient": lambda n, axis: n.sum(axis, keepdims=True),
    "the first of the numeric gradient": lambda n, axis: n.take([0], axis),
    "the last of the numeric gradient": lambda n, axis: n.take([-1], axis),
}
