"""The error of a linear model against the step: it falls like h^2 if the gradient is right, like h if it is wrong."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from xpdl.gradcheck.function.blackbox import enter
from xpdl.gradcheck.function.probe import natural_scale
from xpdl.gradcheck.report import Vector
from xpdl.randomness import Stream, generator

STEPS = 2.0 ** np.arange(-1, -41, -1)
"""Steps in natural units: 1 moves each entry by its size, and below 2^-40 there is nothing but rounding."""


class Slope(NamedTuple):
    """The steps, and |J(theta + h d) - J(theta) - h <g, d>| at each of them; NaN where J is not defined."""

    steps: Vector
    errors: Vector


def slope(fun: Callable[..., Any], grad: Callable[..., Any], args: Any, seed: int) -> Slope:
    """The errors along a random direction of signs through all variables."""
    box, start, _ = enter(fun, grad, args, None)
    drawn = generator(seed, Stream.DATA, step=3)
    gradient = box.gradient()
    d = {n: drawn.choice(np.array([-1.0, 1.0]), t.shape) * natural_scale(t) for n, t in box.theta.items()}
    expected = sum(float(np.sum(gradient[name] * d[name])) for name in d)

    def error(h: float) -> float:
        try:
            return abs(box.value({n: t + h * d[n] for n, t in box.theta.items()}) - start - h * expected)
        except Exception:  # J must be defined at theta only
            return np.nan

    return Slope(STEPS, np.array([error(h) for h in STEPS.tolist()]))
