"""Kinks: an activation or a cost bends within the rounding error of z, so its derivative may be either of two numbers.

Correct code may take either number at each kink.  Backward propagation with intervals gives the smallest and the
largest gradient of all these choices; the one-sided derivatives of the cost lie between them:

    da in [low w+ + high w-, high w+ + low w-],    w+ = max(w, 0)^T, w- = min(w, 0)^T,    dz in [f' from, f' to] * da

Away from kinks the interval is a point.  Source: Moore 1966, Interval Analysis.
"""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, NamedTuple

from xpdl.arrays import Array, namespace
from xpdl.gradcheck.network.bars import LayerErrors
from xpdl.gradcheck.network.perturbation import Point, cost_derivatives_beside, eps, gradient

NEAR = 16.0
"""A bend counts if it is within this many rounding errors of z."""

JUMP = 1e-3
"""A smaller change is curvature, not a kink: of f', or of d cost / d z as a part of its largest entry."""


class Bend(NamedTuple):
    """f' (n, n_l) of a hidden layer, or d cost / d z (n, k), on both sides of z."""

    left: Array
    right: Array
    size: Any = 1.0  # the scale of JUMP

    @property
    def kinks(self) -> Array:
        """Which pre-activations are at a kink."""
        return namespace(self.left).abs(self.right - self.left) > JUMP * self.size


def bends(at: Point, forward: Sequence[LayerErrors]) -> list[Bend]:
    """f' of the hidden layers and d cost / d z of the loss, some rounding errors of z to the left and to the right.

    A loss with an ``error_variance`` has no kinks.
    """
    xp = namespace(at.y)
    near = [NEAR * eps(at.y) * xp.sqrt(errors.z) + 1e-30 for errors in forward]
    found = [Bend(*at.fprime(l).beside(at.layers[l].z, near[l])) for l in range(len(at.masks))]
    if at.net.head.error_variance is None:
        near_output = near[-1] + NEAR * eps(at.y) * xp.abs(at.y)
        left, right = cost_derivatives_beside(at, at.layers[-1].z, near_output)
        found.append(Bend(left, right, xp.max(xp.abs(left) + xp.abs(right)) / 2))
    return found


def limits(at: Point, bent: Sequence[Bend], dz: Array) -> tuple[Array, Array]:
    """The smallest and the largest gradient (P,), from dz (n, k) of the output layer."""
    xp = namespace(at.y)
    lows, highs = ([_output_end(at, bent, dz, choose)] for choose in (xp.minimum, xp.maximum))
    for l in reversed(range(len(at.masks))):
        w = xp.matrix_transpose(at.layers[l + 1].w)
        rising, falling = xp.maximum(w, 0.0), xp.minimum(w, 0.0)
        ends = (lows[0] @ rising + highs[0] @ falling, highs[0] @ rising + lows[0] @ falling)
        if at.masks[l] is not None:
            ends = (ends[0] * at.masks[l], ends[1] * at.masks[l])
        corners = xp.stack([fprime * da for fprime, da in product((bent[l].left, bent[l].right), ends)])
        lows.insert(0, xp.min(corners, axis=0))
        highs.insert(0, xp.max(corners, axis=0))
    return gradient(at, lows, highs), gradient(at, highs, lows)


def _output_end(at: Point, bent: Sequence[Bend], dz: Array, choose: Callable[[Array, Array], Array]) -> Array:
    """The smallest or the largest dz (n, k) of the output layer."""
    for bend in bent[len(at.masks) :]:
        dz = namespace(dz).where(bend.kinks, choose(bend.left, bend.right) * at.share, dz)
    return dz
