"""Histories of gradients that tell rules apart, chosen by what was measured: (theta at the start, gradients)."""

from typing import Any

import numpy as np

from xpdl.gradcheck.report import Vector
from xpdl.gradcheck.update.measure import Measurements


def short_histories(measured: Measurements) -> list[tuple[float, Vector]]:
    """Histories of three steps, to which parameters are fitted."""
    unit, middle = measured.unit, measured.epsilon or 1.0
    pasts = [(unit, (1e-6, 1.0, -0.5)), (unit, (1.0, 1.0, 0.3)), (unit, (-1.0, 1.0, 0.7))]
    pasts += [(middle, (1.0, 0.5, -1.0)), (middle, (0.2, -0.6, 0.3)), (0.1 * middle, (1.0, 3.0, 0.2))]
    decays = [(unit, (1.0, 0.3, -0.5)), (measured.balance, (-0.5, 0.7, -2.0))] if measured.decay else []
    return [(theta, scale * np.array(g)) for theta, group in ((0.0, pasts), (1.0, decays)) for scale, g in group]


def long_histories(measured: Measurements, steps: int, rng: np.random.Generator) -> list[tuple[float, Vector]]:
    """Random histories: large beside epsilon, as large as it, smaller, of all sizes, and where decay shows."""
    unit, middle = measured.unit, measured.epsilon or 1.0
    scales: list[tuple[float, Any]] = [(0.0, unit), (0.0, middle), (0.0, 0.1 * middle)]
    scales += [(0.0, unit * 10 ** rng.uniform(-3, 1, steps))]
    scales += [(1.0, unit), (-1.0, measured.balance)] if measured.decay else []
    return [(theta, scale * rng.standard_normal(steps)) for theta, scale in scales]
