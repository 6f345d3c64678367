"""``rtol``: a tolerance for gradients that are only as exact as a solver.

A solver of differential equations holds each component to rtol of its size, and to a small part of rtol where it is
near 0: ``atol`` is rtol / 1000 in ``scipy.integrate.solve_ivp``.  So an entry may be off by rtol times its derivative,
or times 1 / 1000 of the largest one of all.  Along a random direction such errors add up as noise does.
"""

from collections.abc import Mapping
import math
from typing import NamedTuple

import numpy as np

from xpdl.gradcheck.function.probe import SPREAD
from xpdl.gradcheck.report import Vector

SMALLEST = 1e-3
"""A derivative counts as at least this part of the largest one."""


class Tolerance(NamedTuple):
    """What rtol grants to the entries of a tensor, in natural units."""

    rtol: float
    smallest: float  # the size that every entry counts as, at least
    typical: float  # the root mean square of the entries

    def along(self, d: Vector, value: float) -> float:
        """How far a right claim may be from the derivative along d."""
        entries = np.count_nonzero(d)
        least = self.smallest if entries == 1 else SPREAD * self.typical * math.sqrt(entries)
        return self.rtol * max(abs(value), least)


def tolerances(rtol: float, derivatives: Mapping[str, Vector], sizes: Mapping[str, int]) -> dict[str, Tolerance]:
    """The tolerance of each tensor, from its derivatives along all entries or along directions of signs."""
    typical = {name: _root_mean_square(values, sizes[name]) for name, values in derivatives.items()}
    entrywise = {name: values.size == sizes[name] for name, values in derivatives.items()}
    largest = max(
        float(np.max(np.abs(values))) if entrywise[name] else typical[name] for name, values in derivatives.items()
    )
    return {name: Tolerance(rtol, SMALLEST * largest, typical[name]) for name in derivatives}


def _root_mean_square(values: Vector, size: int) -> float:
    """That of all entries; along a direction of signs, their squares add up on average."""
    most = float(np.max(np.abs(values))) or 1.0  # squares of tiny numbers would underflow
    mean = most * math.sqrt(float(np.mean((values / most) ** 2)))
    return mean if values.size == size else mean / math.sqrt(size)
