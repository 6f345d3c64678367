"""The numeric derivative of a network's cost, from changes of single pre-activations.

Every entry of W_l and b_l acts through z_l = x_l W_l + b_l alone: a change h of W_l[i, j] moves z_l[s, j], of sample s,
by h x_l[s, i].  So it is enough to move each unit of each sample once, and the numeric gradient is

    dW_l = x_l^T dz_l,   db_l = sum of dz_l over the samples,   dz_l[s, j] = numeric d cost / d z_l[s, j]

with n n_l derivatives for n_in n_l entries.  Samples do not meet, so that one pass moves a unit in all of them; the
layers before l stay as they are, and the next one changes by an outer product:

    z_{l+1} += change w_{l+1}[j, :],    change = (f(z_l[:, j] + h) - f(z_l[:, j])) * mask

Only from there on the network is gone through, for many units at once.

    complex step           Im cost(i h) / h, h = 1e-20           no difference, no cancellation, crosses no kink
    central difference     (cost(h) - cost(-h)) / (2 h)

Sources: Squire & Trapp 1998, Using complex variables to estimate derivatives; Dennis & Schnabel 1983 (step sizes).
"""

from collections.abc import Sequence
from typing import NamedTuple

from xpdl.activations import identity
from xpdl.arrays import Array, device, namespace
from xpdl.network import Layer, Network

COMPLEX_STEP = 1e-20


class Point(NamedTuple):
    """Where the cost is differentiated: all that stays the same while single units are moved."""

    net: Network
    layers: Sequence[Layer]  # of the forward pass
    biases: Sequence[Array]
    masks: Sequence[Array | None]  # of each hidden layer
    y: Array  # (n, k) targets


def point(net: Network, theta: Array, x: Array, y: Array, masks: Sequence[Array | None] | None) -> Point:
    """The forward pass at theta (P,), for samples x (n, d) with labels y."""
    layers = net.forward(theta, x, masks)
    biases = [b for _, b in net.unpack(theta)]
    return Point(net, layers, biases, masks or [None] * (len(layers) - 1), net.targets(theta, x, y))


def complex_step(at: Point, l: int, units: slice, shift: Array | float = 0.0) -> Array:
    """d cost / d z_l[:, units] (n, K) by the complex step, at z_l + shift."""
    xp = namespace(at.y)
    z = xp.astype(at.layers[l].z[:, units], xp.complex128 if at.y.dtype == xp.float64 else xp.complex64)
    return xp.imag(_costs(at, l, units, z, shift + COMPLEX_STEP * 1j)) / (COMPLEX_STEP * at.y.shape[0])


def quotients(at: Point, l: int, units: slice, h: float) -> tuple[Array, Array]:
    """The backward and forward difference quotients for d cost / d z_l[:, units], each (n, K)."""
    z = at.layers[l].z[:, units]
    left, middle, right = (_costs(at, l, units, z, step) for step in (-h, 0.0, h))
    n = at.y.shape[0]
    return (middle - left) / (h * n), (right - middle) / (h * n)


def slope(at: Point, z: Array) -> Array:
    """f'(z) of the hidden activation by the complex step, for real z of any shape."""
    xp = namespace(z)
    moved = xp.astype(z, xp.complex128 if z.dtype == xp.float64 else xp.complex64) + COMPLEX_STEP * 1j
    return xp.imag(at.net.activation.forward(moved)) / COMPLEX_STEP


def gradient(at: Point, dz: Sequence[Array]) -> Array:
    """The gradient (P,) that follows from dz_l (n, n_l) of every layer, with the L2 term."""
    xp = namespace(at.y)
    weights = [xp.matrix_transpose(layer.x) @ d for layer, d in zip(at.layers, dz, strict=True)]
    if at.net.l2:
        weights = [dw + (at.net.l2 / at.y.shape[0]) * layer.w for dw, layer in zip(weights, at.layers, strict=True)]
    return at.net.pack([(dw, xp.sum(d, axis=0)) for dw, d in zip(weights, dz, strict=True)])


def _costs(at: Point, l: int, units: slice, z: Array, step: Array | complex) -> Array:
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
