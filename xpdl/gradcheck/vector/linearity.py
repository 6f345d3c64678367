"""A forward pass is linear: unit vectors do not show one that takes absolute values, or only one of two tangents.

Each tensor gets the tangent v - 3 u / 2, where the products for u and v are known; then all tensors get one at once.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from xpdl.gradcheck.function.probe import Tensors, natural_scale
from xpdl.gradcheck.report import FAIL, Report
from xpdl.gradcheck.vector.rounding import Rounding
from xpdl.randomness import Stream, generator

ROUNDINGS = 64.0
"""A product that is 0 but for rounding may be off by so many roundings of its terms."""
ALONE = "not linear in its tangent"
TOGETHER = "the tangents of several arguments together do not give the sum of what each gives alone"


def with_linearity(report: Report, along: Callable[[Tensors], Any], theta: Tensors, size: float, seed: int) -> Report:
    """The same report, but FAIL where <c, jvp(t)> is not linear in t.

    ``along`` is t -> <c, jvp(t)>, and ``size`` that of the terms of <c, fun(theta)>.
    """
    if report.verdict == FAIL or set(report.parameters) != set(theta):
        return report
    rounding, parameters = Rounding(report, theta), dict(report.parameters)
    least = ROUNDINGS * float(np.finfo(report.precision).eps) * size
    for said, tangents, found, parts in _sums(along, theta, seed):
        bar = rounding.part * (abs(found) + sum(map(abs, parts))) + rounding.along(tangents) + least
        if not abs(found - sum(parts)) <= bar:
            wrong = {name: replace(parameters[name], verdict=FAIL, diagnosis=said) for name in tangents}
            return replace(report, parameters={**parameters, **wrong}, verdict=FAIL)
    return report


def _sums(
    along: Callable[[Tensors], Any], theta: Tensors, seed: int
) -> Iterator[tuple[str, Tensors, float, list[float]]]:
    """What is wrong if a sum does not hold, the tangents a + b, <c, jvp(a + b)>, and [<c, jvp(a)>, <c, jvp(b)>]."""
    drawn = generator(seed, Stream.DATA, step=4)
    u, v = ({n: drawn.standard_normal(t.shape) * natural_scale(t) for n, t in theta.items()} for _ in range(2))
    ahead = {name: float(along({name: u[name]})) for name in theta}
    for name in theta:
        both = {name: v[name] - 1.5 * u[name]}
        yield ALONE, both, float(along(both)), [-1.5 * ahead[name], float(along({name: v[name]}))]
    if len(theta) > 1:
        yield TOGETHER, u, float(along(u)), list(ahead.values())
