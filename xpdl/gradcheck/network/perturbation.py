"""The numeric derivative of a network's cost, from changes of single pre-activations.

Every entry of W_l and b_l acts through z_l = x_l W_l + b_l alone: a change h of W_l[i, j] moves z_l[s, j], of sample s,
by h x_l[s, i].  So it is enough to move each unit of each sample once, and the numeric gradient is

    dW_l = x_l^T dz_l,   db_l = sum of dz_l over the samples,   dz_l[s, j] = numeric d cost / d z_l[s, j]

with n n_l derivatives for n_in n_l entries.  Samples do not meet, so that one pass moves a unit in all of them; the
layers before l stay as they are, and the next one changes by an outer product:

    z_{l+1} += change w_{l+1}[j, :],    change = (f(z_l[:, j] + h) - f(z_l[:, j])) * mask

Only from there on the network is gone through, for many units at once.

    complex step           Im cost(i h) / h                      no difference, no cancellation, crosses no kink
    central difference     (cost(h) - cost(-h)) / (2 h)

in float64, whatever the gradient under test is in.

Sources: Squire & Trapp 1998, Using complex variables to estimate derivatives; Dennis & Schnabel 1983 (step sizes).
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from xpdl.activations import identity
from xpdl.arrays import Array, device, namespace
from xpdl.losses import count
from xpdl.network import Layer, Network

Function: TypeAlias = Callable[[Array], Array]

STEP = 1e-60
"""h of the complex step: so small that h^2 vanishes beside 1 after any gain, and far above underflow."""

PROBES = 4
"""Directions in which logits are moved to see how a loss behaves."""


class Slope(NamedTuple):
    """f' of an activation f."""

    at: Function  # z -> f'(z)
    beside: Callable[[Array, Array], tuple[Array, Array]]  # z, distance -> f' to the left and to the right of z


class Point(NamedTuple):
    """Where the cost is differentiated: all that stays the same while single units are moved."""

    net: Network
    layers: Sequence[Layer]  # of the forward pass
    biases: Sequence[Array]
    masks: Sequence[Array | None]  # of each hidden layer
    y: Array  # (n, k) targets
    weight: Array | None  # (n,)
    derive: Callable[[Function], Slope]  # f, entry by entry -> f'

    @property
    def slope(self) -> Slope:
        """f' of the hidden activation."""
        return self.derive(self.net.activation.forward)

    @property
    def count(self) -> Any:
        """The number of samples, each counted by its weight."""
        return count(self.y.shape[0], self.weight)

    @property
    def share(self) -> Any:
        """What the cost of each sample is multiplied with in the mean: a number, or (n, 1)."""
        return (1 if self.weight is None else namespace(self.weight).expand_dims(self.weight, axis=1)) / self.count


def point(
    net: Network,
    theta: Array,
    x: Array,
    y: Array,
    masks: Sequence[Array | None] | None,
    weight: Array | None,
    derive: Callable[[Function], Slope],
) -> Point:
    """The forward pass at theta (P,), for samples x (n, d) with labels y and weights."""
    layers = net.forward(theta, x, masks)
    biases = [b for _, b in net.unpack(theta)]
    return Point(net, layers, biases, masks or [None] * (len(layers) - 1), net.targets(theta, x, y), weight, derive)


def eps(z: Array) -> float:
    """The unit round-off of these numbers."""
    return float(namespace(z).finfo(z.dtype).eps)


def complex_slope(f: Function) -> Slope:
    """f'(z) = Im f(z + i h) / h."""

    def at(z: Array) -> Array:
        return namespace(z).imag(f(_as_complex(z) + STEP * 1j)) / STEP

    return Slope(at, lambda z, distance: (at(z - distance), at(z + distance)))


def difference_slope(f: Function) -> Slope:
    """f'(z) by the difference quotients, with h = u^(1/3) (1 + |z|)."""

    def beside(z: Array, distance: Array) -> tuple[Array, Array]:
        h = difference_step(z)
        return (f(z) - f(z - h)) / h, (f(z + h) - f(z)) / h

    return Slope(lambda z: sum(beside(z, z)) / 2, beside)


def cost_slope(at: Point, z: Array) -> Array:
    """d cost / d z (n, k) of each sample at logits z (n, k): from the cost, whatever the loss says of it."""
    xp = namespace(z)
    unit = xp.eye(z.shape[1], dtype=z.dtype, device=device(z))

    def column(j: int) -> Array:
        def cost(moved: Array) -> Array:
            return at.net.head.value(z + xp.expand_dims(moved - z[:, j], axis=1) * unit[j, :], at.y)

        return at.derive(cost).at(z[:, j])

    return xp.stack([column(j) for j in range(z.shape[1])], axis=1)


def directions(z: Array) -> list[Array]:
    """Some vectors of signs (k,), for logits z (n, k)."""
    xp = namespace(z)
    units = xp.arange(1, z.shape[1] + 1, dtype=z.dtype, device=device(z))
    return [xp.sign(xp.sin(b * units)) for b in range(1, PROBES + 1)]


def difference_step(z: Array) -> Array:
    """The step for a difference quotient at z."""
    return eps(z) ** (1 / 3) * (1 + namespace(z).abs(z))


def complex_step(at: Point, l: int, units: slice) -> Array:
    """d cost / d z_l[:, units] (n, K) by the complex step."""
    costs = _costs(at, l, units, _as_complex(at.layers[l].z[:, units]), STEP * 1j)
    return namespace(costs).imag(costs) / STEP * at.share


def quotients(at: Point, l: int, units: slice, h: float) -> tuple[Array, Array]:
    """The backward and the forward difference quotient of the cost of moving z_l[:, units], each (n, K)."""
    z = at.layers[l].z[:, units]
    left, middle, right = (_costs(at, l, units, z, step) for step in (-h, 0.0, h))
    return (middle - left) / h * at.share, (right - middle) / h * at.share


def gradient(at: Point, dz: Sequence[Array], falling: Sequence[Array] | None = None) -> Array:
    """The gradient (P,) that follows from dz_l (n, n_l) of every layer, with L2; ``falling`` is dz where x < 0."""
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


def _costs(at: Point, l: int, units: slice, z: Array, step: complex) -> Array:
    """The cost of each sample when ``step`` moves one of the units' pre-activations z (n, K), all (n, K)."""
    xp = namespace(z)
    hidden = l < len(at.masks)
    f = at.net.activation.forward if hidden else identity.forward
    change = f(z + step) - f(z)
    mask = at.masks[l] if hidden else None
    if mask is not None:
        change = change * mask[:, units]
    onward = at.layers[l + 1] if hidden else at.layers[l]
    rows = onward.w if hidden else xp.eye(onward.z.shape[1], dtype=at.y.dtype, device=device(at.y))
    columns = xp.expand_dims(xp.matrix_transpose(change), axis=-1)  # (K, n, 1)
    moved = onward.z + columns * xp.expand_dims(rows[units, :], axis=1)  # (K, n, n_{l+1})
    return xp.matrix_transpose(at.net.head.value(_logits(at, l + 1, moved), at.y))


def _logits(at: Point, l: int, z: Array) -> Array:
    """The logits (K, n, k), from pre-activations z (K, n, n_l) of layer l."""
    xp = namespace(z)
    for layer, b, mask in zip(at.layers[l + 1 :], at.biases[l + 1 :], at.masks[l:], strict=False):
        a = at.net.activation.forward(z)
        a = a if mask is None else a * mask
        flat = xp.reshape(a, (-1, a.shape[-1])) @ xp.astype(layer.w, a.dtype, copy=False)
        z = xp.reshape(flat, (*a.shape[:-1], -1)) + b
    return z
