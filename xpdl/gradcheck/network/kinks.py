"""Kinks: where an activation bends within rounding of a pre-activation, so that f' may be either of two numbers.

Backward propagation with intervals gives the least and the largest gradient over every choice that code may make there,
the one-sided derivatives of the cost among them:

    da in [low w+ + high w-, high w+ + low w-],    w+ = max(w, 0)^T, w- = min(w, 0)^T,    dz in [f' from, f' to] * da

Away from kinks the interval is a point.  Source: Moore 1966, Interval Analysis.
"""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

from xpdl.arrays import Array, namespace
from xpdl.gradcheck.network.bars import LayerErrors
from xpdl.gradcheck.network.perturbation import Point, eps, gradient

NEAR = 16.0
"""A bend counts if it is within so many rounding errors of z."""

JUMP = 1e-3
"""A smaller change of f' is curvature, not a kink."""


class Bend(NamedTuple):
    """f' (n, n_l) of a hidden layer on both sides of z."""

    left: Array
    right: Array

    @property
    def kinks(self) -> Array:
        """Which pre-activations are at a kink."""
        return namespace(self.left).abs(self.right - self.left) > JUMP


def bends(at: Point, forward: Sequence[LayerErrors]) -> list[Bend]:
    """f' of the hidden layers, some rounding errors of z to the left and to the right."""
    xp = namespace(at.y)
    near = [NEAR * eps(at.y) * xp.sqrt(errors.z) + 1e-30 for errors in forward]
    return [Bend(*at.fprime.beside(layer.z, d)) for layer, d in zip(at.layers[:-1], near, strict=False)]


def limits(at: Point, bent: Sequence[Bend], dz: Array) -> tuple[Array, Array]:
    """The least and the largest gradient (P,), from dz (n, k) of the output layer."""
    xp = namespace(at.y)
    lows, highs = [dz], [dz]
    for l in reversed(range(len(bent))):
        w = xp.matrix_transpose(at.layers[l + 1].w)
        rising, falling = xp.maximum(w, 0.0), xp.minimum(w, 0.0)
        ends = (lows[0] @ rising + highs[0] @ falling, highs[0] @ rising + lows[0] @ falling)
        if at.masks[l] is not None:
            ends = (ends[0] * at.masks[l], ends[1] * at.masks[l])
        corners = xp.stack([fprime * da for fprime, da in product(bent[l], ends)])
        lows.insert(0, xp.min(corners, axis=0))
        highs.insert(0, xp.max(corners, axis=0))
    return gradient(at, lows, highs), gradient(at, highs, lows)
