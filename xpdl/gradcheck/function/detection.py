"""How large an error would have failed: from a right claim to beyond all that a second look may grant.

The second look (trust.py) adds to a bar what speaks for a claim: noise, the rounding of terms, kinks, a part of J that
the complex step misses.  No right claim is looked at twice, so these are measured along random directions through many
entries.  What one entry adds to J is seen along them, too, unless other entries cancel it.
"""

from collections.abc import Callable, Sequence
from functools import partial
import math
from typing import NamedTuple, TypeVar

import numpy as np

from xpdl.gradcheck.function.directional import RELATIVE, analytic_sides, best_along
from xpdl.gradcheck.function.probe import PATHS, ROUNDINGS, SPREAD, NotAnalyticError, Probe, Tensors
from xpdl.gradcheck.function.tensor import TensorCheck
from xpdl.gradcheck.function.trust import missed_part
from xpdl.gradcheck.report import Vector, least, seen_sizes

T = TypeVar("T")

NEARBY = (43, 46)
"""The complex step is taken at distances of 2^-43 and 2^-46 (in float64), to both sides: kinks and noise show there."""
LIKE = 10
"""Entries whose derivatives are within a factor of 2^10 are looked at together: a large one hides small ones."""
OTHERS = 2.0
"""One entry may have so many times what is seen along a random direction."""


def detected(tensors: Sequence[TensorCheck]) -> dict[str, float]:
    """The smallest relative error that fails in any entry of a tensor, or an upper bound of it; NaN if all are 0."""
    grants = {tensor.name: _of_differences(tensor) for tensor in tensors if tensor.method != "complex"}
    grants |= _of_complex_steps([tensor for tensor in tensors if tensor.method == "complex"])
    return {tensor.name: _smallest_error(tensor, grants[tensor.name]) for tensor in tensors}


def _smallest_error(tensor: TensorCheck, grants: Vector) -> float:
    _, bar, low, high = tensor.columns()
    right = right_claims(tensor)
    reach = np.maximum(high - right, right - low) + bar + grants
    size = sizes(tensor)
    error = (reach if tensor.entrywise else np.min(reach)) / tensor.scale
    return float(np.max(error / size)) if np.any(size) else math.nan


def right_claims(tensor: TensorCheck) -> Vector:
    """The claims along all directions, but the derivatives where they are wrong."""
    claims = tensor.claims()
    misses = [found.misses(claim) for found, claim in zip(tensor.derivatives, claims.tolist(), strict=True)]
    return np.where(misses, tensor.columns()[0], claims)


def sizes(tensor: TensorCheck) -> Vector:
    """The size of each entry; the largest size where one is 0 or below its bar."""
    value, bar, _, _ = tensor.columns()
    if tensor.entrywise:
        both = np.abs(np.stack([right_claims(tensor), value]))
        return seen_sizes(least(both) / tensor.scale, np.max(both, axis=0) > bar)
    size = np.abs(tensor.natural)
    return seen_sizes(size / tensor.scale, size > np.min(bar))


def _of_differences(tensor: TensorCheck) -> Vector:
    """What a second look grants where differences decide: other steps, and noise."""
    return np.array([found.other_steps for found in tensor.derivatives]) + SPREAD * tensor.probe.noise_of_claims


# Where the complex step decides


class Glance(NamedTuple):
    """The complex step along a random direction through some entries."""

    noise: float  # how far it varies on one side of theta
    rounding: float  # of its terms
    kinked: bool  # whether it differs from one side of theta to the other
    difference: float  # how far a difference may be from it, without the part that is relative to its value


UNKNOWN = Glance(math.inf, math.inf, kinked=True, difference=math.inf)


def _of_complex_steps(tensors: Sequence[TensorCheck]) -> dict[str, Vector]:
    """What a second look grants where the complex step decides."""
    if not tensors:
        return {}
    probe, levels = tensors[0].probe, _levels(tensors)
    everything = {tensor.name: np.ones(tensor.natural.size) for tensor in tensors}
    missed = _first_way(probe, everything, missed_part, math.inf)
    differ = not all(_surely_right(tensor, missed) for tensor in tensors)
    seen = {}
    for level in np.unique(np.concatenate(list(levels.values()))).tolist():
        like = {t.name: levels[t.name] == level if t.entrywise else everything[t.name] for t in tensors}
        seen[level] = _first_way(probe, like, partial(_glance, differ=differ), UNKNOWN)
    return {t.name: _of_tensor(t, [seen[level] for level in levels[t.name].tolist()], missed) for t in tensors}


def _surely_right(tensor: TensorCheck, missed: float) -> bool:
    """Whether no difference can stand against the complex step."""
    return missed == 0 and tensor.name in tensor.probe.verified and not tensor.probe.noise_of_claims


def _levels(tensors: Sequence[TensorCheck]) -> dict[str, Vector]:
    """How small each derivative is beside the largest, in steps of 2^10; 0 for those along many entries."""
    sizes = {tensor.name: np.abs(tensor.columns()[0]) * tensor.entrywise for tensor in tensors}
    largest = max(float(np.max(size)) for size in sizes.values()) or 1.0
    bits = {name: np.log2(largest) - np.log2(np.where(size > 0, size, largest)) for name, size in sizes.items()}
    return {name: np.floor(smaller / LIKE) for name, smaller in bits.items()}


def _first_way(probe: Probe, entries: Tensors, look: Callable[[Probe, Tensors], T], unknown: T) -> T:
    """A look along the first random direction along which J is defined."""
    for path in PATHS:
        weights = np.random.default_rng(0)  # so that kinks up and kinks down do not cancel
        there = probe.random_direction(path)
        direction = {n: there[n] * e * weights.uniform(1, 2, e.size) for n, e in entries.items() if np.any(e)}
        try:
            return look(probe, direction)
        except NotAnalyticError:
            continue
    return unknown


def _glance(probe: Probe, direction: Tensors, *, differ: bool) -> Glance:
    def beside(distance: float) -> float:
        place = {name: distance * d for name, d in direction.items()}
        return probe.imaginary_along(direction, at=probe.moved(place))

    left, right = ([beside(sign * probe.distance(bits)) for bits in NEARBY] for sign in (-1, 1))
    noise = max(abs(left[0] - left[1]), abs(right[0] - right[1]))
    kinked = abs(right[0] - left[0]) > SPREAD * noise
    difference = _difference(probe, direction, kinked) if differ or kinked else 0.0
    return Glance(noise, probe.rounding_along(direction), kinked, difference)


def _difference(probe: Probe, direction: Tensors, kinked: bool) -> float:
    found, kink = best_along(probe, direction)
    bar = found.bar + (0.0 if kinked else kink * found.jump + abs(found.value - probe.imaginary_along(direction)))
    return bar - probe.distance(RELATIVE) * abs(found.value)


def _of_tensor(tensor: TensorCheck, seen: Sequence[Glance], missed: float) -> Vector:
    """What a second look grants for each direction of a tensor."""
    probe, (value, bar, _, _) = tensor.probe, tensor.columns()
    noise, rounding, kinked, difference = (np.array(column) for column in zip(*seen, strict=True))
    difference = difference + probe.distance(RELATIVE) * np.abs(value)
    hidden = 0.0 if _surely_right(tensor, missed) else difference
    if tensor.name in probe.verified and not probe.noise_of_claims:
        hidden = np.minimum(missed, hidden)
    grants: Vector = 2 * OTHERS * hidden + SPREAD * (probe.noise_of_claims + OTHERS * rounding + noise)
    vanishes = np.abs(value) <= bar + SPREAD * noise
    if np.any(vanishes):
        grants += ROUNDINGS * probe.u * probe.size * vanishes
    for k in np.flatnonzero(kinked).tolist():
        left, right, kink = analytic_sides(probe, tensor.name, tensor.directions.row(k))
        if kink:  # its one-sided differences have wider bars
            grants[k] += max(abs(left - value[k]), abs(right - value[k])) + 4 * OTHERS * difference[k]
    return grants
