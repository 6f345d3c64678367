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
from xpdl.gradcheck.function.probe import Probe, Tensors
from xpdl.gradcheck.report import Vector

LEVEL = -1
"""Steps of 2^-21 in float64: the sides of a kink, and little curvature."""
MOST = 24
"""Dependence is looked for in pairs of up to so many entries; more are taken as one group."""
DRAWN = 12
"""Random directions for each group."""
NEARBY = 24
"""Points nearby whose derivatives a claim may have, too."""
MARGIN = 1e-2
"""A claim is wrong if it is outside by this part of the range."""

Place = tuple[str, int]
"""(name of the tensor, position in it)."""


class Contradiction(NamedTuple):
    """Entries that no generalised gradient explains."""

    places: tuple[Place, ...]
    claim: float  # along the direction that shows it
    low: float
    high: float

    @property
    def beyond(self) -> float:
        """How far the claim is outside."""
        return max(self.low - self.claim, self.claim - self.high)


def contradictions(probe: Probe, claims: Tensors) -> list[Contradiction]:
    """The groups of kinked entries whose claims, (size,) by name in natural units, do not belong together."""
    if not any(_kinked(central_along(probe, d, LEVEL)) for d in _everywhere(claims)):
        return []
    kinks = {place: found for place, found in _sides(probe, claims) if _kinked(found)}
    groups = _groups(probe, kinks) if len(kinks) <= MOST else [list(kinks)]
    found = (_contradiction(probe, claims, group) for group in groups if len(group) > 1)
    return [contradiction for contradiction in found if contradiction]


def _everywhere(claims: Tensors) -> Iterator[Tensors]:
    """Two directions through all entries."""
    generator = np.random.default_rng(0)
    for _ in range(2):
        yield {name: generator.standard_normal(claim.size) for name, claim in claims.items()}


def _kinked(found: CentralDifference) -> bool:
    return found.bar < math.inf and found.jump > found.noise + 1e-6 * found.steepness


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


def _contradiction(probe: Probe, claims: Tensors, group: Sequence[Place]) -> Contradiction | None:
    """The first direction along which the claims of a group are impossible, if f is convex or concave in them."""
    claim = np.array([claims[name][k] for name, k in group])
    directions = list(_tried(claim))
    along = [central_along(probe, _direction(claims, _weights(group, d)), LEVEL) for d in directions]
    curvature = [found.forward - found.backward for found in along]
    bars = [found.side_bar for found in along]
    mixed = min(curvature) < -2 * max(bars) and max(curvature) > 2 * max(bars)
    if mixed or not all(map(math.isfinite, bars)):
        return None
    for d, side in zip(directions, along, strict=True):
        value = float(claim @ d)
        if _outside(value, side, ()) and (ends := _outside(value, side, _nearby(probe, claims, group, d))):
            return Contradiction(tuple(group), value, *ends)
    return None


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


def _outside(value: float, side: CentralDifference, nearby: Sequence[float]) -> tuple[float, float] | None:
    """The range of derivatives if the value is outside, by more than rounding."""
    low, high = (
        min(side.forward, side.backward, *nearby, math.inf),
        max(side.forward, side.backward, *nearby, -math.inf),
    )
    slack = 2 * side.side_bar + MARGIN * (high - low) + 1e-6 * side.steepness
    return None if low - slack <= value <= high + slack else (low, high)


def _nearby(probe: Probe, claims: Tensors, group: Sequence[Place], d: Vector) -> list[float]:
    """Derivatives along d at points nearby, in other entries of the group."""
    generator, h = np.random.default_rng(2), probe.distance(22)
    derivatives = []
    for _ in range(NEARBY):
        place = probe.distance(12) * generator.standard_normal(len(group))
        ahead, behind = (probe.real(_direction(claims, _weights(group, place + sign * h * d))) for sign in (1.0, -1.0))
        derivatives.append((ahead - behind) / (2 * h))
    return [derivative for derivative in derivatives if math.isfinite(derivative)]
