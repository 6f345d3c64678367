"""Entries in other places: the numeric gradient transposed, flipped, shifted, or with blocks in another order."""

from collections.abc import Iterator, Sequence
from itertools import combinations, permutations

import numpy as np

from xpdl.gradcheck.function.causes.evidence import Evidence, Hypothesis
from xpdl.gradcheck.report import Vector

AXES = 4
"""Tensors of up to so many axes are transposed in every way."""
BLOCKS = (2, 3, 4)
"""An axis is cut into so many equal blocks: into four, as the gates of an LSTM."""
LARGE = 20_000
"""In tensors of more entries only the order of axes and flips are tried, one at a time."""


def orders(evidence: Evidence) -> Iterator[Hypothesis]:
    """Each order of the entries once."""
    claim = evidence.claim
    if claim.size > LARGE:
        yield from (Hypothesis(text, there) for text, there in _orders(claim))
        return
    places = np.arange(claim.size).reshape(claim.shape)
    known = {places.tobytes()}
    for text, order in _orders(places):
        if order.tobytes() not in known:
            known.add(order.tobytes())
            yield Hypothesis(text, claim.ravel()[order])


def _orders(places: Vector) -> Iterator[tuple[str, Vector]]:
    """A text, and for each place the one where its derivative stands instead."""
    yield from _flipped(places)
    for text, order in _transposed(places):
        yield text, order
        if places.size <= LARGE:
            yield from ((f"{text}, {how.removeprefix(NUMERIC)}", flipped) for how, flipped in _flipped(order))
    if places.size <= LARGE:
        yield from _rolled(places)
        yield from _blocks(places)


NUMERIC = "the numeric gradient "


def _flipped(places: Vector) -> Iterator[tuple[str, Vector]]:
    for count in range(1, places.ndim + 1):
        for axes in combinations(range(places.ndim), count):
            yield NUMERIC + _how_flipped(axes, places.ndim), _flip(places, axes)


def _flip(tensor: Vector, axes: Sequence[int]) -> Vector:
    """np.flip, without its overhead."""
    return tensor[tuple(slice(None, None, -1 if axis in axes else 1) for axis in range(tensor.ndim))]


def _how_flipped(axes: Sequence[int], ndim: int) -> str:
    if len(axes) == ndim:
        return "in reverse order"
    last_two = tuple(axes) == (ndim - 2, ndim - 1)
    return f"flipped along {axes_named(axes)}{': a convolution instead of a correlation?' if last_two else ''}"


def axes_named(axes: Sequence[int]) -> str:
    """(0,) -> "axis 0", (0, 1, 3) -> "axes 0, 1 and 3"."""
    return f"{'axis' if len(axes) == 1 else 'axes'} {listed(list(map(str, axes)))}"


def listed(words: Sequence[str]) -> str:
    """["a", "b", "c"] -> "a, b and c"."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def _transposed(places: Vector) -> Iterator[tuple[str, Vector]]:
    """The axes in another order; where their lengths differ, the memory is read in that order."""
    if places.ndim <= AXES:
        for order in list(permutations(range(places.ndim)))[1:]:
            there = places.reshape([places.shape[axis] for axis in order])
            yield _how_transposed(order), np.ascontiguousarray(there.transpose(np.argsort(order)))


def _how_transposed(order: Sequence[int]) -> str:
    if len(order) == 2:
        return "the transpose of the numeric gradient"
    moved = [axis for axis, other in enumerate(order) if axis != other]
    how = f"{axes_named(moved)} swapped" if len(moved) == 2 else f"its axes in the order {tuple(order)}"
    return f"{NUMERIC}with {how}"


def _rolled(places: Vector) -> Iterator[tuple[str, Vector]]:
    for axis in range(places.ndim):
        for by in (1, -1):
            how = f"shifted by {by:+d} along axis {axis}, around the end"
            yield NUMERIC + how, np.roll(places, -by, axis)


def _blocks(places: Vector) -> Iterator[tuple[str, Vector]]:
    """The equal blocks of an axis in another order."""
    for axis, length in enumerate(places.shape):
        for count in BLOCKS:
            if length % count == 0 and length > count:
                blocks = np.split(places, count, axis)
                for order in list(permutations(range(count)))[1:]:
                    text = f"{NUMERIC}with the {count} blocks of axis {axis} in the order {tuple(order)}"
                    yield text, np.concatenate([blocks[k] for k in np.argsort(order)], axis)


def permuted(evidence: Evidence) -> Iterator[Hypothesis]:
    """The right numbers in the wrong places: they are the same when sorted, and few are alike."""
    if evidence.signs is not None:
        return
    there, here = (np.argsort(tensor, axis=None) for tensor in (evidence.numeric, evidence.claim))
    moved = np.sort(evidence.numeric[evidence.wrong & (np.abs(evidence.numeric) > evidence.bar)])
    apart = 1 + int(np.sum(np.diff(moved) > 4 * np.max(evidence.bar)))
    if apart > max(2, len(moved) / 2):
        repaired = np.empty(evidence.claim.size)
        repaired[there] = evidence.claim.ravel()[here]
        yield Hypothesis("the right numbers in the wrong places", repaired.reshape(evidence.claim.shape))
