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
    typical: float  # the size of an entry, as far as directions show it

    def along(self, d: Vector, value: float) -> float:
        """How far a right claim may be from the derivative along d."""
        entries = np.count_nonzero(d)
        least = self.smallest if entries == 1 else SPREAD * self.typical * math.sqrt(entries)
        return self.rtol * max(abs(value), least)


def tolerances(rtol: float, derivatives: Mapping[str, Vector], sizes: Mapping[str, int]) -> dict[str, Tolerance]:
    """The tolerance of each tensor, from its derivatives along all entries or along directions of signs."""
    typical = {name: _typical(values, sizes[name]) for name, values in derivatives.items()}
    entrywise = {name: values.size == sizes[name] for name, values in derivatives.items()}
    largest = max(
        float(np.max(np.abs(values))) if entrywise[name] else typical[name] for name, values in derivatives.items()
    )
    return {name: Tolerance(rtol, SMALLEST * largest, typical[name]) for name in derivatives}


def _typical(values: Vector, size: int) -> float:
    """The size of an entry; along a random direction of signs, the squares of entries add up on average."""
    return float(np.median(np.abs(values))) / math.sqrt(1 if values.size == size else size)
