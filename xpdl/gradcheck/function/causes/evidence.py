"""``Evidence``: what is known of one tensor, and whether a hypothesis about its gradient is borne out.

A hypothesis repairs the gradient under test: it is right if base + p_1 basis_1 + p_2 basis_2 + ... with free numbers p
is within two bars of every derivative, and if chance does not explain this as well.  A derivative from which the
gradient is e away, and the repaired one at most r, is worth log2(e / r) bits.  Each free number takes away the bits of
one derivative, the most valuable that is left.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
import math
from typing import NamedTuple

import numpy as np

from xpdl.gradcheck.function.directional import DirectionalDerivative
from xpdl.gradcheck.report import Vector

NEEDED = 24.0
"""Bits: there are some hundred hypotheses, and one that is wrong fits a wrong gradient once in 10^5."""
ROUNDINGS = 32 * 2.0**-52
"""A repaired gradient may be rounded by this part of its terms."""
DIGITS = 7
"""A fitted number is shown with so many digits at most."""


class Number(NamedTuple):
    """A number that was fitted, and its uncertainty."""

    value: float
    error: float

    def is_at(self, other: float) -> bool:
        """Whether it may be this other number."""
        return abs(self.value - other) <= 4 * self.error + ROUNDINGS * abs(other)

    def __str__(self) -> str:
        if not self.error < abs(self.value):
            return f"{self.value:.1g}"
        certain = -math.log10(max(self.error / abs(self.value), ROUNDINGS))
        return f"{self.value:.{min(max(int(certain), 2), DIGITS)}g}"


@dataclass(frozen=True)
class Hypothesis:
    """What may be wrong: a text, or one with the fitted numbers in it, and the repaired gradient, in its own units."""

    text: str | Callable[[Sequence[Number]], str]
    base: Vector | float
    basis: Sequence[Vector] = ()

    def said(self, numbers: Sequence[Number]) -> str:
        """The text."""
        return self.text if isinstance(self.text, str) else self.text(numbers)


@dataclass(frozen=True)
class Evidence:
    """A gradient under test, and derivatives of the function: of each entry, or along K directions.

    ``claim``, ``theta`` and ``scale`` have the shape of the tensor.  The rows of ``signs`` (K, size) are directions in
    natural units; it is None for each entry.  ``others`` are the claims for other tensors by name, and ``values``
    all tensors of theta.  ``misses`` measures whether the claim is wrong along a new direction.
    """

    claim: Vector
    theta: Vector
    scale: Vector
    derivatives: Sequence[DirectionalDerivative]
    signs: Vector | None = None
    others: Mapping[str, Vector] = field(default_factory=dict)
    values: Mapping[str, Vector] = field(default_factory=dict)
    misses: Callable[[Vector], bool] | None = None

    def along(self, tensor: Vector | float) -> Vector:
        """The derivatives along the directions according to a gradient, (K,)."""
        natural = (tensor * self.scale).ravel()
        return natural if self.signs is None else np.asarray(self.signs @ natural)

    @cached_property
    def columns(self) -> tuple[Vector, Vector, Vector, Vector]:
        """The values, bars, lower and upper ends of the derivatives, each (K,)."""
        value, bar, low, high = np.array([found[:4] for found in self.derivatives]).reshape(-1, 4).T
        return value, bar, np.minimum(low, value), np.maximum(high, value)

    @cached_property
    def errors(self) -> Vector:
        """How far the claim is from each derivative, (K,)."""
        return self._away(self.along(self.claim))

    @cached_property
    def numeric(self) -> Vector:
        """The numeric gradient in the shape of the tensor; entries only."""
        return np.asarray(self.columns[0].reshape(self.claim.shape) / self.scale)

    @cached_property
    def bar(self) -> Vector:
        """The error bars in the shape of the tensor; entries only."""
        return np.asarray(self.columns[1].reshape(self.claim.shape) / self.scale)

    @cached_property
    def wrong(self) -> Vector:
        """Which entries are wrong; entries only."""
        return np.asarray(~(self.errors <= self.columns[1])).reshape(self.claim.shape)

    @cached_property
    def seen(self) -> Vector:
        """Which entries are wrong, or right and not 0; entries only."""
        return self.wrong | (np.abs(self.numeric) > self.bar)

    def explains(self, hypothesis: Hypothesis) -> str | None:
        """The text of the hypothesis, if it is borne out."""
        if not hypothesis.basis and not self._plausible(hypothesis.base):
            return None
        base = self.along(hypothesis.base)
        basis = np.array([self.along(tensor) for tensor in hypothesis.basis]).reshape(-1, len(base)).T
        numbers = self._solved(base, basis)
        if numbers is None:
            return None
        p = np.array([number.value for number in numbers])
        rounding = ROUNDINGS * (np.abs(base) + np.abs(basis) @ np.abs(p))
        within = 2 * self.columns[1] + rounding
        if not np.all(self._away(base + basis @ p) <= within):
            return None
        bits = self._bits(within)[len(p) : self.independent]
        return hypothesis.said(numbers) if sum(bits) >= NEEDED else None

    @property
    def independent(self) -> int:
        """How many of the derivatives do not follow from others."""
        return min(len(self.derivatives), self.claim.size)

    def _plausible(self, base: Vector | float) -> bool:
        """Whether the last derivative bears a hypothesis out: a quick look before a thorough one."""
        bar, low, high = self._last
        if self.signs is None:
            claim = float(np.asarray(base).flat[-1] * self.scale.flat[-1])
        else:
            claim = float(self.signs[-1] @ (base * self.scale).ravel())
        bar += ROUNDINGS * abs(claim)
        return low - bar <= claim <= high + bar

    @cached_property
    def _last(self) -> tuple[float, float, float]:
        """Two bars, the lower and the upper end of the last derivative."""
        _, bar, low, high = (float(column[-1]) for column in self.columns)
        return 2 * bar, low, high

    def _away(self, claims: Vector) -> Vector:
        """The distance of claims from everything that is a derivative; NaN for those that are not finite."""
        _, _, low, high = self.columns
        return np.asarray(np.maximum(np.maximum(low - claims, claims - high), 0.0))

    def _bits(self, within: Vector) -> list[float]:
        """What each derivative is worth, the most valuable first; nothing if its bar is infinite."""
        with np.errstate(divide="ignore"):
            bits = np.log2(self.errors / np.maximum(within, np.finfo(float).tiny))
        return sorted(np.maximum(bits, 0.0).tolist(), reverse=True)

    def _solved(self, base: Vector, basis: Vector) -> list[Number] | None:
        """The free numbers, by least squares, each derivative weighted by its bar; None if they are not determined."""
        if basis.shape[1] == 0:
            return []
        value, bar, *_ = self.columns
        weight = 1 / (bar + ROUNDINGS * (np.abs(value) + np.max(np.abs(basis), axis=1)) + np.finfo(float).tiny)
        weighted = basis * weight[:, None]
        size = np.max(np.abs(weighted), axis=0)
        if self.independent <= len(size) or not np.all(np.isfinite(weighted)) or not np.all(size > 0):
            return None
        inverse = np.linalg.pinv(weighted / size) / size[:, None]
        p, errors = inverse @ ((value - base) * weight), np.sqrt(np.sum(inverse * inverse, axis=1))
        return [Number(float(a), float(b)) for a, b in zip(p, errors, strict=True)] if np.all(np.isfinite(p)) else None
