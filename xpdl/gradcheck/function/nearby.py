"""``Nearby``: derivatives at points near theta, for kinks that no line through theta shows.

The median of three equal numbers has the derivative 0 along each of them, and near theta it has 0 or 1: its generalised
gradients (Clarke 1983) are made of these.  Few points are tried, so a claim a little outside of what they show is not
judged.
"""

from collections.abc import Iterator
from functools import cached_property
import math
from typing import NamedTuple

import numpy as np

from xpdl.gradcheck.function.probe import SPREAD, Probe, Tensors
from xpdl.gradcheck.report import Vector

POINTS = 24
"""Points nearby, in pairs that lie opposite each other: of nine ties they miss one with a probability of 6 %."""
PAIRS = 256
"""Pairs of points between which fun is compared with a line: they show one concave entry among 40."""
TRIED = 4
"""The directions along which a kink is looked for."""
AWAY, CLOSER, STEP = 18, 22, 28
"""Points are 2^-18 away (in float64), and 2^-22, where the derivatives at a kink differ as much; steps are 2^-28."""
SEEN = 16.0
"""Derivatives differ if they do by so many times their rounding."""


class Range(NamedTuple):
    """What derivatives along a direction are near theta."""

    low: float
    high: float
    between: bool = False  # whether some of them are neither of the two

    @property
    def width(self) -> float:
        """How much they differ."""
        return self.high - self.low

    @property
    def slack(self) -> float:
        """What they may be off by."""
        return 1e-2 * self.width

    def holds(self, claim: float) -> bool:
        """Whether the claim is one of them, or between them."""
        return self.low - self.slack <= claim <= self.high + self.slack

    def may_hold(self, claim: float, entries: int = 1) -> bool:
        """Whether more points might show that it is, or it adds what only parts of the function have.

        Of n independent kinks, points show a sum that is sqrt(n) times smaller than the largest one.
        """
        low, high = self.widest(entries)
        return low <= claim <= high

    def widest(self, entries: int = 1) -> tuple[float, float]:
        """The range of claims that may be right."""
        slack = max(abs(self.low), abs(self.high)) * math.sqrt(entries)
        return self.low - slack, self.high + slack


class Nearby:
    """The points around theta at which derivatives are taken."""

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        self._generator = np.random.default_rng(0)
        self._points = [_scaled(sign, point) for point in self._drawn(POINTS // 2) for sign in (1.0, -1.0)]

    def _drawn(self, n: int) -> Iterator[Tensors]:
        for _ in range(n):
            yield {name: self._generator.standard_normal(t.size) for name, t in self.probe.theta.items()}

    @cached_property
    def kinked(self) -> bool:
        """Whether fun has a kink at theta: its derivatives nearby differ, however close, and it is linear outward."""
        return any(self.along(d) for d in self._drawn(TRIED)) and all(map(self._straight, self._points))

    def along(self, direction: Tensors) -> Range | None:
        """The derivatives along a direction, (size,) by name; None if they differ by no kink."""
        far, closer = map(self.probe.distance, (AWAY, CLOSER))
        wide, close = self._range(direction, far), self._range(direction, closer)
        rounding = self._rounding / self._step
        kink = wide.width > SEEN * rounding and close.width > max(wide.width * math.sqrt(closer / far), SEEN * rounding)
        if not kink:
            return None
        return Range(min(wide.low, close.low), max(wide.high, close.high), close.between)

    def mixed(self, direction: Tensors | None = None) -> bool:
        """Whether fun is neither convex nor concave around theta, in the entries where a direction is not 0."""
        curvatures = [self._curvature(direction) for _ in range(PAIRS)]
        least = max(SEEN * self._rounding, 1e-3 * max(map(abs, curvatures)))
        return min(curvatures) < -least and max(curvatures) > least

    def _curvature(self, direction: Tensors | None) -> float:
        """How far fun is below the line between two points around theta, halfway."""
        one, other = (_scaled(self.probe.distance(AWAY), draw) for draw in self._drawn(2))
        moving = self._some() if direction is None else {name: d != 0 for name, d in direction.items()}
        one, other = ({name: draw[name] * moves for name, moves in moving.items()} for draw in (one, other))
        middle = _scaled(0.5, _sum(one, 1.0, other))
        return self.probe.real(one) + self.probe.real(other) - 2 * self.probe.real(middle)

    def _some(self) -> dict[str, Vector]:
        """Some entries, from few to all: where only these move, one part of fun shows alone."""
        part = self._generator.random()
        return {name: self._generator.random(t.size) < part for name, t in self.probe.theta.items()}

    @property
    def _rounding(self) -> float:
        return self.probe.u * abs(self.probe.start) + self.probe.tiny + SPREAD * self.probe.noise

    @property
    def _step(self) -> float:
        return self.probe.distance(STEP)

    def _range(self, direction: Tensors, away: float) -> Range:
        derivatives = [self._derivative(_scaled(away, point), direction) for point in self._points]
        finite = [derivative for derivative in derivatives if math.isfinite(derivative)]
        low, high = min(finite, default=0.0), max(finite, default=0.0)
        slack = 1e-2 * (high - low)
        return Range(low, high, any(low + slack < derivative < high - slack for derivative in finite))

    def _derivative(self, point: Tensors, direction: Tensors) -> float:
        ahead, behind = (self.probe.real(_sum(point, sign * self._step, direction)) for sign in (1.0, -1.0))
        return (ahead - behind) / (2 * self._step)

    def _straight(self, point: Tensors) -> bool:
        """Whether fun changes in proportion to the distance: so it does at a kink, not near one or in waves."""
        far, fine = (self._slope(point, self.probe.distance(bits)) for bits in (AWAY, STEP))
        return abs(far - fine) <= 1e-2 * max(abs(far), abs(fine)) + SEEN * self._rounding / self._step

    def _slope(self, point: Tensors, away: float) -> float:
        return (self.probe.real(_scaled(away, point)) - self.probe.start) / away


def _scaled(factor: float, move: Tensors) -> dict[str, Vector]:
    return {name: factor * entries for name, entries in move.items()}


def _sum(move: Tensors, factor: float, other: Tensors) -> dict[str, Vector]:
    """A move, and a factor times another one in some of the tensors."""
    return dict(move) | {name: move[name] + factor * d for name, d in other.items()}
