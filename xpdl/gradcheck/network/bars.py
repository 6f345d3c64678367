"""Error bars: how far apart two correct gradients may be.  They do not depend on the gradient under test.

Running error analysis follows rounding errors through the network, as variances in units of u^2, u the machine epsilon.
Forward, every operation adds its own rounding:

    F_z = (|x| |w| + |b|)^2 + F_x w^2                        the error of z = x w + b
    F_x = (f'^2 F_z + a^2 + c (1 + z^2)) mask^2              the error of the next layer's x

Backward, from the dz of the loss, whose error is that of d cost / d z:

    E_z = (D + o + p^2 + |y|) / n^2                          D follows from F_z; o = 1 if ``Loss.near_one``, else 0
    E   = (|dz_next| |w|^T)^2 + E_next (w^2)^T               the error of da
    E_z = (E f'^2 + da^2 (f'^2 + c (1 + F_z))) mask^2        the error of dz

c is 0 where f is linear near z, else 1 (linearity.py).  The expected error of an entry is u kappa,

    kappa_W = |x|^T |dz| + sqrt((x^2)^T E_z + F_x^T dz^2)    kappa_b = sum |dz| + sqrt(sum E_z)

The first term is the sum of the absolute values of all summands.  Source: Higham 2002, Accuracy and Stability of
Numerical Algorithms, chapters 3 and 4.
"""

from collections.abc import Sequence
from typing import NamedTuple

from xpdl.arrays import Array, namespace
from xpdl.gradcheck.linearity import derivative_and_curvature
from xpdl.gradcheck.network.perturbation import Point, cost_derivative, sign_vectors
from xpdl.scaling import rounded_size

LOGIT_MOVE = 1e-4
"""How far logits are moved, relative to 1 + |z|, to see how d cost / d z changes with them."""


class LayerErrors(NamedTuple):
    """The error variances of a layer's forward pass."""

    x: Array  # (n, n_in)
    z: Array  # (n, n_out)
    fprime: Array  # (n, n_out) f'(z)
    curved: Array  # (n, n_out) c


def kappa(at: Point, dz: Sequence[Array], forward: Sequence[LayerErrors]) -> Array:
    """kappa (P,) of every entry of the gradient, from the numeric dz_l (n, n_l) of every layer."""
    xp = namespace(at.y)
    backward = [_output_error(at, forward[-1].z)]
    for l in reversed(range(len(at.masks))):
        backward.insert(0, _hidden_error(at, l, dz[l + 1], backward[0], forward[l]))
    parts = []
    for layer, errors, d, e in zip(at.layers, forward, dz, backward, strict=True):
        x = xp.matrix_transpose(layer.x)
        spread = xp.sqrt((x * x) @ e + xp.matrix_transpose(errors.x) @ (d * d))
        w = xp.abs(x) @ xp.abs(d) + spread + (at.net.l2 / at.count) * xp.abs(layer.w)
        parts.append((w, xp.sum(xp.abs(d), axis=0) + xp.sqrt(xp.sum(e, axis=0))))
    return at.net.pack(parts)


def forward_errors(at: Point) -> list[LayerErrors]:
    """The error variances of the forward pass, layer by layer."""
    xp = namespace(at.y)
    x_error = rounded_size(at.net.inputs, at.layers[0].x) ** 2
    forward = []
    for l, (layer, b) in enumerate(zip(at.layers, at.biases, strict=True)):
        size = xp.abs(layer.x) @ xp.abs(layer.w) + xp.abs(b)
        z_error = size * size + x_error @ (layer.w * layer.w)
        fprime, curved = derivative_and_curvature(at.fprime(l).at, layer.z)
        forward.append(LayerErrors(x_error, z_error, fprime, curved))
        if l < len(at.masks):
            a_error = fprime * fprime * z_error + layer.a * layer.a + curved * (1 + layer.z * layer.z)
            x_error = _masked(at, l, a_error)
    return forward


def _hidden_error(at: Point, l: int, dz: Array, error: Array, forward: LayerErrors) -> Array:
    """The error variance of dz of hidden layer l, from dz of the next layer and its error."""
    xp = namespace(at.y)
    w = xp.matrix_transpose(at.layers[l + 1].w)
    size, da = xp.abs(dz) @ xp.abs(w), dz @ w
    square = forward.fprime * forward.fprime
    from_f = da * da * (square + forward.curved * (1 + forward.z))
    return _masked(at, l, (size * size + error @ (w * w)) * square + from_f)


def _masked(at: Point, l: int, variance: Array) -> Array:
    mask = at.masks[l]
    return variance if mask is None else variance * mask * mask


def _output_error(at: Point, error_z: Array) -> Array:
    """The error variance of dz of the output layer."""
    xp, head = namespace(at.y), at.net.head
    p = head.predict(at.layers[-1].z)
    rounding = (p * p + xp.abs(at.y)) * at.each * at.each
    if head.error_variance is None:
        return _from_cost(at, error_z) * at.share * at.share + rounding
    return head.error_variance(p, error_z) * at.each * at.each + rounding


def _from_cost(at: Point, error_z: Array) -> Array:
    """The error variance of d cost / d z: its change with errors of z and of z - y, the largest of several signs."""
    xp, z = namespace(at.y), at.layers[-1].z
    error = xp.sqrt(error_z + at.y * at.y)
    t = LOGIT_MOVE * (1 + xp.max(xp.abs(z), axis=1, keepdims=True)) / (xp.max(error, axis=1, keepdims=True) + 1e-300)
    base = cost_derivative(at, z)
    changes = [(cost_derivative(at, z + t * error * signs) - base) / t for signs in sign_vectors(z)]
    return xp.max(xp.stack([change * change for change in changes]), axis=0) + float(at.net.head.near_one)
