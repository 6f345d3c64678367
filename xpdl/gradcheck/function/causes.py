"""Probable causes of a wrong gradient of a black box.  A cause fits if the gradient is right after its removal."""

from collections.abc import Callable, Iterator, Sequence
import math
from typing import TypeAlias

import numpy as np

from xpdl.gradcheck.function.directional import DirectionalDerivative
from xpdl.gradcheck.report import Vector, ratio

Projection: TypeAlias = Callable[[Vector], Vector]
"""A gradient in natural units (size,) -> its directional derivatives (K,)."""


def diagnose(
    gradient: Vector, scale: Vector, project: Projection, derivatives: Sequence[DirectionalDerivative]
) -> str | None:
    """The first cause after whose removal the gradient, times the scale (size,), fits every directional derivative."""
    if not np.all(np.isfinite(gradient)):
        return "not finite"
    if not np.any(gradient):
        return "all zero"

    def claims(tensor: Vector) -> Vector:
        return project(tensor.ravel() * scale)

    numeric = np.array([derivative.value for derivative in derivatives])
    hidden = all(abs(derivative.value) <= derivative.bar for derivative in derivatives)
    causes = [cause for cause in CAUSES if not (hidden and cause is _factor)]  # 0 has no factor
    candidates = filter(None, (cause(gradient, claims, numeric) for cause in causes))
    return next((text for text, repaired in candidates if _fits(claims(repaired), derivatives)), None)


def _fits(claims: Vector, derivatives: Sequence[DirectionalDerivative]) -> bool:
    """Whether every claim is within two bars."""
    return not any(
        derivative._replace(bar=2 * derivative.bar).misses(claim)
        for derivative, claim in zip(derivatives, claims.tolist(), strict=True)
    )


# (gradient, tensor -> its directional derivatives (K,), the numeric ones (K,)) -> the cause, the gradient without it


def _factor(gradient: Vector, claims: Projection, numeric: Vector) -> tuple[str, Vector] | None:
    c = ratio(claims(gradient), numeric)
    if not math.isfinite(c) or c == 0:
        return None
    known = (f": {meaning}" for number, meaning in _known_factors(gradient) if abs(c / number - 1) <= 1e-3)
    if 0 < abs(c - 1) < 5e-7:  # seven digits do not tell it from 1
        return f"1 {'-' if c < 1 else '+'} {abs(c - 1):.1e} times the numeric gradient", gradient / c
    return f"{c:.7g} x the numeric gradient{next(known, '')}", gradient / c


def _known_factors(gradient: Vector) -> Iterator[tuple[float, str]]:
    """Factors that have a meaning."""
    yield from [(-1.0, "the sign is wrong"), (2.0, "counted twice"), (0.5, "half of it is missing")]
    lengths = {"the number of entries": gradient.size}
    lengths |= {f"the length of axis {axis}": n for axis, n in enumerate(gradient.shape)}
    for name, n in lengths.items():
        if n > 1:
            yield from [(float(n), f"{name} is {n}"), (1 / n, f"1 / {n}, {name} is {n}")]


def _transposed(gradient: Vector, claims: Projection, numeric: Vector) -> tuple[str, Vector] | None:
    if gradient.ndim != 2:
        return None
    return "the transpose of the numeric gradient", gradient.reshape(gradient.shape[::-1]).T


def _reversed(gradient: Vector, claims: Projection, numeric: Vector) -> tuple[str, Vector]:
    return "the numeric gradient in reverse order", np.flip(gradient)


def _offset(gradient: Vector, claims: Projection, numeric: Vector) -> tuple[str, Vector]:
    ones = claims(np.ones_like(gradient))
    c = float(np.sum((claims(gradient) - numeric) * ones) / np.sum(ones * ones))
    return f"the numeric gradient + {c:.7g} in every entry", gradient - c


CAUSES: list[Callable[[Vector, Projection, Vector], tuple[str, Vector] | None]] = [
    _factor,
    _transposed,
    _reversed,
    _offset,
]
