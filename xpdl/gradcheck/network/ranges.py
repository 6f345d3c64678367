"""Ranges: what is too small or too large for a dtype has another error than rounding, or cannot be judged."""

from collections.abc import Sequence
import math
from typing import Any

import numpy as np

from xpdl.arrays import Array, namespace
from xpdl.gradcheck.network.bars import LayerErrors
from xpdl.gradcheck.network.perturbation import COMPLEX_STEP, Point

STRAIGHT = 1e-20
"""A complex step is a derivative if it moves no logit by more: beyond it, a cost is curved in float64."""


def allowances(
    at: Point, dz: Sequence[Array], forward: Sequence[LayerErrors], info: "np.finfo[Any]", *, stepped: bool
) -> list[float]:
    """An error of all entries of each layer, beside rounding, for a gradient in this dtype; infinite if too large.

    A number on the way to an entry may exceed the dtype, or, if ``stepped``, a complex step moves the logits too far.
    """
    least = max(float(info.tiny), float(namespace(at.y).finfo(at.y.dtype).smallest_normal) / COMPLEX_STEP)
    unheld, lost = not _largest(at, dz) <= float(info.max), underflow(at, dz, forward, least)
    return [math.inf if unheld or (stepped and far) else e for far, e in zip(_far(at, forward), lost, strict=True)]


def underflow(at: Point, dz: Sequence[Array], forward: Sequence[LayerErrors], least: float) -> list[float]:
    """The largest error in each layer of the gradient if results below ``least`` become 0, from the numeric dz."""
    xp, n = namespace(at.y), at.y.shape[0]
    errors, lost = [0.0] * len(dz), least  # of dz_l
    for l in reversed(range(len(dz))):
        each = least * (float(xp.max(xp.abs(dz[l]))) + 1)
        errors[l] = n * (lost * max(float(xp.max(xp.abs(at.layers[l].x))), 1.0) + each)
        if l > 0:
            lost = least + (lost * _rows(at, l) + least) * float(xp.max(_slope(at, l - 1, forward)))
    return errors


def _rows(at: Point, l: int) -> float:
    """The largest sum of |w| over the units of layer l: how much larger da may be than dz."""
    xp = namespace(at.y)
    return float(xp.max(xp.sum(xp.abs(at.layers[l].w), axis=1)))


def _far(at: Point, forward: Sequence[LayerErrors]) -> list[bool]:
    """Whether a complex step in a layer moves a logit too far."""
    gains = [1.0]
    for l in reversed(range(len(at.masks))):
        gains.insert(0, gains[0] * _rows(at, l + 1) * float(namespace(at.y).max(_slope(at, l, forward))))
    return [not gain * COMPLEX_STEP <= STRAIGHT for gain in gains]


def _largest(at: Point, dz: Sequence[Array]) -> float:
    """The largest absolute value in the forward pass, and of da in the backward pass."""
    xp = namespace(at.y)
    sizes = [float(xp.max(xp.abs(array))) for layer in at.layers for array in (layer.x, layer.w, layer.z)]
    return max(sizes + [float(xp.max(xp.abs(d))) * _rows(at, l) for l, d in enumerate(dz)])


def _slope(at: Point, l: int, forward: Sequence[LayerErrors]) -> Array:
    """|f'(z_l)|, with the mask."""
    slope = namespace(at.y).abs(forward[l].fprime)
    mask = at.masks[l]
    return slope if mask is None else slope * mask
