"""Entries at a kink, judged together: one choice of derivatives must explain all of them.

Each of four tied maxima may have any derivative from 0 to 1, but their sum is 1.  So the claim is compared along
directions through all kinked entries that depend on each other: <claim, d> must lie between -f'(theta; -d) and
f'(theta; d), or between the derivatives along d that f has nearby.  That holds for each generalised gradient (Clarke
1983) of a function that is convex, or concave, in these entries; of others nothing is said.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations
import math
from typing import NamedTuple

import numpy as np

from xpdl.gradcheck.function.directional import CentralDifference, central_along
from xpdl.gradcheck.function.nearby import Nearby
from xpdl.gradcheck.function.probe import SPREAD, Probe, Tensors
from xpdl.gradcheck.report import Vector

LEVEL = -1
"""Steps of 2^-21 in float64: the sides of a kink, and little curvature."""
MOST = 24
"""Dependence is looked for in pairs of up to so many entries, with 2,208 evaluations; more are taken as one group."""
DRAWN = 12
"""Random directions of each of two kinds for each group: of what one in eight shows, 4 % is missed."""
SEPARATED = 1024
"""Entries are looked at one by one, with four evaluations each, if there are no more than so many."""
MARGIN = 1e-2
"""A claim is wrong if it is outside by this part of the range."""
CURVATURE = 1e-6
"""Sides that differ by less than this part of the derivative may do so because fun is curved, as waves are."""

Place = tuple[str, int]
"""(name of the tensor, position in it)."""


class Contradiction(NamedTuple):
    """Entries that no generalised gradient explains."""

    places: tuple[Place, ...]
    claim: float  # along the direction that shows it
    low: float
    high: float
    certain: bool  # whether they cannot be right; else they may be

    @property
    def beyond(self) -> float:
        """How far the claim is outside."""
        return max(self.low - self.claim, self.claim - self.high)


def contradictions(probe: Probe, claims: Tensors) -> list[Contradiction]:
    """The groups of entries whose claims, (size,) by name in natural units, do not belong together."""
    if all(_fits(claims, d, central_along(probe, d, LEVEL)) for d in _everywhere(claims)):
        return []
    around = Nearby(probe)
    groups, everything = _groups_of(probe, claims)
    found = [_contradiction(around, claims, group) for group in groups if len(group) > 1]
    if not any(found) and around.kinked:
        last = _contradiction(around, claims, everything)
        found = [last if last and (last.certain or not groups) else None]
    return [contradiction for contradiction in found if contradiction]


def _groups_of(probe: Probe, claims: Tensors) -> tuple[list[list[Place]], list[Place]]:
    """The groups of entries at kinks, and all entries."""
    everything = [(name, k) for name, claim in claims.items() for k in range(claim.size)]
    if len(everything) > SEPARATED:
        return [], everything
    kinks = {place: found for place, found in _sides(probe, claims) if _kinked(found)}
    return _groups(probe, kinks) if len(kinks) <= MOST else [list(kinks)], everything


def _fits(claims: Tensors, d: Tensors, found: CentralDifference) -> bool:
    """Whether there is no kink along a direction, and the claims are right along it."""
    claim = sum(float(claims[name] @ part) for name, part in d.items())
    return not _kinked(found) and abs(claim - found.value) <= max(found.bar, CURVATURE * found.steepness)


def _everywhere(claims: Tensors) -> Iterator[Tensors]:
    """Two directions through all entries."""
    generator = np.random.default_rng(0)
    for _ in range(2):
        yield {name: generator.standard_normal(claim.size) for name, claim in claims.items()}


def _kinked(found: CentralDifference) -> bool:
    return found.bar < math.inf and found.jump > found.noise + CURVATURE * found.steepness


def _sides(probe: Probe, claims: Tensors) -> Iterator[tuple[Place, CentralDifference]]:
    for name, claim in claims.items():
        for k in range(claim.size):
            yield (name, k), central_along(probe, _direction(claims, {(name, k): 1.0}), LEVEL)


def _direction(claims: Tensors, weights: dict[Place, float]) -> Tensors:
    """A direction with these weights, and 0 in all other entries of their tensors."""
    direction = {name: np.zeros(claims[name].size) for name, _ in weights}
    for (name, k), weight in weights.items():
        direction[name][k] = weight
    return direction


def _groups(probe: Probe, kinks: dict[Place, CentralDifference]) -> list[list[Place]]:
    """The kinked entries in groups that depend on each other."""
    group = {place: {place} for place in kinks}
    for one, other in combinations(kinks, 2):
        if group[one] is not group[other] and _depend(probe, kinks, one, other):
            group[one] |= group[other]
            group |= dict.fromkeys(group[one], group[one])
    return [sorted(members) for members in {id(members): members for members in group.values()}.values()]


def _depend(probe: Probe, kinks: dict[Place, CentralDifference], one: Place, other: Place) -> bool:
    """Whether the one-sided derivatives along two entries do not add up."""
    first, second = kinks[one], kinks[other]
    for sign, ahead, behind in ((1.0, second.forward, second.backward), (-1.0, -second.backward, -second.forward)):
        both = central_along(probe, _direction(probe.theta, {one: 1.0, other: sign}), LEVEL)
        error = max(abs(both.forward - first.forward - ahead), abs(both.backward - first.backward - behind))
        if error > both.side_bar + first.side_bar + second.side_bar + MARGIN * (first.jump + second.jump):
            return True
    return False


def _contradiction(around: Nearby, claims: Tensors, group: Sequence[Place]) -> Contradiction | None:
    """The first direction along which the claims of a group are impossible.

    If f is convex or concave in them, no claim beyond the one-sided derivatives is possible; else one may be.
    """
    claim = np.array([claims[name][k] for name, k in group])
    doubt = None
    for d in _tried(claim):
        value, direction = float(claim @ d), _direction(claims, _weights(group, d))
        side = central_along(around.probe, direction, LEVEL)
        if side.bar == math.inf or not _outside(value, side):
            continue
        near = around.along(direction)
        ends = _outside(value, side, *(near[:2] if near else ()))
        if not ends or max(ends[0] - value, value - ends[1]) <= _rounding(around.probe, direction):
            continue
        smooth = near is None and not _kinked(side)
        beyond = near is not None and not near.may_hold(value, len(group))
        certain = smooth or beyond or not (doubt or around.mixed(direction))
        doubt = Contradiction(tuple(group), value, *ends, certain)
        if certain:
            return doubt
    return doubt


def _rounding(probe: Probe, direction: Tensors) -> float:
    """How far a right claim along a direction may be off."""
    terms = sum(probe.rounding_of_claims(name, d) for name, d in direction.items())
    return SPREAD * (probe.noise_of_claims + terms)


def _weights(group: Sequence[Place], d: Vector) -> dict[Place, float]:
    return dict(zip(group, d.tolist(), strict=True))


def _tried(claim: Vector) -> Iterator[Vector]:
    """The sum, the claim itself, and random directions."""
    generator = np.random.default_rng(1)
    yield np.ones(claim.size)
    largest = float(np.max(np.abs(claim)))
    if largest > 0:
        yield claim / largest
    for _ in range(DRAWN):
        yield generator.choice(np.array([-1.0, 1.0]), claim.size)
        yield generator.standard_normal(claim.size)


def _outside(value: float, side: CentralDifference, *nearby: float) -> tuple[float, float] | None:
    """The range of derivatives if the value is outside, by more than rounding."""
    low, high = min(side.forward, side.backward, *nearby), max(side.forward, side.backward, *nearby)
    slack = 2 * side.side_bar + MARGIN * (high - low) + CURVATURE * side.steepness
    return None if low - slack <= value <= high + slack else (low, high)
