"""A mistake in a part of the tensor, and right entries elsewhere.  Entries are known one by one."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from xpdl.gradcheck.function.causes.evidence import Evidence, Hypothesis, Number
from xpdl.gradcheck.function.causes.places import lines_named, lines_of, place_of
from xpdl.gradcheck.function.causes.wholes import MEANINGS, inverse
from xpdl.gradcheck.report import Vector

NAMED = 4
"""Single entries are named, if they are so few."""


def part(evidence: Evidence) -> str | None:
    """What is wrong in some of the entries, and where; None if the place has no words or nothing fits."""
    place = wrong_place(evidence)
    if place is None:
        return None
    return next(filter(None, (how(evidence, place) for how in HOWS)), None)


def wrong_place(evidence: Evidence) -> str | None:
    """Words for the wrong entries; None if most of the tensor is wrong without a pattern."""
    if evidence.signs is not None or evidence.claim.ndim == 0:
        return None
    wrong, seen = evidence.wrong, evidence.seen
    found = place_of(wrong, seen, evidence.theta, evidence.numeric)
    return found or _few(wrong, seen)


def _few(wrong: Vector, seen: Vector) -> str | None:
    places = np.argwhere(wrong).tolist()
    return ", ".join(map(str, places)) if len(places) <= NAMED and 2 * len(places) < seen.sum() else None


def place_only(evidence: Evidence) -> str | None:
    """Where the wrong entries are, if nothing is known of them."""
    place = wrong_place(evidence)
    many = evidence.wrong.sum() > NAMED if evidence.signs is None else False
    return f"wrong in {place}, and right elsewhere{_time(evidence)}" if place and many else None


def _time(evidence: Evidence) -> str:
    """A hint, if an axis is right at its end only: what later indices carry back is lost."""
    for axis, length in enumerate(evidence.claim.shape[:-1]):
        lines = lines_of(evidence.wrong, evidence.seen, axis)
        if length > 2 and lines == list(range(length - 1)):
            return f": if axis {axis} is time, what the last step carries back is wrong or lost"
    return ""


# What is wrong: (evidence, place) -> text or None


def _zero(evidence: Evidence, place: str) -> str | None:
    return f"0 in {place}" if not np.any(evidence.claim[evidence.wrong]) else None


def _not_zero(evidence: Evidence, place: str) -> str | None:
    hidden = np.abs(evidence.numeric) <= evidence.bar
    return f"not 0 in {place}, where the numeric gradient is 0" if np.all(hidden[evidence.wrong]) else None


def _fitted(evidence: Evidence, place: str) -> str | None:
    hypotheses = (make(evidence, place) for make in (_known_factors, _free))
    return next(filter(None, (evidence.explains(h) for several in hypotheses for h in several)), None)


def _known_factors(evidence: Evidence, place: str) -> Iterator[Hypothesis]:
    for factor, meaning in MEANINGS:
        text = f"{factor:g} x the numeric gradient in {place}: {meaning}"
        yield Hypothesis(text, np.where(evidence.wrong, evidence.claim / factor, evidence.claim))


def _free(evidence: Evidence, place: str) -> Iterator[Hypothesis]:
    """A factor, or a number too much."""
    inside, outside = (np.where(mask, evidence.claim, 0.0) for mask in (evidence.wrong, ~evidence.wrong))
    yield Hypothesis(lambda p: f"{inverse(p[0])} x the numeric gradient in {place}", outside, [inside])
    ones = np.where(evidence.wrong, 1.0, 0.0)
    yield Hypothesis(
        lambda p: f"the numeric gradient + {Number(-p[0].value, p[0].error)} in {place}", evidence.claim, [ones]
    )


def _clipped(evidence: Evidence, place: str) -> str | None:
    """The same number where the numeric gradient is beyond it."""
    values = evidence.claim[evidence.wrong]
    if len(values) < 2 or np.ptp(np.abs(values)) > 1e-12 * np.max(np.abs(values)):
        return None
    c, size = float(np.abs(values[0])), np.abs(evidence.numeric)
    signs_agree = np.all(np.sign(values) == np.sign(evidence.numeric[evidence.wrong]))
    beyond = np.array_equal(evidence.wrong, (size > c) & evidence.wrong) and not np.any((size > c) & ~evidence.wrong)
    if signs_agree and beyond:
        return f"clipped at {c:.6g}"
    return f"{values[0]:.6g} in every one of {place}" if np.ptp(values) == 0 else None


def _moved_lines(evidence: Evidence, place: str) -> str | None:
    """Rows, columns or slices that hold the numeric values of others."""
    for axis in range(evidence.claim.ndim):
        lines = lines_of(evidence.wrong, evidence.wrong, axis)
        if lines and evidence.claim.shape[axis] > 1 and (there := _matches(evidence, lines, axis)):
            shape = evidence.claim.shape
            here, holds = lines_named(lines, axis, shape), ", ".join(map(str, there))
            swapped = len(there) == 2 and there == lines[::-1]
            return f"{here} swapped" if swapped else f"{here} hold the numeric gradient of {holds}"
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


HOWS: Sequence[Callable[[Evidence, str], str | None]] = (_zero, _not_zero, _fitted, _clipped, _moved_lines)
