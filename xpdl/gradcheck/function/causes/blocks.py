"""A mistake in some rows, columns or blocks of a large tensor: further directions, each through some, show where."""

from collections.abc import Iterator, Sequence
from itertools import chain, compress
from operator import not_

import numpy as np

from xpdl.gradcheck.function.causes.evidence import Evidence
from xpdl.gradcheck.function.causes.parts import first_that_fits
from xpdl.gradcheck.function.causes.places import lines_named
from xpdl.gradcheck.report import Vector

GROUPS = (12, 8, 6, 4, 3, 2)
"""An axis of more than 12 indices is cut into so many equal groups: 12 are three or four blocks."""
WEIGHTS = np.array([sign * 2.0**-k for k in range(6) for sign in (1, -1)])
"""Equal errors, as of a number too much in each entry, would cancel each other along directions of signs."""
AGAIN = 3
"""So many directions must find the rest of the tensor right."""


def block(evidence: Evidence) -> str | None:
    """What is wrong in some groups of an axis, and where; None if nothing fits."""
    for lines, axis in _parts(evidence):
        shape = evidence.claim.shape
        mask, place = _mask(shape, lines, axis), lines_named(lines, axis, shape)
        zero = not np.any(evidence.claim[mask])
        return f"0 in {place}" if zero else first_that_fits(evidence, mask, place)
    return None


def block_only(evidence: Evidence) -> str | None:
    """The groups of an axis in which all that is wrong is."""
    places = (lines_named(lines, axis, evidence.claim.shape) for lines, axis in _parts(evidence))
    return next((f"wrong in {place}, and right elsewhere" for place in places), None)


def _parts(evidence: Evidence) -> Iterator[tuple[list[int], int]]:
    """The indices of groups that are wrong, and their axis, if the claim is right elsewhere."""
    if evidence.signs is not None and evidence.misses is not None:
        for axis in reversed(range(evidence.claim.ndim)):
            lines = _wrong_lines(evidence, axis)
            if lines:
                yield lines, axis


def _wrong_lines(evidence: Evidence, axis: int) -> list[int]:
    """The indices of the groups in which the claim is wrong, if it is right in all others."""
    generator = np.random.default_rng(0)
    groups = list(_groups(evidence, axis))
    wrong = [_misses(evidence, group, axis, generator) for group in groups]
    lines, rest = (list(chain.from_iterable(compress(groups, flags))) for flags in (wrong, map(not_, wrong)))
    if not lines or not rest or any(_misses(evidence, rest, axis, generator) for _ in range(AGAIN)):
        return []
    return lines


def _groups(evidence: Evidence, axis: int) -> Iterator[list[int]]:
    """The indices of an axis, in equal groups; rows that are 0 are groups of their own."""
    length = evidence.claim.shape[axis]
    zero = _zero_lines(evidence.claim, axis)
    count = length if length <= GROUPS[0] else next((n for n in GROUPS if length % n == 0), 1)
    for group in np.split(np.arange(length), count):
        parts = ([k for k in group.tolist() if zero[k] == flag] for flag in (True, False))
        yield from filter(None, parts)


def _zero_lines(claim: Vector, axis: int) -> Vector:
    return np.asarray(~np.any(claim, axis=tuple(k for k in range(claim.ndim) if k != axis)))


def _misses(evidence: Evidence, lines: Sequence[int], axis: int, generator: np.random.Generator) -> bool:
    assert evidence.misses is not None
    weights = generator.choice(WEIGHTS, evidence.claim.shape)
    return evidence.misses((weights * _mask(evidence.claim.shape, lines, axis)).ravel())


def _mask(shape: Sequence[int], lines: Sequence[int], axis: int) -> Vector:
    there = np.isin(np.arange(shape[axis]), lines)
    return np.broadcast_to(there.reshape([-1 if k == axis else 1 for k in range(len(shape))]), shape)
