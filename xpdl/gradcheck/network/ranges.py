"""Ranges: what is too small or too large for a dtype has another error than rounding, or cannot be judged."""

from collections.abc import Sequence
import math

from xpdl.arrays import Array, namespace
from xpdl.gradcheck.network.bars import LayerErrors
from xpdl.gradcheck.network.perturbation import COMPLEX_STEP, Point

STRAIGHT = 1e-20
"""A complex step is a derivative if it moves no logit by more: beyond it, a cost is curved in float64."""


def underflow(at: Point, dz: Sequence[Array], forward: Sequence[LayerErrors], least: float) -> Array:
    """The error (P,) of the gradient if any result below ``least`` may become 0, from the numeric dz_l (n, n_l)."""
    xp = namespace(at.y)
    lost = xp.full_like(dz[-1], least)  # of dz_l
    parts: list[tuple[Array, Array]] = []
    for l in reversed(range(len(dz))):
        x = xp.matrix_transpose(xp.abs(at.layers[l].x))
        each = least * (xp.abs(dz[l]) + 1)
        parts.insert(0, (x @ lost + xp.sum(each, axis=0), xp.sum(lost + least, axis=0)))
        if l > 0:
            lost = least + (lost @ xp.matrix_transpose(xp.abs(at.layers[l].w)) + least) * _slope(at, l - 1, forward)
    return at.net.pack(parts)


def too_large(
    at: Point, dz: Sequence[Array], forward: Sequence[LayerErrors], kappa: Array, most: float, *, stepped: bool
) -> Array:
    """Infinity for each entry (P,) that cannot be judged, else 0.

    A number on the way to it may exceed ``most``, or, if ``stepped``, a complex step moves the logits too far.
    """
    xp, unheld = namespace(at.y), not _largest(at, dz) <= most
    ends = [math.inf if unheld or (stepped and far) else 0.0 for far in _far(at, forward)]
    layers = zip(at.layers, at.biases, ends, strict=True)
    whole = at.net.pack([(xp.full_like(layer.w, end), xp.full_like(b, end)) for layer, b, end in layers])
    return whole + xp.where(kappa <= most, xp.zeros_like(kappa), xp.full_like(kappa, math.inf))


def _far(at: Point, forward: Sequence[LayerErrors]) -> list[bool]:
    """Whether a complex step in a layer moves a logit too far."""
    xp = namespace(at.y)
    gains = [1.0]
    for l in reversed(range(len(at.masks))):
        rows = xp.sum(xp.abs(at.layers[l + 1].w), axis=1)
        gains.insert(0, gains[0] * float(xp.max(rows)) * float(xp.max(_slope(at, l, forward))))
    return [not gain * COMPLEX_STEP <= STRAIGHT for gain in gains]


def _largest(at: Point, dz: Sequence[Array]) -> float:
    """The largest absolute value in the forward pass, and of da in the backward pass."""
    xp = namespace(at.y)
    arrays = [array for layer in at.layers for array in (layer.x, layer.w, layer.z)]
    arrays += [xp.abs(d) @ xp.matrix_transpose(xp.abs(layer.w)) for layer, d in zip(at.layers, dz, strict=True)]
    return max(float(xp.max(xp.abs(array))) for array in arrays)


def _slope(at: Point, l: int, forward: Sequence[LayerErrors]) -> Array:
    """|f'(z_l)|, with the mask."""
    slope = namespace(at.y).abs(forward[l].fprime)
    mask = at.masks[l]
    return slope if mask is None else slope * mask
