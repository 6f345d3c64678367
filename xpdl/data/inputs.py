"""Check samples once, when they enter xpdl, and move them to the device: x, y and weights.

Nothing is checked inside a training step: the host would have to wait until the device reports a wrong label.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
import warnings

import numpy as np

from xpdl import checks
from xpdl.arrays import Array, namespace
from xpdl.backends import Backend, backend as choose_backend
from xpdl.backends.base import to_numpy
from xpdl.network import Network
from xpdl.scaling import SAMPLED, holds_images

HEADROOM = 2.0**32
"""The sum of all weights, times the cost of a sample, may be this many times below the largest number."""


def pair(net: Network, x: Any, y: Any, backend: Backend, dtype: str, *, prefix: str = "") -> tuple[Array, Array]:
    """``features`` and ``targets`` of the same samples."""
    x = features(net, x, backend, dtype, argument=f"{prefix}x")
    return x, targets(net, y, x.shape[0], backend, dtype, argument=f"{prefix}y")


def weighted(
    net: Network,
    x: Any,
    y: Any,
    weight: Any,
    backend: Backend,
    dtype: str,
    *,
    prefix: str = "",
    argument: str = "sample_weight",
) -> tuple[Array, Array, Array | None]:
    """``features``, ``targets`` and ``weights`` of the same samples.  A target of weight 0 may be missing: NaN."""
    checks.countable(f"{prefix}x", x)
    x = features(net, x, backend, dtype, argument=f"{prefix}x")
    several = networks(net, weight, x)
    weight = weights(net, weight, x.shape[0], backend, dtype, argument=f"{prefix}{argument}")
    if weight is not None:
        host = to_numpy(weight)
        y = filled(y, host if several is None else host.max(axis=0))
    return x, targets(net, y, x.shape[0], backend, dtype, argument=f"{prefix}y"), weight


def networks(net: Network, weight: Any, x: Any) -> int | None:
    """K, if these are weights of the samples x for each of K networks, (K, n) or (K, n, k); else None.

    Weights (n, k) of a loss that takes one for each output are those of one network.
    """
    n = x.shape[0] if getattr(x, "shape", ()) else len(x) if hasattr(x, "__len__") else None
    shape = shape_of(weight)
    one = net.head.per_output and shape == (n, net.sizes[-1])
    return None if one or shape[1:2] != (n,) else shape[0]


def parameters(net: Network, theta: Any, backend: Backend, dtype: str, *, several: bool = False) -> Array:
    """A copy of theta (P,) on the device, or (K, P) if there may be several networks.

    ``ValueError`` for a wrong shape, NaN or infinity.
    """
    theta = numbers("theta", theta)
    right = theta.ndim == 1 or (several and theta.ndim == 2 and theta.shape[0] > 0)
    if not right or theta.shape[-1] != net.size:
        expected = f"({net.size},)" + several * f", or (K, {net.size}) for K networks,"
        raise ValueError(f"theta must have shape {expected} for sizes {list(net.sizes)}, got {tuple(theta.shape)}")
    entered = backend.asarray(theta, dtype, copy=True)
    _check_finite("theta", entered)
    return entered


def place(net: Network, backend: Backend, dtype: str) -> Network:
    """The network with the numbers of its scaling on the device: a training step must not copy them there."""
    if net.inputs is None or net.inputs.d is None:
        return net
    return replace(net, inputs=net.inputs.placed(lambda values: backend.asarray(values, dtype)))


def features(net: Network, x: Any, backend: Backend, dtype: str, *, argument: str = "x") -> Array:
    """x (n, d) on the device: uint8 stays uint8, which takes less memory; other numbers become ``dtype``.

    ``TypeError`` if x does not hold real numbers; ``ValueError`` for a wrong shape, no samples, NaN or infinity.
    A warning if x holds images that the network does not scale.
    """
    checks.instance("net", net, Network)
    x = numbers(argument, x)
    checks.rows(argument, x, net.sizes[0])
    warn_of_images(net, x, argument)
    entered = backend.asarray(x, None if checks.dtype_name(x.dtype) == "uint8" else dtype)
    _check_finite(argument, entered)
    return entered


def warn_of_images(net: Network, x: Array, argument: str = "x") -> None:
    """Warn if x (n, d) holds images and the network does not scale its inputs."""
    if net.inputs is not None:
        return
    if holds_images(x if isinstance(x, np.ndarray) else to_numpy(x[:: max(1, x.shape[0] // SAMPLED), :])):
        message = (
            f"{argument} holds whole numbers from 0 to 255, as images do, and the network uses them as they are; to"
            " scale them to [0, 1], give the network inputs=xpdl.Scaling.images"
        )
        warnings.warn(message, stacklevel=2)


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


def filled(y: Any, weight: np.ndarray) -> Any:
    """y with another target of the same output for each that is not finite and has the weight 0; weight (n,) or (n, k).

    What it is does not matter, as it counts 0 times; but the loss must accept it.
    """
    y = to_numpy(numbers("y", y))
    if y.dtype.kind != "f" or y.shape[:1] != weight.shape[:1]:
        return y
    given, counts = (values.reshape(len(values), -1) for values in (y, weight > 0))
    if counts.shape[1] not in (1, given.shape[1]):
        return y
    counts = np.broadcast_to(counts, given.shape)
    missing = ~(counts | np.isfinite(given))
    if not missing.any():
        return y
    others = given[counts.argmax(axis=0), np.arange(given.shape[1])]
    others = np.where(counts.any(axis=0), others, given[counts][0])
    return np.where(missing, others, given).reshape(y.shape)


def class_weights(net: Network, y: Any, factors: Mapping[Any, float] | str | None, weight: Any = None) -> Any:
    """The weights of the samples times the factors of their labels; ``weight`` if factors is None.

    ``ValueError`` if the loss tells no classes apart, or if a label of the factors is none of them.
    """
    if factors is None:
        return weight
    checks.instance("net", net, Network)
    k = net.head.classes(net.sizes[-1])
    if net.head.decide is None or not k:
        raise ValueError(f"class_weight needs an output that tells classes apart, got {checks.shorten(net.output)}")
    y = to_numpy(numbers("y", y))
    labels = net.head.decide(targets(net, y, len(y), choose_backend("numpy"), "float64")).reshape(-1)
    each = _factors(labels, factors, k)[labels]
    if weight is None:
        return each
    weight = to_numpy(numbers("sample_weight", weight))
    per_sample = weight.ndim < 2 + (networks(net, weight, y) is not None)
    return weight * (each if per_sample else each[:, None])


def _factors(labels: np.ndarray, factors: Mapping[Any, float] | str, k: int) -> np.ndarray:
    """The factor of each of k labels."""
    if isinstance(factors, str):
        checks.choice("class_weight", factors, ["balanced"])
        counts = np.bincount(labels, minlength=k)
        return len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    if not isinstance(factors, Mapping):
        raise TypeError(f"class_weight must be 'balanced' or {{label: factor}}, got {checks.shorten(factors)}")
    found = np.ones(k)
    for label, factor in factors.items():
        found[checks.integer("a label of class_weight", label, least=0, below=k)] = checks.real("class_weight", factor)
    return found


def weights(
    net: Network, weight: Any, n: int, backend: Backend, dtype: str, *, argument: str = "sample_weight"
) -> Array | None:
    """The weights (n,) of n samples, (n, k) of their outputs, or those of K networks, on the device.

    ``TypeError`` if they are not real numbers; ``ValueError`` for a wrong shape, for a number that is negative or not
    finite, and if all of a network are 0.
    """
    if weight is None:
        return None
    weight = to_numpy(numbers(argument, weight))
    several = networks(net, weight, range(n))
    net.check_weight(argument, weight, *(() if several is None else (several,)), n)
    _check_finite(argument, weight)
    _accept(argument, weight, weight >= 0, "at least 0")
    used = weight.astype(np.float64)
    used[used < np.finfo(dtype).tiny] = 0.0  # steps treat such numbers as zero
    if not used.reshape(several or 1, -1).any(axis=1).all():
        found = f"at most {weight.max()} in {dtype}" if weight.any() else f"{weight.size} zeros"
        raise ValueError(f"{argument} must be above 0 for at least one sample, got {found}")
    most = float(np.finfo(dtype).max) / (HEADROOM * n)
    _accept(argument, weight, used <= most, f"at most {most:.3g} in {dtype}, for {n} samples")
    return backend.asarray(used, dtype)


def nonzero_rows(weight: np.ndarray | None) -> np.ndarray | None:
    """The indices (m,) of the samples that have a weight other than 0; None if that is all samples."""
    if weight is None:
        return None
    kept = np.flatnonzero(weight.reshape(len(weight), -1).any(axis=1))
    return None if len(kept) == weight.shape[0] else kept


def counted(weight: np.ndarray) -> np.ndarray:
    """Whether each sample counts for each network, (K, n), by weights (K, n) or (K, n, k)."""
    counts: np.ndarray = (weight != 0).reshape(*weight.shape[:2], -1).any(axis=2)
    return counts


def numbers(argument: str, values: Any) -> Array:
    """The values as an array; a list becomes a NumPy array."""
    checks.unmasked(argument, values)
    array = values if hasattr(values, "__array_namespace__") or hasattr(values, "__dlpack__") else _listed(values)
    if not checks.dtype_name(array.dtype).startswith(("bool", "int", "uint", "float", "bfloat")):
        raise TypeError(f"{argument} must hold real numbers, got dtype {array.dtype}")
    return array


def shape_of(values: Any) -> tuple[int, ...]:
    """The shape of an array of any library, or of a list; (0,) for a list of rows of different lengths."""
    return tuple(values.shape if hasattr(values, "shape") else _listed(values).shape)


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
