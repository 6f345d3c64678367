"""Check samples once, when they enter xpdl, and move them to the device: x, y and weights.

Nothing is checked inside a training step: the host would have to wait until the device reports a wrong label.
"""

from typing import Any

import numpy as np

from xpdl import checks
from xpdl.arrays import Array, namespace
from xpdl.backends import Backend
from xpdl.backends.base import to_numpy
from xpdl.network import Network

HEADROOM = 2.0**32
"""The sum of all weights, times the cost of a sample, may be this many times below the largest number."""


def pair(net: Network, x: Any, y: Any, backend: Backend, dtype: str, *, prefix: str = "") -> tuple[Array, Array]:
    """``features`` and ``targets`` of the same samples."""
    x = features(net, x, backend, dtype, argument=f"{prefix}x")
    return x, targets(net, y, x.shape[0], backend, dtype, argument=f"{prefix}y")


def weighted(
    net: Network, x: Any, y: Any, weight: Any, backend: Backend, dtype: str, *, prefix: str = ""
) -> tuple[Array, Array, Array | None]:
    """``features``, ``targets`` and ``weights`` of the same samples."""
    x, y = pair(net, x, y, backend, dtype, prefix=prefix)
    return x, y, weights(weight, x.shape[0], backend, dtype, argument=f"{prefix}sample_weight")


def parameters(net: Network, theta: Any, backend: Backend, dtype: str) -> Array:
    """A copy of theta (P,) on the device; ``ValueError`` for a wrong length, NaN or infinity."""
    theta = numbers("theta", theta)
    if tuple(theta.shape) != (net.size,):
        raise ValueError(f"theta must have shape ({net.size},) for sizes {list(net.sizes)}, got {tuple(theta.shape)}")
    entered = backend.asarray(theta, dtype, copy=True)
    _check_finite("theta", entered)
    return entered


def features(net: Network, x: Any, backend: Backend, dtype: str, *, argument: str = "x") -> Array:
    """x (n, d) on the device: images stay uint8, other numbers become ``dtype``.

    ``TypeError`` if x does not hold real numbers; ``ValueError`` for a wrong shape, no samples, NaN or infinity.
    """
    checks.instance("net", net, Network)
    x = numbers(argument, x)
    checks.rows(argument, x, net.sizes[0])
    entered = backend.asarray(x, None if checks.dtype_name(x.dtype) == "uint8" else dtype)
    _check_finite(argument, entered)
    return entered


def targets(net: Network, y: Any, n: int, backend: Backend, dtype: str, *, argument: str = "y") -> Array:
    """The labels or values y of n samples as targets (n, k) on the device.

    The loss decides what it accepts.  ``TypeError`` if y does not hold real numbers; ``ValueError`` names the first
    wrong entry.
    """
    y = to_numpy(numbers(argument, y))
    if y.shape[:1] != (n,):
        raise ValueError(f"{argument} must hold one row for each of the {n} samples, got shape {y.shape}")
    _check_finite(argument, y)
    if net.head.accepts is not None:
        _accept(argument, y, *net.head.accepts(y, net.sizes[-1]))
    with np.errstate(over="ignore"):
        encoded = net.head.encode(y, (n, net.sizes[-1]), np.dtype(dtype))
    _check_finite(argument, encoded)
    return backend.asarray(encoded)


def weights(weight: Any, n: int, backend: Backend, dtype: str, *, argument: str = "sample_weight") -> Array | None:
    """The weights (n,) of n samples on the device; None stays None.

    ``TypeError`` if they are not real numbers; ``ValueError`` for a wrong shape, for a number that is negative or not
    finite, and if all are 0.
    """
    if weight is None:
        return None
    weight = to_numpy(numbers(argument, weight))
    if weight.shape != (n,):
        raise ValueError(f"{argument} must have shape ({n},), one for each sample, got {weight.shape}")
    _check_finite(argument, weight)
    _accept(argument, weight, weight >= 0, "at least 0")
    used = weight.astype(np.float64)
    used[used < np.finfo(dtype).tiny] = 0.0  # steps treat such numbers as zero
    if not used.any():
        found = f"at most {weight.max()} in {dtype}" if weight.any() else f"{n} zeros"
        raise ValueError(f"{argument} must be above 0 for at least one sample, got {found}")
    most = float(np.finfo(dtype).max) / (HEADROOM * n)
    _accept(argument, weight, used <= most, f"at most {most:.3g} in {dtype}, for {n} samples")
    return backend.asarray(used, dtype)


def nonzero_rows(weight: np.ndarray | None) -> np.ndarray | None:
    """The indices (m,) of the samples whose weight (n,) is not 0; None if that is all samples."""
    if weight is None:
        return None
    kept = np.flatnonzero(weight)
    return None if len(kept) == weight.shape[0] else kept


def numbers(argument: str, values: Any) -> Array:
    """The values as an array; a list becomes a NumPy array."""
    checks.unmasked(argument, values)
    array = values if hasattr(values, "__array_namespace__") or hasattr(values, "__dlpack__") else _listed(values)
    if not checks.dtype_name(array.dtype).startswith(("bool", "int", "uint", "float", "bfloat")):
        raise TypeError(f"{argument} must hold real numbers, got dtype {array.dtype}")
    return array


def _listed(values: Any) -> np.ndarray:
    try:
        return np.asarray(values)
    except ValueError:  # rows of different lengths
        return np.empty(0, dtype=object)


def _check_finite(argument: str, x: Array) -> None:
    """Check that x holds no NaN and no infinity.  A finite sum proves it in one pass, without a temporary array."""
    xp = namespace(x)
    with np.errstate(over="ignore", invalid="ignore"):  # the sum of large finite numbers, and inf - inf
        proven = xp.isdtype(x.dtype, ("integral", "bool")) or bool(xp.isfinite(xp.sum(x)))
    if not proven:
        checks.finite(argument, to_numpy(x))


def _accept(argument: str, y: np.ndarray, good: np.ndarray, expected: str) -> None:
    """Check that every entry is good; the error names the first one that is not."""
    if not good.all():
        index = tuple(np.argwhere(~good)[0].tolist())
        raise checks.BadNumberError(argument, index, f"{expected}, got {{}} = {y[index]}")
