"""Causes: what may be the matter with a wrong tensor of a black box, and what its gradient would be without that."""

from collections.abc import Callable, Iterator, Sequence
import math

import numpy as np

from xpdl.gradcheck.function.methods import Slope
from xpdl.gradcheck.report import Vector, ratio

Observe = Callable[[Vector], Vector]
"""A gradient in natural units (size,) -> its slopes (K,)."""


def diagnose(gradient: Vector, scale: Vector, observe: Observe, slopes: Sequence[Slope]) -> str | None:
    """The first cause without which the gradient, times the scale (size,), fits every slope."""
    if not np.all(np.isfinite(gradient)):
        return "not finite"
    if not np.any(gradient):
        return "all zero"

    def seen(tensor: Vector) -> Vector:
        return observe(tensor.ravel() * scale)

    numeric = np.array([slope.value for slope in slopes])
    hidden = all(abs(slope.value) <= slope.bar for slope in slopes)  # a factor of what may be 0 means nothing
    candidates = (cause(gradient, seen, numeric) for cause in CAUSES if not (hidden and cause is _factor))
    return next((text for text, repaired in filter(None, candidates) if _fits(seen(repaired), slopes)), None)


def _fits(claims: Vector, slopes: Sequence[Slope]) -> bool:
    return not any(s._replace(bar=2 * s.bar).misses(claim) for s, claim in zip(slopes, claims.tolist(), strict=True))


# (gradient, tensor -> its slopes (K,), numeric slopes (K,)) -> the cause, and the gradient without it


def _factor(gradient: Vector, seen: Observe, numeric: Vector) -> tuple[str, Vector] | None:
    c = ratio(seen(gradient), numeric)
    if not math.isfinite(c) or c == 0:
        return None
    known = (f": {meaning}" for number, meaning in _numbers(gradient) if abs(c / number - 1) <= 1e-3)
    if 0 < abs(c - 1) < 5e-7:  # seven digits do not tell that from 1
        return f"1 {'-' if c < 1 else '+'} {abs(c - 1):.1e} times the numeric gradient", gradient / c
    return f"{c:.7g} x the numeric gradient{next(known, '')}", gradient / c


def _numbers(gradient: Vector) -> Iterator[tuple[float, str]]:
    """Factors with a meaning."""
    yield from [(-1.0, "the sign is wrong"), (2.0, "counted twice"), (0.5, "half of it is missing")]
    lengths = {"the number of entries": gradient.size}
    lengths |= {f"the length of axis {axis}": n for axis, n in enumerate(gradient.shape)}
    for name, n in lengths.items():
        if n > 1:
            yield from [(float(n), f"{name} is {n}"), (1 / n, f"1 / {n}, {name} is {n}")]


def _transposed(gradient: Vector, seen: Observe, numeric: Vector) -> tuple[str, Vector] | None:
    if gradient.ndim != 2:
        return None
    return "the transpose of the numeric gradient", gradient.reshape(gradient.shape[::-1]).T


def _reversed(gradient: Vector, seen: Observe, numeric: Vector) -> tuple[str, Vector]:
    return "the numeric gradient in reverse order", np.flip(gradient)


def _offset(gradient: Vector, seen: Observe, numeric: Vector) -> tuple[str, Vector]:
    ones = seen(np.ones_like(gradient))
    c = float(np.sum((seen(gradient) - numeric) * ones) / np.sum(ones * ones))
    return f"the numeric gradient + {c:.7g} in every entry", gradient - c


CAUSES: list[Callable[[Vector, Observe, Vector], tuple[str, Vector] | None]] = [
    _factor,
    _transposed,
    _reversed,
    _offset,
]
