"""Slopes of a black box along directions, each with its error bar.

    complex step   Im J(theta + i h d) / h, h = 1e-20: no cancellation, and no kink is crossed
    central        (J(theta + h d) - J(theta - h d)) / (2 h), h = u^(1/3), u the machine epsilon
    Taylor test    |J(theta + h d) - J(theta) - h <g, d>| falls like h^2 where g is right, like h where it is wrong

Sources: Squire & Trapp 1998 and Martins et al. 2003 (complex step); Dennis & Schnabel 1983 (steps).
"""

from collections.abc import Sequence
from itertools import pairwise
import math
from typing import NamedTuple

import numpy as np

from xpdl.gradcheck.function.probe import TINY, Probe, Tensors
from xpdl.gradcheck.report import Vector

LEVELS = (-3, -2, -1, 0, 1, 2)
"""Central steps to choose from where one is not enough, in powers of 16."""
OTHER = 0.7 * TINY
"""A complex step that rounds differently."""
SPREAD = 8.0
"""A bar is this many times the noise that was seen."""
WIDE = 2.0**-12
"""A central step that may cross several kinks."""
GROWTH = 3.0
"""Slopes that grow by more from a step to a sixteenth of it have no limit."""
SIDES = (35, 39)
"""One-sided derivatives are taken at distances of 2^-35 and 2^-39 (in float64)."""


class Slope(NamedTuple):
    """A derivative along a direction, at most ``bar`` off; at a kink whatever is between ``low`` and ``high``.

    Where the function jumps there is none, and ``bar`` is infinite.
    """

    value: float
    bar: float
    low: float
    high: float
    jumps: bool = False

    @property
    def kink(self) -> bool:
        """Whether theta is at a kink."""
        return self.low < self.high

    def bars(self, claim: float) -> float:
        """How many bars the claim is off the value."""
        off = abs(claim - self.value) if math.isfinite(claim) else math.inf
        if off == 0 or self.bar == 0:
            return math.inf if off else 0.0
        return off / self.bar if self.bar < math.inf else 0.0

    def misses(self, claim: float) -> bool:
        """Whether the claim is further than the bar from everything that is a derivative."""
        return not max(self.low - claim, claim - self.high, 0.0) <= self.bar or not math.isfinite(claim)

    def widened(self, noise: float) -> "Slope":
        """The same with noise in the bar."""
        return self._replace(bar=self.bar + SPREAD * noise)


class Difference(NamedTuple):
    """A central difference, and the two one-sided ones, which differ at a kink."""

    value: float
    bar: float
    backward: float
    forward: float
    side_bar: float
    noise: float  # the most that noise can do to the jump
    rounding: float  # what it is likely to do to the value
    jumps: bool = False  # whether the function does, and has no slope

    @property
    def steepness(self) -> float:
        """The steeper of the one-sided derivatives."""
        return max(abs(self.forward), abs(self.backward))

    @property
    def jump(self) -> float:
        """By how much the one-sided derivatives differ."""
        return abs(self.forward - self.backward)

    def contradicted(self, finer: "Difference") -> float:
        """How far off this is by a finer one, 0 if that may be rounding."""
        off = abs(self.value - finer.value)
        return off + finer.rounding if off > finer.rounding else 0.0

    def at_least(self, bar: float) -> "Difference":
        """The same with no bar below that."""
        return self._replace(bar=max(self.bar, bar), side_bar=max(self.side_bar, bar))

    def slope(self, *, kink: bool) -> Slope:
        """As a ``Slope``, at a kink with the one-sided derivatives."""
        ends = (self.value, self.forward, self.backward) if kink else (self.value,)
        return Slope(self.value, self.side_bar if kink else self.bar, min(ends), max(ends), self.jumps)


def complex_step(probe: Probe, name: str, d: Vector) -> Slope:
    """The complex step along d.

    The bar comes from a second step, of another size and with theta a few roundings off, and is at least u^(2/3) of the
    value: a smaller relative error is taken for rounding.
    """
    value, spread = _pair(probe, name, d)
    return Slope(value, SPREAD * spread + relative_bar(probe) * abs(value), value, value)


def relative_bar(probe: Probe) -> float:
    """u^(2/3), 4e-11 in float64."""
    return math.pow(probe.u, 2 / 3)


def _pair(probe: Probe, name: str, d: Vector) -> tuple[float, float]:
    """The complex step, and how far off a second one is."""
    value = probe.imaginary(name, d)
    spread = abs(probe.imaginary(name, d, OTHER, probe.jittered()) - value)
    least = math.sqrt(probe.u) * abs(value)
    if spread <= least:
        return value, spread
    there = probe.imaginary(name, d, OTHER)
    if abs(there - (OTHER / TINY) ** 2 * value) <= 0.1 * abs(value):
        return 0.0, abs(value)  # it falls like h^2: nothing but truncation error
    at_kink = spread > max(least, math.sqrt(probe.u) * abs(probe.start))
    return value, abs(there - value) if at_kink else spread


def central(probe: Probe, name: str, d: Vector, level: int = 0) -> Difference:
    """Central and one-sided differences over h and h / 2.

    The bar is the round-off floor, 2 max(u |J|, noise) / h, and twice the change from h to h / 2, which is 3/4 of the
    truncation error; a wide step, as float32 needs, crosses kinks, and what the slopes of its quarters differ counts.
    No bar is below 2^-28 of the value: code that iterates to a tolerance is smooth nearby, and yet off by more than u.
    One-sided: (4 J(h/2) - J(h) - 3 J(0)) / h, right to second order as well.
    """
    h = probe.distance(17) * 16.0**level
    far, near, back, behind = values = [probe.real({name: t * d}) for t in (h, h / 2, -h / 2, -h)]
    if not all(map(math.isfinite, values)):
        return Difference(0.0, math.inf, 0.0, 0.0, math.inf, math.inf, math.inf)
    value = (far - behind) / (2 * h)
    truncation = max(2 * abs(value - (near - back) / h), probe.distance(28) * abs(value))
    if h > WIDE:
        pieces = [b - a for a, b in pairwise((behind, back, probe.start, near, far))]
        truncation = max(truncation, 1.25 * (max(pieces) - min(pieces)) / h)
    rounding, noise = probe.u * max(map(abs, values)) / h, probe.noise / h
    floor = max(rounding, SPREAD * noise)
    backward, forward = (behind - 4 * back + 3 * probe.start) / h, (4 * near - far - 3 * probe.start) / h
    bar, side_bar = 2 * floor + truncation, 8 * floor + truncation
    return Difference(value, bar, backward, forward, side_bar, 16 * floor, max(rounding, noise))


def best_central(probe: Probe, name: str, d: Vector) -> tuple[Difference, bool]:
    """The central difference with the least bar on the way from fine steps to wide ones; and if theta is at a kink.

    The bar holds what finer steps contradict: waves that are shorter than a step may look smooth from that step alone.
    """
    ladder = [central(probe, name, d, level) for level in LEVELS]
    if _jumps(ladder):
        return ladder[0]._replace(bar=math.inf, side_bar=math.inf, jumps=True), False
    kink = _kink(ladder)
    if kink is not None:
        return kink, True
    best = ladder[0]
    for k, wider in enumerate(ladder[1:], 1):
        wider = wider.at_least(max(wider.contradicted(finer) for finer in ladder[:k]))
        if best.bar < wider.bar < math.inf:
            break
        best = wider
    return best, False


def _jumps(ladder: Sequence[Difference]) -> bool:
    """Whether slopes grow without end as steps get finer: like 1 / h at a jump, like h^(-1/2) in a root at 0."""
    finest, finer, fine = (rung.steepness for rung in ladder[:3])
    return finest > ladder[0].noise and finest > GROWTH * finer > GROWTH**2 * fine


def _kink(ladder: Sequence[Difference]) -> Difference | None:
    """The finest difference whose sides differ, if they differ as much with a sixteenth of the step and 16 times it."""
    for finer, middle, wider in zip(ladder, ladder[1:], ladder[2:], strict=False):
        if middle.jump > middle.noise:
            grows = finer.jump > GROWTH * middle.jump + 4 * finer.rounding  # a small jump of the function itself
            falls = middle.jump >= 8 * (finer.jump + 4 * finer.rounding) or wider.jump >= 8 * middle.jump
            return None if grows or falls else middle
    return None


def analytic_sides(probe: Probe, name: str, d: Vector) -> tuple[float, float, bool]:
    """The complex step slightly to the left and to the right, and whether theta is at a kink."""
    wide, close = ([_beside(probe, name, d, sign * probe.distance(bits)) for sign in (-1, 1)] for bits in SIDES)
    return close[0], close[1], abs(close[1] - close[0]) > abs(wide[1] - wide[0]) / 4 > 0


def _beside(probe: Probe, name: str, d: Vector, distance: float) -> float:
    return probe.imaginary(name, d, at=probe.moved({name: distance * d}))


def near(difference: Difference, value: float, bar: float) -> bool:
    """Whether a value, at most ``bar`` off, may be the same as a central difference."""
    return abs(difference.value - value) <= difference.bar + bar


def taylor(probe: Probe, gradient: Tensors, signs: Tensors) -> float | None:
    """The slope of log |J(theta + h d) - J(theta) - h <g, d>| against log h; None if rounding hides the remainder.

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
