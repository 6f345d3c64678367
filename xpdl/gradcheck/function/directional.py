"""Directional derivatives of a black box, each with its error bar.

    complex step   Im J(theta + i h d) / h, h = 1e-19: no cancellation, and no kink is crossed
    central        (J(theta + h d) - J(theta - h d)) / (2 h), h = u^(1/3), u the machine epsilon
    Taylor test    |J(theta + h d) - J(theta) - h <g, d>| falls like h^2 where g is right, like h where it is wrong

Sources: Squire & Trapp 1998 and Martins et al. 2003 (complex step); Dennis & Schnabel 1983 (steps).
"""

from collections.abc import Sequence
from itertools import pairwise
import math
from typing import NamedTuple

import numpy as np

from xpdl.gradcheck.function.probe import COMPLEX_STEP, SPREAD, Probe, Tensors
from xpdl.gradcheck.report import Vector

LEVELS = (-3, -2, -1, 0, 1, 2)
"""The steps of central differences to choose from if one is not enough, in powers of 16."""
OTHER_STEP = 0.7 * COMPLEX_STEP
"""A second complex step, which rounds differently, as would any other that is not a power of two."""
WIDE = 2.0**-11
"""A central step longer than this, in float64 the longest only, may cross a kink unseen."""
SETTLED = 0.05
"""A derivative that changes less than this part from a step to a sixteenth of the step may have a limit.

That of t log t changes by 13 %; smaller jumps are in the bar.
"""
RELATIVE = 28
"""No bar of a difference is below 2^-28 (in float64) of its value."""
HIDDEN = 1e-3
"""If rounding hides more than this part of the derivative along an entry, wider steps are tried."""
FARTHER, WIDER_STEPS = 2.0**16, 4
"""Each time they are so many times as wide, within the ladder of LEVELS, and at most so often: up to 2^48 or more."""
SIDES = (35, 39)
"""One-sided derivatives are taken at distances of 2^-35 and 2^-39 (in float64)."""


class DirectionalDerivative(NamedTuple):
    """The derivative of J along a direction; its error is at most ``bar``.

    At a kink every number between ``low`` and ``high`` is a derivative.  Where J jumps there is none, and ``bar`` is
    infinite.  A look at other steps may add ``other_steps`` to the bar.
    """

    value: float
    bar: float
    low: float
    high: float
    jumps: bool = False
    other_steps: float = 0.0

    @property
    def kink(self) -> bool:
        """Whether theta is at a kink."""
        return self.low < self.high

    def bars(self, claim: float) -> float:
        """The distance of the claim from the value, in error bars."""
        error = abs(claim - self.value) if math.isfinite(claim) else math.inf
        if error == 0 or self.bar == 0:
            return math.inf if error else 0.0
        return error / self.bar if self.bar < math.inf else 0.0

    def misses(self, claim: float) -> bool:
        """Whether the claim is more than a bar away from everything that is a derivative."""
        return not max(self.low - claim, claim - self.high, 0.0) <= self.bar or not math.isfinite(claim)

    def widened(self, noise: float) -> "DirectionalDerivative":
        """The same derivative, with noise added to its bar."""
        return self._replace(bar=self.bar + SPREAD * noise)


class CentralDifference(NamedTuple):
    """A central difference and the two one-sided differences, which differ at a kink."""

    value: float
    bar: float
    backward: float
    forward: float
    side_bar: float  # the error bar of the one-sided differences
    noise: float  # the most that noise can add to ``jump``
    rounding: float  # the likely rounding error of the value
    jumps: bool = False  # whether J jumps, so that there is no derivative

    @property
    def steepness(self) -> float:
        """The larger of the one-sided derivatives, in absolute value."""
        return max(abs(self.forward), abs(self.backward))

    @property
    def jump(self) -> float:
        """The difference between the one-sided derivatives."""
        return abs(self.forward - self.backward)

    def contradicted(self, finer: "CentralDifference", clearly: float = 1.0) -> float:
        """How wrong a finer step shows this difference to be; 0 if so many times its rounding may be the reason."""
        error = abs(self.value - finer.value)
        return error + finer.rounding if error > clearly * finer.rounding else 0.0

    def at_least(self, bar: float) -> "CentralDifference":
        """The same difference with bars of at least ``bar``."""
        return self._replace(bar=max(self.bar, bar), side_bar=max(self.side_bar, bar))

    def undefined(self, *, jumps: bool) -> "CentralDifference":
        """The same difference, which says nothing."""
        return self._replace(bar=math.inf, side_bar=math.inf, jumps=jumps)

    def divided(self, ratio: float) -> "CentralDifference":
        """The difference along a direction that is 1 / ratio times as long."""
        value, *others = (float(x) / ratio for x in self[:-1])
        bar, backward, forward, side_bar, noise, rounding = others
        return CentralDifference(value, bar, backward, forward, side_bar, noise, rounding, self.jumps)

    def derivative(self, *, kink: bool) -> DirectionalDerivative:
        """As a directional derivative; at a kink it reaches from one one-sided difference to the other."""
        ends = (self.value, self.forward, self.backward) if kink else (self.value,)
        bar = self.side_bar if kink else self.bar
        return DirectionalDerivative(self.value, bar, min(ends), max(ends), self.jumps)


NOWHERE = CentralDifference(0.0, math.inf, 0.0, 0.0, math.inf, math.inf, math.inf)
"""The difference of a function that is not defined nearby."""

# The complex step


def complex_step(probe: Probe, name: str, d: Vector) -> DirectionalDerivative:
    """The complex step along d.

    The bar comes from a second step of another size, with theta a few roundings away.  It is at least u^(2/3) of the
    value: a smaller relative error counts as rounding; and no value is more exact than the least normal number.
    """
    value, spread = _value_and_spread(probe, name, d)
    bar = SPREAD * spread + relative_bar(probe) * abs(value) + SPREAD * probe.tiny / COMPLEX_STEP
    return DirectionalDerivative(value, bar, value, value)


def relative_bar(probe: Probe) -> float:
    """u^(2/3), 4e-11 in float64."""
    return math.pow(probe.u, 2 / 3)


def _value_and_spread(probe: Probe, name: str, d: Vector) -> tuple[float, float]:
    """The complex step, and its distance from a second one."""
    value = probe.imaginary(name, d)
    spread = abs(probe.imaginary(name, d, OTHER_STEP, probe.jittered()) - value)
    least = math.sqrt(probe.u) * abs(value)
    if spread <= least:
        return value, spread
    there = probe.imaginary(name, d, OTHER_STEP)
    if abs(there - (OTHER_STEP / COMPLEX_STEP) ** 2 * value) < abs(there - value):
        return 0.0, abs(value)  # it falls like h^2, so all of it is truncation error
    at_kink = spread > max(least, math.sqrt(probe.u) * abs(probe.start))
    return value, abs(there - value) if at_kink else spread


def analytic_sides(probe: Probe, name: str, d: Vector) -> tuple[float, float, bool]:
    """The complex step slightly to the left and to the right, and whether theta is at a kink.

    There both pairs differ as much.  Elsewhere the closer ones do less, in proportion to the distance.
    """
    far, near = map(probe.distance, SIDES)
    wide, close = ([_beside(probe, name, d, sign * distance) for sign in (-1, 1)] for distance in (far, near))
    return close[0], close[1], abs(close[1] - close[0]) > abs(wide[1] - wide[0]) * math.sqrt(near / far) > 0


def _beside(probe: Probe, name: str, d: Vector, distance: float) -> float:
    return probe.imaginary(name, d, at=probe.moved({name: distance * d}))


# Central differences


def central(probe: Probe, name: str, d: Vector, level: int = 0) -> CentralDifference:
    """The central difference along a direction in one tensor, over 16^level h."""
    return central_along(probe, {name: d}, level)


def central_along(probe: Probe, direction: Tensors, level: int = 0) -> CentralDifference:
    """Central and one-sided differences over h and h / 2.

    The bar is the rounding floor, 2 max(u |J|, noise) / h, and twice the change from h to h / 2, which is 3/4 of the
    truncation error.  A wide step, as float32 needs, may cross kinks, so the range of the differences over its
    quarters counts, too, which is the largest error that one kink can make.
    No bar is below 2^-28 of the value: code that iterates to a tolerance is smooth nearby, but wrong by more than u.
    The one-sided difference is (4 J(h/2) - J(h) - 3 J(0)) / h, which is also right to second order.  It adds up 8
    roundings, and the difference of both sides 16.
    """
    h = probe.distance(17) * 16.0**level
    far, near, back, behind = values = [
        probe.real({name: t * d for name, d in direction.items()}) for t in (h, h / 2, -h / 2, -h)
    ]
    if not all(map(math.isfinite, values)):
        return NOWHERE
    value = (far - behind) / (2 * h)
    truncation = max(2 * abs(value - (near - back) / h), probe.distance(RELATIVE) * abs(value))
    if h > WIDE:
        pieces = [b - a for a, b in pairwise((behind, back, probe.start, near, far))]
        truncation = max(truncation, (max(pieces) - min(pieces)) / h)
    rounding, noise = (probe.u * max(map(abs, values)) + probe.tiny) / h, probe.noise / h
    floor = max(rounding, SPREAD * noise)
    backward, forward = (behind - 4 * back + 3 * probe.start) / h, (4 * near - far - 3 * probe.start) / h
    bar, side_bar = 2 * floor + truncation, 8 * floor + truncation
    return CentralDifference(value, bar, backward, forward, side_bar, 16 * floor, max(rounding, noise))


def best_central(probe: Probe, name: str, d: Vector) -> tuple[CentralDifference, bool]:
    """The best central difference along a direction in one tensor."""
    return best_along(probe, {name: d})


def best_along(probe: Probe, direction: Tensors) -> tuple[CentralDifference, bool]:
    """The central difference with the smallest bar, from fine steps to wide ones; and whether theta is at a kink.

    If finer steps contradict a wide one, its bar grows by the contradiction: waves that are shorter than a step may
    look smooth with that step alone.
    """
    ladder = [central_along(probe, direction, level) for level in LEVELS]
    if _jumps(ladder):
        return ladder[0].undefined(jumps=True), False
    kink = _kink(ladder)
    if kink is not None:
        return kink, True
    return _narrowest(ladder, _clearly(probe)), False


def _clearly(probe: Probe) -> float:
    """By how many roundings a finer step must differ to contradict a wider one.

    Rounding makes it differ by one or two.  A J that is noisy, or that moves in steps, has no clearer sign of them.
    """
    return 1.0 if probe.quantum or probe.noise_of_claims else SPREAD


def _narrowest(ladder: Sequence[CentralDifference], clearly: float) -> CentralDifference:
    """The difference with the smallest bar: wider steps are taken until the bar grows."""
    defined = [rung for rung in ladder if rung.bar < math.inf]
    best = defined[0] if defined else ladder[0]
    for k, wider in enumerate(defined[1:], 1):
        wider = _checked(wider, defined[:k], clearly)
        if best.bar < wider.bar:
            break
        best = wider
    return best


def _checked(wider: CentralDifference, finer: Sequence[CentralDifference], clearly: float = 1.0) -> CentralDifference:
    """The same difference, with a bar that grows by what finer ones contradict."""
    return wider.at_least(max((wider.contradicted(other, clearly) for other in finer), default=0.0))


def best_difference(probe: Probe, name: str, d: Vector) -> tuple[CentralDifference, bool]:
    """The best central difference; where fun is undefined so far away, a shorter one, or one to one side."""
    nearest = _nearest(probe, name, d)
    for ratio, method in ((1.0, best_central), (nearest, best_central), (1.0, _one_sided)):
        if _has_room(probe, name, ratio * d):
            found, kink = method(probe, name, ratio * d)
            if found.jumps or found.bar < math.inf:
                return _far_enough(probe, name, d, found.divided(ratio), kink)
    return NOWHERE, False


def _far_enough(
    probe: Probe, name: str, d: Vector, found: CentralDifference, kink: bool
) -> tuple[CentralDifference, bool]:
    """The same difference; or where rounding hides much of an entry, one over wider steps.

    Steps of the size of other entries may show a kink.  Those beyond must not: it may be far away.
    """
    if np.count_nonzero(d) > 1:
        return found, kink
    step = float(np.max(np.abs(d) * probe.scale[name].ravel()))
    ratio = float(np.exp2(np.round(np.log2(np.median(probe.scale[name])) - np.log2(step))))
    if ratio > 1 and _hidden(found, kink, abs(found.value)):
        found, kink = _over(probe, name, d, ratio, found, kinks=True) or (found, kink)
    for _ in range(WIDER_STEPS):
        ratio = FARTHER * max(ratio, 1.0)
        if not _hidden(found, kink, HIDDEN * abs(found.value)) or found.bar > 16 * found.rounding:
            break
        found, kink = _over(probe, name, d, ratio, found, kinks=False) or (found, kink)
    return found, kink


def _hidden(found: CentralDifference, kink: bool, least: float) -> bool:
    return found.bar > least and not (found.jumps or kink)


def _over(
    probe: Probe, name: str, d: Vector, ratio: float, narrow: CentralDifference, *, kinks: bool
) -> tuple[CentralDifference, bool] | None:
    """The difference over steps that are ``ratio`` times as wide, if it is closer, agrees, and would show a kink."""
    found, kink = best_central(probe, name, d * ratio)
    if found.bar == math.inf and not found.jumps:
        found, kink = _one_sided(probe, name, d * ratio)
    found = found.divided(ratio)
    shows = kinks or (found.jump <= found.noise < found.steepness / 2 and not kink)
    closer = max(found.bar, found.side_bar) < narrow.bar and near(narrow, found.value, found.bar)
    better = shows and closer and not found.jumps
    return (found, kink) if better else None


def has_room(probe: Probe, name: str, d: Vector) -> bool:
    """Whether fun is defined on one side of theta along d, farther away than a tolerance lets slip."""
    return any(_has_room(probe, name, ratio * d) for ratio in (1.0, _nearest(probe, name, d)))


def _has_room(probe: Probe, name: str, d: Vector) -> bool:
    return any(probe.has_room(name, sign * d) for sign in (1.0, -1.0))


def _nearest(probe: Probe, name: str, d: Vector) -> float:
    """The distance along d, in natural units, after which the first entry of theta is 0 or twice as large."""
    size, step = np.abs(probe.theta[name].ravel()), np.abs(d) * probe.scale[name].ravel()
    moving = (size > 0) & (step > 0)
    least = float(np.min(size[moving] / step[moving], initial=1.0))
    return 2.0 ** round(math.log2(least))


def _one_sided(probe: Probe, name: str, d: Vector) -> tuple[CentralDifference, bool]:
    """The best one-sided difference, on the side where fun is defined; an infinite bar if it is so on neither."""
    for sign in (1, -1):
        ladder = [_side(probe, name, d, sign * probe.distance(17) * 16.0**level) for level in LEVELS]
        if ladder[0].bar < math.inf:
            jumps = _jumps(ladder)
            return (ladder[0].undefined(jumps=True) if jumps else _narrowest(ladder, _clearly(probe))), False
    return NOWHERE, False


def _side(probe: Probe, name: str, d: Vector, h: float) -> CentralDifference:
    """(4 J(h/2) - J(h) - 3 J(0)) / h for h of either sign, with four times its change from h to h / 2 in its bar."""
    far, near, close = values = [probe.real({name: t * d}) for t in (h, h / 2, h / 4)]
    if not all(map(math.isfinite, values)):
        return NOWHERE
    value, finer = (4 * near - far - 3 * probe.start) / h, (4 * close - near - 3 * probe.start) / (h / 2)
    rounding = (probe.u * max(abs(probe.start), *map(abs, values)) + probe.tiny) / abs(h)
    noise = probe.noise / abs(h)
    floor = max(rounding, SPREAD * noise)
    bar = 8 * floor + 4 * abs(value - finer) + probe.distance(RELATIVE) * abs(value)
    return CentralDifference(value, bar, value, value, bar, 16 * floor, 4 * max(rounding, noise))


def _jumps(ladder: Sequence[CentralDifference]) -> bool:
    """Whether differences have no limit as steps get finer.

    From step to step they grow 16 times as much at a jump, and as much in t log t.  A kink beside theta changes them
    once, by far more than the step before.
    """
    finest, finer, fine = ladder[:3]
    change, before = finest.steepness - finer.steepness, finer.steepness - fine.steepness
    defined = all(rung.bar < math.inf for rung in ladder[:3])
    return defined and 64 * before > change > max(finest.noise, SETTLED * finest.steepness)


def _kink(ladder: Sequence[CentralDifference]) -> CentralDifference | None:
    """The finest difference whose sides differ, if they differ as much with 1/16 of the step and with 16 times it.

    At a kink beside theta one of them differs by 16 times as much or not at all, and 8 is below that.
    """
    for k, (finer, middle, wider) in enumerate(zip(ladder, ladder[1:], ladder[2:], strict=False), 1):
        if middle.jump > middle.noise:
            falls = middle.jump >= 8 * (finer.jump + 4 * finer.rounding) or wider.jump >= 8 * middle.jump
            return None if falls else _checked(middle, ladder[:k])
    return None


def near(difference: CentralDifference, value: float, bar: float) -> bool:
    """Whether a value with an error of at most ``bar`` agrees with a central difference."""
    return abs(difference.value - value) <= difference.bar + bar


# The Taylor test


def taylor_order(probe: Probe, gradient: Tensors, signs: Tensors) -> float | None:
    """The power of h with which |J(theta + h d) - J(theta) - h <g, d>| falls; None if rounding hides the remainder.

    The direction d has the signs of some tensors and 0 in the others.
    """
    expected = sum(float(np.sum(s * (gradient[n] * probe.scale[n]).ravel())) for n, s in signs.items())
    steps = [probe.distance(2 * k) for k in range(1, 9)]
    remainders = [abs(probe.real({n: h * s for n, s in signs.items()}) - probe.start - h * expected) for h in steps]
    least = 100 * max(probe.noise, probe.u * abs(probe.start))
    seen = [(math.log(h), math.log(r)) for h, r in zip(steps, remainders, strict=True) if least < r < math.inf][-4:]
    if len(seen) < 3:
        return None
    x, y = np.array(seen).T
    return float(np.polyfit(x, y, 1)[0])
