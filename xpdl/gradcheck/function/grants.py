"""What a second look (trust.py) may grant to a claim, at most: noise, rounding of terms, kinks, what a step misses.

No right claim is looked at twice.  So these are measured along random directions through many entries at once: what one
entry adds to J is seen along them, too, unless other entries cancel it.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
import math
from typing import NamedTuple, TypeVar

import numpy as np

from xpdl.gradcheck.function.directional import (
    RELATIVE,
    CentralDifference,
    analytic_sides,
    best_along,
    central_along,
)
from xpdl.gradcheck.function.nearby import Nearby
from xpdl.gradcheck.function.probe import PATHS, ROUNDINGS, SPREAD, NotAnalyticError, Probe, Tensors
from xpdl.gradcheck.function.tensor import TensorCheck, unit
from xpdl.gradcheck.function.trust import missed_part
from xpdl.gradcheck.report import Vector

T = TypeVar("T")

NEARBY = (43, 46)
"""The complex step is taken at distances of 2^-43 and 2^-46 (in float64), to both sides: kinks and noise show there."""
LIKE = 10
"""Entries whose derivatives are within a factor of 2^10 are looked at together: a large one hides small ones."""
OTHERS = 2.0
"""One entry may have so many times what is seen along a random direction."""
LEVEL = -1
"""Steps of 2^-21 (in float64): the sides of a kink, and little curvature."""
DIRECTIONS = 3
"""Random directions along which it is looked for."""
MOST = 64
"""At a kink of several entries, derivatives nearby are taken along so many of them."""


def grants(tensors: Sequence[TensorCheck]) -> dict[str, Vector]:
    """The most that a second look adds to the bar of each direction, by name."""
    steps = [tensor for tensor in tensors if tensor.method == "complex"]
    differences = [tensor for tensor in tensors if tensor.method != "complex"]
    return _of_differences(differences) | _of_complex_steps(steps)


def _of_differences(tensors: Sequence[TensorCheck]) -> dict[str, Vector]:
    """Where differences decide: other steps, noise, the rounding of terms."""
    if not tensors:
        return {}
    probe, entries = tensors[0].probe, {tensor.name: np.ones(tensor.natural.size) for tensor in tensors}
    rounding = probe.rounding_along(_direction(probe, entries, probe.random_direction(PATHS[0])))
    noise = SPREAD * (probe.noise_of_claims + OTHERS * rounding)
    return {t.name: np.array([found.other_steps for found in t.derivatives]) + noise for t in tensors}


# Where the complex step decides


class Glance(NamedTuple):
    """The complex step along a random direction through some entries."""

    noise: float  # how far it varies on one side of theta
    rounding: float  # of its terms
    kinked: bool  # whether it differs from one side of theta to the other
    difference: float  # how far a difference may be from it, without the part that is relative to its value


UNKNOWN = Glance(math.inf, math.inf, kinked=True, difference=math.inf)


def _of_complex_steps(tensors: Sequence[TensorCheck]) -> dict[str, Vector]:
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
        with suppress(NotAnalyticError):
            return look(probe, _direction(probe, entries, probe.random_direction(path)))
    return unknown


def _direction(probe: Probe, entries: Tensors, way: Tensors) -> dict[str, Vector]:
    """A direction through some entries, with weights of 1 to 2, so that kinks up and kinks down do not cancel."""
    weights = np.random.default_rng(0)
    return {n: way[n] * inside * weights.uniform(1, 2, inside.size) for n, inside in entries.items() if np.any(inside)}


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
    """What is granted along each direction of a tensor."""
    probe, (value, bar, _, _) = tensor.probe, tensor.columns()
    noise, rounding, kinked, difference = (np.array(column) for column in zip(*seen, strict=True))
    difference = difference + probe.distance(RELATIVE) * np.abs(value)
    hidden = 0.0 if _surely_right(tensor, missed) else difference
    if tensor.name in probe.verified and not probe.noise_of_claims:
        hidden = np.minimum(missed, hidden)
    granted: Vector = 2 * OTHERS * hidden + SPREAD * (probe.noise_of_claims + OTHERS * rounding + noise)
    vanishes = np.abs(value) <= bar + SPREAD * noise
    if np.any(vanishes):
        granted += ROUNDINGS * probe.u * probe.size * vanishes
    for k in np.flatnonzero(kinked).tolist():
        left, right, kink = analytic_sides(probe, tensor.name, tensor.directions.row(k))
        if kink:  # its one-sided differences have wider bars
            granted[k] += max(abs(left - value[k]), abs(right - value[k])) + 4 * OTHERS * difference[k]
    return granted


# Kinks of several entries


def beside_kinks(tensors: Sequence[TensorCheck]) -> Mapping[str, Vector]:
    """The ranges (size, 2) of claims that derivatives nearby may excuse, of tensors checked entry by entry, by name."""
    entrywise = [tensor for tensor in tensors if tensor.entrywise]
    if not entrywise:
        return {}
    probe, around = entrywise[0].probe, Nearby(entrywise[0].probe)
    entries = {tensor.name: np.ones(tensor.natural.size) for tensor in entrywise}
    directions = [_direction(probe, entries, probe.random_direction(PATHS[0])) for _ in range(DIRECTIONS)]
    if not _is_kinked(entrywise, directions[0], central_along(probe, directions[0], LEVEL)) or not around.kinked:
        return {}
    hidden = any(_shows_more(around, direction) for direction in directions)
    return {tensor.name: _ranges(around, tensor) for tensor in entrywise} if hidden else {}


def _shows_more(around: Nearby, direction: Tensors) -> bool:
    """Whether derivatives nearby are outside of the sides along the line through theta; at convex kinks none is."""
    line, near = central_along(around.probe, direction, LEVEL), around.along(direction)
    low, high = min(line.forward, line.backward), max(line.forward, line.backward)
    return near is not None and (near.low < low - near.slack or near.high > high + near.slack)


def _is_kinked(tensors: Sequence[TensorCheck], direction: Tensors, line: CentralDifference) -> bool:
    """Whether the sides along a direction differ, or the derivatives of entries do not add up to that along it."""
    value = bar = 0.0
    for tensor in tensors:
        values, bars, _, _ = tensor.columns()
        value += float(direction[tensor.name] @ values)
        bar += float(np.abs(direction[tensor.name]) @ bars)
    return line.bar < math.inf and (line.jump > line.noise or abs(line.value - value) > line.bar + bar)


def _ranges(around: Nearby, tensor: TensorCheck) -> Vector:
    """The range of each entry, which is unknown beyond the first ones."""
    ranges = np.tile([-math.inf, math.inf], (tensor.natural.size, 1))
    for k in range(min(MOST, tensor.natural.size)):
        near = around.along({tensor.name: unit(tensor.natural.size, k)})
        value = tensor.columns()[0][k]
        ranges[k] = near.widest() if near else (value, value)
    return ranges
