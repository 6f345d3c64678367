"""A proof of what is detected: an error of twice that size is planted in every entry, and must fail."""

from collections.abc import Iterator, Mapping, Sequence
import math

import numpy as np

from xpdl.gradcheck.function.detection import right_claims, sizes
from xpdl.gradcheck.function.tensor import TensorCheck

PLANTED = 256
"""The most entries of a tensor in which errors are planted; of a larger one it is a random sample."""
LOOKS = 2 * 90
"""The evaluations that one entry takes: a second look for each sign of the error."""


def proven(tensors: Sequence[TensorCheck], limits: Mapping[str, float]) -> tuple[dict[str, float], list[str]]:
    """What is detected, raised until twice that size fails in every entry; and a note on each tensor."""
    found, notes = dict(limits), []
    for tensor in tensors:
        if not math.isfinite(limits[tensor.name]):
            continue
        entries = _chosen(tensor)
        found[tensor.name] = max(_until_it_fails(tensor, k, limits[tensor.name]) for k in entries)
        raised = f", which is more than {limits[tensor.name]:.1e}" * (found[tensor.name] > limits[tensor.name])
        planted = f"{len(entries)} of {tensor.natural.size} entries, with both signs"
        notes.append(f"{tensor.name}: 2 x {found[tensor.name]:.1e}, planted in {planted}, fails{raised}")
    return found, notes


def _chosen(tensor: TensorCheck) -> list[int]:
    """All entries, or a random sample with the smallest and the largest one."""
    n = tensor.natural.size
    if n <= PLANTED:
        return list(range(n))
    order = np.argsort(np.abs(tensor.natural))
    sample = np.random.default_rng(0).choice(order[1:-1], PLANTED - 2, replace=False)
    return [int(k) for k in (order[0], *sample, order[-1])]


def _until_it_fails(tensor: TensorCheck, k: int, limit: float) -> float:
    size = float(sizes(tensor)[k] * tensor.scale[k])
    while any(_passes(tensor, k, sign * 2 * limit * size) for sign in (1, -1)):
        limit *= 2
    return limit


def _passes(tensor: TensorCheck, k: int, error: float) -> bool:
    """Whether a gradient that is right but for this error of one entry passes."""
    return not any(_misses(tensor, i, error * weight) for i, weight in _shown_by(tensor, k))


def _shown_by(tensor: TensorCheck, k: int) -> Iterator[tuple[int, float]]:
    """The directions that contain an entry, and its weight in each of them."""
    if tensor.entrywise:
        yield k, 1.0
    for i in range(0 if tensor.entrywise else len(tensor.directions)):
        if tensor.directions.row(i)[k]:
            yield i, float(tensor.directions.row(i)[k])


def _misses(tensor: TensorCheck, i: int, error: float) -> bool:
    """Whether a claim that is off by an error fails along direction i, after all looks at it."""
    claim = float(right_claims(tensor)[i]) + error
    found = tensor.allowed(tensor.directions.row(i), tensor.first[i])
    if not tensor.doubtful(claim, found):
        return found.misses(claim)
    look, unsettled = tensor.finally_along if tensor.entrywise else tensor.again, tensor.unsettled
    found = look(tensor.directions.row(i), claim, found)
    tensor.unsettled = unsettled  # that is about the claims of the user
    return found.misses(claim)
