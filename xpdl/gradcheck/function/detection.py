"""How large an error would have failed: from a right claim to beyond all that a second look may grant (grants.py)."""

from collections.abc import Sequence
import math

import numpy as np

from xpdl.gradcheck.function.grants import beside_kinks, grants
from xpdl.gradcheck.function.tensor import TensorCheck
from xpdl.gradcheck.report import Vector, least_and_most, seen_sizes


def detected(tensors: Sequence[TensorCheck]) -> dict[str, float]:
    """The smallest relative error that fails in any entry of a tensor, or an upper bound of it; NaN if all are 0."""
    granted = grants(tensors)
    reach = {tensor.name: _reach(tensor, granted[tensor.name]) for tensor in tensors}
    for name, ranges in beside_kinks(tensors).items():
        tensor = next(tensor for tensor in tensors if tensor.name == name)
        low, high = ranges.T
        right = right_claims(tensor)
        reach[name] = np.maximum(reach[name], np.maximum(high - right, right - low))
    return {tensor.name: _smallest_error(tensor, reach[tensor.name]) for tensor in tensors}


def _reach(tensor: TensorCheck, granted: Vector) -> Vector:
    """How far the claim along each direction may move, at most, and still pass."""
    _, bar, low, high = tensor.columns()
    right = right_claims(tensor)
    return np.asarray(np.maximum(high - right, right - low) + bar + granted)


def _smallest_error(tensor: TensorCheck, reach: Vector) -> float:
    """The largest over the entries of what shows an error of theirs, along the direction that shows it best."""
    size = sizes(tensor) * tensor.scale
    if not np.any(size):
        return math.nan
    if not tensor.entrywise:
        weights = np.abs(np.stack(list(tensor.directions)))
        with np.errstate(divide="ignore"):
            reach = np.min(np.where(weights > 0, reach[:, None] / weights, math.inf), axis=0)
    return float(np.max(reach / size))


def right_claims(tensor: TensorCheck) -> Vector:
    """The claims along all directions, but the derivatives where they are wrong."""
    claims = tensor.claims()
    misses = [found.misses(claim) for found, claim in zip(tensor.derivatives, claims.tolist(), strict=True)]
    return np.where(misses, tensor.columns()[0], claims)


def sizes(tensor: TensorCheck) -> Vector:
    """The size of each entry; the largest size where one is 0 or below its bar."""
    value, bar, _, _ = tensor.columns()
    if tensor.entrywise:
        least, most = least_and_most(right_claims(tensor) / tensor.scale, value / tensor.scale)
        return seen_sizes(least, most, bar / tensor.scale)[0]
    claims = np.abs(tensor.natural / tensor.scale)
    return seen_sizes(claims, claims, np.min(bar) / tensor.scale)[0]
