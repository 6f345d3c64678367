"""Histories of gradients that tell rules apart: pairs (theta at the start, gradients), chosen by measurements."""

from typing import Any

import numpy as np

from xpdl.gradcheck.report import Vector
from xpdl.gradcheck.update.measure import Measurements


def short_histories(measured: Measurements) -> list[tuple[float, Vector]]:
    """Histories of three steps, for fitting parameters."""
    unit, middle = measured.unit, min(measured.epsilon or 1.0, measured.largest / 4)
    pasts = [(unit, (1e-6, 1.0, -0.5)), (unit, (1.0, 1.0, 0.3)), (unit, (-1.0, 1.0, 0.7))]
    pasts += [(middle, (1.0, 0.5, -1.0)), (middle, (0.2, -0.6, 0.3)), (0.1 * middle, (1.0, 3.0, 0.2))]
    decays = [(unit, (1.0, 0.3, -0.5)), (measured.balance, (-0.5, 0.7, -2.0))] if measured.decay else []
    bound = measured.largest
    groups = ((0.0, pasts), (1.0, decays))
    return [(theta, np.clip(scale * np.array(g), -bound, bound)) for theta, group in groups for scale, g in group]


def long_histories(measured: Measurements, steps: int, rng: np.random.Generator) -> list[tuple[float, Vector]]:
    """Random histories: much larger than epsilon, as large, smaller, of all sizes, and some that show decay."""
    unit, middle = measured.unit, min(measured.epsilon or 1.0, measured.largest / 4)
    scales: list[tuple[float, Any]] = [(0.0, unit), (0.0, middle), (0.0, 0.1 * middle)]
    scales += [(0.0, unit * 10 ** rng.uniform(-3, 1, steps))]
    scales += [(1.0, unit), (-1.0, measured.balance)] if measured.decay else []
    bound = measured.largest
    return [(theta, np.clip(scale * rng.standard_normal(steps), -bound, bound)) for theta, scale in scales]
