"""A mistake in a part of the tensor, and right entries elsewhere.  Entries are known one by one."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from xpdl.gradcheck.function.causes.evidence import Evidence, Hypothesis, Number
from xpdl.gradcheck.function.causes.places import lines_of, place_of
from xpdl.gradcheck.function.causes.wholes import MEANINGS, inverse, opposite
from xpdl.gradcheck.report import Vector

COUNT = 4
"""A count is that large at most."""
SHOWN = 6
"""The most counts that a text shows."""


def part(evidence: Evidence) -> str | None:
    """What is wrong in some of the entries, and where; None if the place has no words, nothing fits, or it is one."""
    place, count = wrong_place(evidence), 0 if evidence.signs is not None else int(evidence.wrong.sum())
    if count == 0 or evidence.claim.ndim == 0:
        return None
    if count == 1:
        return _zero(evidence, place) if place else None
    if place is None:
        return _multiples(evidence, f"{count} entries") if count < evidence.claim.size else None
    return next(filter(None, (how(evidence, place) for how in HOWS)), None)


def wrong_place(evidence: Evidence) -> str | None:
    """Words for the wrong entries; None if most of the tensor is wrong without a pattern."""
    if evidence.signs is not None:
        return None
    wrong, seen = evidence.wrong, evidence.seen
    return place_of(wrong, seen, evidence.theta, np.where(_hidden(evidence), 0.0, evidence.numeric))


def _hidden(evidence: Evidence) -> Vector:
    return np.asarray(np.abs(evidence.numeric) <= evidence.bar)


def place_only(evidence: Evidence) -> str | None:
    """Where the wrong entries are, if nothing is known of them."""
    place = wrong_place(evidence)
    return f"wrong in {place}, and right elsewhere{_time(evidence)}" if place and "[" not in place else None


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
    if not np.all(_hidden(evidence)[evidence.wrong]):
        return None
    return f"not 0 in {place}{'' if place.endswith(' is 0') else ', where the numeric gradient is 0'}"


def _fitted(evidence: Evidence, place: str) -> str | None:
    return first_that_fits(evidence, evidence.wrong, place)


def first_that_fits(evidence: Evidence, part: Vector, place: str) -> str | None:
    """A factor in a part of the entries, or a number too much."""
    return next(filter(None, map(evidence.explains, _in_part(evidence.claim, part, place))), None)


def _in_part(claim: Vector, part: Vector, place: str) -> Iterator[Hypothesis]:
    for factor, meaning in MEANINGS:
        text = f"{factor:g} x the numeric gradient in {place}: {meaning}"
        yield Hypothesis(text, np.where(part, claim / factor, claim))
    inside, outside = (np.where(mask, claim, 0.0) for mask in (part, ~part))
    yield Hypothesis(lambda p: f"{inverse(p[0])} x the numeric gradient in {place}", outside, [inside])
    ones = np.where(part, 1.0, 0.0)
    yield Hypothesis(lambda p: f"the numeric gradient + {opposite(p[0])} in {place}", claim, [ones])


def _multiples(evidence: Evidence, place: str) -> str | None:
    """A whole multiple of one number too much: as of counts or labels."""
    errors = np.where(evidence.wrong, evidence.claim - evidence.numeric, 0.0)
    counts = np.round(errors / np.min(np.abs(errors[evidence.wrong])))
    if np.max(np.abs(counts)) > COUNT:
        return None

    def text(p: Sequence[Number]) -> str:
        shown = ", ".join(f"{count:+g}" for count in counts[evidence.wrong][:SHOWN])
        return f"the numeric gradient + multiples of {abs(p[0].value):.6g} ({shown}) in {place}: counts or labels?"

    return evidence.explains(Hypothesis(text, evidence.claim, [counts]))


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


HOWS: Sequence[Callable[[Evidence, str], str | None]] = (_zero, _not_zero, _fitted, _clipped, _multiples)
