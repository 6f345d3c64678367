"""Losses: what stands behind the last layer, as functions of its logits z (..., n, k).

    y     = encode(labels, (n, k), dtype)   targets (n, k)
    s     = scores(z)                       what response and cost share: log p for softmax, else z itself
    p     = response(s)                     probabilities, or values                                   (..., n, k)
    cost(s, y)                              the cost of each sample                                    (..., n)
    dz    = (p - y) / n                     the derivative of the mean cost, the same for all three    (..., n, k)

Working on logits keeps everything finite: no logarithm is ever taken of a clipped probability.
"""

from collections.abc import Callable
import math
from typing import NamedTuple

from xpdl.activations import identity, sigmoid, softplus
from xpdl.arrays import Array, device, namespace, real


class Loss(NamedTuple):
    """An output activation with the cost that belongs to it (the canonical link)."""

    encode: Callable[[Array, tuple[int, int], object], Array]
    scores: Callable[[Array], Array]
    response: Callable[[Array], Array]
    cost: Callable[[Array, Array], Array]
    decide: Callable[[Array], Array] | None  # p -> labels; None where outputs are values

    def predict(self, z: Array) -> Array:
        """p (..., n, k)."""
        return self.response(self.scores(z))

    def value(self, z: Array, y: Array) -> Array:
        """The cost of each sample (..., n)."""
        return self.cost(self.scores(z), y)

    def delta(self, z: Array, y: Array, weight: Array | None = None) -> Array:
        """dz = (p - y) / n, or (p - y) weight / sum of weight with weights (n,) of the samples."""
        return self.value_and_delta(z, y, weight)[1]

    def value_and_delta(
        self, z: Array, y: Array, weight: Array | None = None, n: int | Array | None = None
    ) -> tuple[Array, Array]:
        """``value`` and ``delta``, from the same scores; n is the sum of the weights, unless it is given."""
        s = self.scores(z)
        dz = self.response(s) - y
        if weight is not None:
            dz *= weight[:, None]
        dz /= count(z.shape[-2], weight) if n is None else n
        return self.cost(s, y), dz


def count(n: int, weight: Array | None) -> int | Array:
    """The number of n samples, each counted by its weight (n,)."""
    return n if weight is None else namespace(weight).sum(weight)


def _one_hot(y: Array, shape: tuple[int, int], dtype: object) -> Array:
    """Labels (n,) or (n, 1) in 0..k-1 -> targets (n, k); one-hot or probability rows (n, k) stay what they are.

    Any other label gives a row of NaN: a cost that cannot be overlooked, where raising would make the device wait.
    """
    n, k = shape
    xp = namespace(y)
    if y.shape not in ((n,), (n, 1), shape):
        raise ValueError(f"y must be labels ({n},) or one-hot rows ({n}, {k}), got shape {tuple(y.shape)}")
    y = xp.astype(y, dtype, copy=False)
    if y.shape == shape and k > 1:
        return y
    if y.shape == shape:  # one class: its label is 0, its one-hot row is 1
        y = y * (1 - y)
    hit = xp.reshape(y, (n, 1)) == xp.arange(k, dtype=dtype, device=device(y))
    return xp.where(xp.any(hit, axis=1, keepdims=True), xp.astype(hit, dtype), math.nan)


def _columns(y: Array, shape: tuple[int, int], dtype: object) -> Array:
    """Targets (n, k); for a single output (n,) will do."""
    n, k = shape
    if y.shape != shape and not (k == 1 and y.shape == (n,)):
        raise ValueError(f"y must have shape ({n}, {k}){f' or ({n},)' if k == 1 else ''}, got {tuple(y.shape)}")
    xp = namespace(y)
    return xp.reshape(xp.astype(y, dtype, copy=False), shape)


def _log_softmax(z: Array) -> Array:
    xp = namespace(z)
    s = z - xp.max(real(z), axis=-1, keepdims=True)
    s -= xp.log(xp.sum(xp.exp(s), axis=-1, keepdims=True))
    return s


def _cross_entropy(s: Array, y: Array) -> Array:
    return -namespace(s).sum(y * s, axis=-1)


def _binary_cross_entropy(z: Array, y: Array) -> Array:
    return namespace(z).sum(softplus.forward(z) - y * z, axis=-1)


def _half_squared_error(z: Array, y: Array) -> Array:
    e = z - y
    return 0.5 * namespace(z).sum(e * e, axis=-1)


def _largest(p: Array) -> Array:
    return namespace(p).argmax(p, axis=-1)


def _above_half(p: Array) -> Array:
    xp = namespace(p)
    return xp.astype(p > 0.5, xp.int32)


softmax = Loss(_one_hot, _log_softmax, lambda s: namespace(s).exp(s), _cross_entropy, _largest)
"""p_j = exp(z_j) / sum_i exp(z_i), cost = -sum_j y_j log p_j (Bridle 1990), after a shift of z by max Re z."""

binary = Loss(_columns, identity.forward, sigmoid.forward, _binary_cross_entropy, _above_half)
"""p = 1 / (1 + exp(-z)), cost = -sum_j (y_j log p_j + (1 - y_j) log(1 - p_j)) = sum_j log(1 + exp(z_j)) - y_j z_j."""

linear = Loss(_columns, identity.forward, identity.forward, _half_squared_error, None)
"""p = z, cost = 1/2 sum_j (z_j - y_j)^2."""

LOSSES: dict[str, Loss] = {"softmax": softmax, "sigmoid": binary, "linear": linear}
