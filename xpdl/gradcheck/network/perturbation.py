"""The numeric derivative of a network's cost, from changes of single pre-activations.

Every entry of W_l and b_l acts through z_l = x_l W_l + b_l alone: a change h of W_l[i, j] moves z_l[s, j], of sample s,
by h x_l[s, i].  So each unit of each sample is moved only once, and the numeric gradient is

    dW_l = x_l^T dz_l,   db_l = sum of dz_l over the samples,   dz_l[s, j] = numeric d cost / d z_l[s, j]

This takes n n_l derivatives for n_in n_l entries.  The cost of a sample depends on that sample alone, so one pass moves
a unit in all samples.  The layers before l stay as they are, and the next one changes by an outer product:

    z_{l+1} += change w_{l+1}[j, :],    change = (f(z_l[:, j] + h) - f(z_l[:, j])) * mask

Only the layers after it are computed again, for many units at once.

    complex step           Im cost(i h) / h                      no difference, no cancellation, crosses no kink
    central difference     (cost(h) - cost(-h)) / (2 h)

All this is in float64, even if the gradient under test is in float32.

Sources: Squire & Trapp 1998, Using complex variables to estimate derivatives; Dennis & Schnabel 1983 (step sizes).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from xpdl.activations import identity
from xpdl.arrays import Array, device, namespace
from xpdl.gradcheck.linearity import Function
from xpdl.losses import count
from xpdl.network import Layer, Network

COMPLEX_STEP = 1e-60
"""h of the complex step: so small that h^2 vanishes beside 1 after any gain, and far above underflow in float64."""

LOGIT_DIRECTIONS = 4
"""The number of directions in which logits are moved to test a loss."""


TOGETHER = 2**16
"""The most logits of all moved points that are computed in one pass."""


class EntrywiseDerivative(NamedTuple):
    """f' of a function f that works entry by entry."""

    at: Function  # z -> f'(z)
    beside: Callable[[Array, Array], tuple[Array, Array]]  # z, distance -> f' to the left and to the right of z


class Point(NamedTuple):
    """The point at which the cost is differentiated: everything that stays the same while single units are moved."""

    net: Network
    layers: Sequence[Layer]  # of the forward pass
    biases: Sequence[Array]
    masks: Sequence[Array | None]  # of each hidden layer
    y: Array  # (n, k) targets
    weight: Array | None  # (n,) or (n, k)
    derive: Callable[[Function], EntrywiseDerivative]  # f, entry by entry -> f'

    @property
    def functions(self) -> list[Function]:
        """The activation of each layer."""
        return [*(f.forward for f in self.net.activations), identity.forward]

    def fprime(self, l: int) -> EntrywiseDerivative:
        """f' of the activation of a layer."""
        return self.derive(self.functions[l])

    def costs(self, z: Array) -> Array:
        """The cost of each sample (..., n) at logits z (..., n, k), with the weights of its outputs if it has any."""
        return self.net.head.value(z, self.y, self.weight)

    @property
    def count(self) -> Any:
        """The number of samples, each counted by its weight."""
        return count(self.y.shape[0], self.weight)

    @property
    def share(self) -> Any:
        """The factor of each of the ``costs`` in the mean: a number, or (n, 1)."""
        return 1 / self.count if self.weight is None or self.weight.ndim == 2 else self.each

    @property
    def each(self) -> Any:
        """The factor of the cost of each output, without its weight, in the mean: a number, (n, 1), or (n, k)."""
        if self.weight is None:
            return self.share
        weight = self.weight if self.weight.ndim == 2 else namespace(self.weight).expand_dims(self.weight, axis=1)
        return weight / self.count


def point(
    net: Network,
    theta: Array,
    x: Array,
    y: Array,
    masks: Sequence[Array | None] | None,
    weight: Array | None,
    derive: Callable[[Function], EntrywiseDerivative],
) -> Point:
    """The forward pass at theta (P,), for samples x (n, d) with labels y and weights."""
    layers = net.forward(theta, x, masks)
    biases = [b for _, b in net.unpack(theta)]
    return Point(net, layers, biases, masks or [None] * (len(layers) - 1), net.targets(theta, x, y), weight, derive)


def eps(z: Array) -> float:
    """The machine epsilon of the dtype of z."""
    return float(namespace(z).finfo(z.dtype).eps)


def complex_derivative(f: Function) -> EntrywiseDerivative:
    """f'(z) = Im f(z + i h) / h."""

    def at(z: Array) -> Array:
        return namespace(z).imag(f(_as_complex(z) + COMPLEX_STEP * 1j)) / COMPLEX_STEP

    return EntrywiseDerivative(at, lambda z, distance: (at(z - distance), at(z + distance)))


def difference_derivative(f: Function) -> EntrywiseDerivative:
    """f'(z) by difference quotients, with h = u^(1/3) (1 + |z|)."""

    def beside(z: Array, distance: Array) -> tuple[Array, Array]:
        h = difference_step(z)
        return (f(z) - f(z - h)) / h, (f(z + h) - f(z)) / h

    return EntrywiseDerivative(lambda z: sum(beside(z, z)) / 2, beside)


def cost_derivative(at: Point, z: Array) -> Array:
    """d cost / d z (n, k) of each sample at logits z (n, k), from the cost alone, not from the loss's derivative."""
    xp = namespace(z)
    rows = [derivative.at(moved) for derivative, moved in _in_logits(at, z, z)]
    return xp.matrix_transpose(xp.concat(rows))


def cost_derivatives_beside(at: Point, z: Array, distance: Array) -> tuple[Array, Array]:
    """The same (n, k) to the left and to the right of each logit, at a distance (n, k)."""
    xp = namespace(z)
    sides = [derivative.beside(moved, away) for derivative, moved, away in _in_logits(at, z, z, distance)]
    left, right = (xp.matrix_transpose(xp.concat(side)) for side in zip(*sides, strict=True))
    return left, right


def _in_logits(at: Point, z: Array, *arrays: Array) -> Iterator[tuple[Any, ...]]:
    """The derivative of the costs in K logits (K, n), each moved alone, and these columns of arrays (n, k)."""
    xp, k = namespace(z), z.shape[1]
    unit = xp.expand_dims(xp.eye(k, dtype=z.dtype, device=device(z)), axis=1)  # (k, 1, k)
    most = max(1, TOGETHER // z.size)
    for part in (slice(start, min(start + most, k)) for start in range(0, k, most)):

        def costs(moved: Array, part: slice = part) -> Array:
            change = moved - xp.matrix_transpose(z[:, part])
            return at.costs(z + xp.expand_dims(change, axis=-1) * unit[part, :, :])

        yield at.derive(costs), *(xp.matrix_transpose(array[:, part]) for array in arrays)


def sign_vectors(z: Array) -> list[Array]:
    """Some vectors of signs (k,), along which logits z (n, k) are moved."""
    xp = namespace(z)
    units = xp.arange(1, z.shape[1] + 1, dtype=z.dtype, device=device(z))
    return [xp.sign(xp.sin(b * units)) for b in range(1, LOGIT_DIRECTIONS + 1)]


def difference_step(z: Array) -> Array:
    """The step of a difference quotient at z."""
    return eps(z) ** (1 / 3) * (1 + namespace(z).abs(z))


def complex_step(at: Point, l: int, units: slice) -> Array:
    """d cost / d z_l[:, units] (n, K) by the complex step."""
    costs = _costs(at, l, units, _as_complex(at.layers[l].z[:, units]), COMPLEX_STEP * 1j)
    return namespace(costs).imag(costs) / COMPLEX_STEP * at.share


def quotients(at: Point, l: int, units: slice, h: Array) -> tuple[Array, Array, Array]:
    """The backward and the forward difference quotient of the cost in z_l[:, units], and the largest cost / h.

    All are (n, K), and so is h.
    """
    xp, z = namespace(at.y), at.layers[l].z[:, units]
    left, middle, right = (_costs(at, l, units, z, step) * at.share for step in (-h, 0 * h, h))
    size = xp.maximum(xp.maximum(xp.abs(left), xp.abs(right)), xp.abs(middle))
    return (middle - left) / h, (right - middle) / h, size / h


def gradient(at: Point, dz: Sequence[Array], falling: Sequence[Array] | None = None) -> Array:
    """The gradient (P,) from dz_l (n, n_l) of every layer, with L2; where x < 0, ``falling`` takes the place of dz."""
    xp = namespace(at.y)
    parts = []
    for layer, d, other in zip(at.layers, dz, falling or dz, strict=True):
        x = xp.matrix_transpose(layer.x)
        dw = x @ d if d is other else xp.maximum(x, 0.0) @ d + xp.minimum(x, 0.0) @ other
        parts.append((dw + (at.net.l2 / at.count) * layer.w, xp.sum(d, axis=0)))
    return at.net.pack(parts)


def _as_complex(z: Array) -> Array:
    xp = namespace(z)
    return xp.astype(z, xp.complex128)


def _costs(at: Point, l: int, units: slice, z: Array, step: complex | Array) -> Array:
    """The cost of each sample (n, K) if one unit is moved: its pre-activation, a column of z (n, K), by ``step``."""
    xp = namespace(z)
    hidden = l < len(at.masks)
    f = at.functions[l]
    change = f(z + step) - f(z)
    mask = at.masks[l] if hidden else None
    if mask is not None:
        change = change * mask[:, units]
    onward = at.layers[l + 1] if hidden else at.layers[l]
    rows = onward.w if hidden else xp.eye(onward.z.shape[1], dtype=at.y.dtype, device=device(at.y))
    columns = xp.expand_dims(xp.matrix_transpose(change), axis=-1)  # (K, n, 1)
    moved = onward.z + columns * xp.expand_dims(rows[units, :], axis=1)  # (K, n, n_{l+1})
    return xp.matrix_transpose(at.costs(_logits(at, l + 1, moved)))


def _logits(at: Point, l: int, z: Array) -> Array:
    """The logits (K, n, k) that follow from pre-activations z (K, n, n_l) of layer l."""
    xp = namespace(z)
    functions = at.functions[l:]
    for f, layer, b, mask in zip(functions, at.layers[l + 1 :], at.biases[l + 1 :], at.masks[l:], strict=False):
        a = f(z)
        a = a if mask is None else a * mask
        flat = xp.reshape(a, (-1, a.shape[-1])) @ xp.astype(layer.w, a.dtype, copy=False)
        z = xp.reshape(flat, (*a.shape[:-1], -1)) + b
    return z
