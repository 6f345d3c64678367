"""The quantities of a forward and a backward pass, and the error that each may have.

Every quantity is compared with its float64 value *from the same inputs*: from the x, z, a, da and dz that the backend
itself computed before.  So an error is found where it is made; it neither hides another error nor spreads, and at a
kink of the activation both values belong to the same z.  The bar covers the rounding of one step: u (32 size + m / 2
partial), u the machine epsilon, m the number of terms in a sum, and partial the size that partial sums may reach.

    quantity                     size                               partial
    x  = a * mask                |x|
    z  = x w + b                 |x| |w| + |b|                      |z| + size / 8
    a  = f(z)                    |a| + |f'(z) z| + c (1 + |z|)
    cost of a sample             o + |cost| + sum |y s| + e         size
    dz of the loss  (output)     the larger of (o + |p| + |y|) / n and |dz|
    dw = x^T dz + l2/n w         |x|^T |dz| + l2/n |w|              size
    db = sum dz                  sum |dz|                           size
    da = dz w^T * mask           |dz| |w|^T mask                    |da| + size / 8
    dz = f'(z) da                |da| (|f'(z)| + c (1 + |z|))

c is 0 where f is linear near z, else 1 (linearity.py).  o is 1 if p is computed from numbers near 1
(``Loss.near_one``), else 0.  e is sum |n dz| (|z| + |y|) for a loss without ``error_variance``, else 0.  Samples may be
sorted by label, so a partial sum over samples may be as large as the sum of all absolute values; a partial sum over
units is more like a random walk.  Source: Higham 2002, Accuracy and Stability of Numerical Algorithms, chapters 3 and
4.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from xpdl.activations import Activation
from xpdl.arrays import Array
from xpdl.gradcheck.linearity import derivative_and_curvature
from xpdl.gradcheck.problem import Problem
from xpdl.gradcheck.report import Parameter, Vector, judge
from xpdl.network import Layer
from xpdl.scaling import rounded_size

SAFETY = 32.0
"""The factor 32 in a bar.  In 7,200 passes through random networks the largest error was a ninth of a bar."""


class Computed(NamedTuple):
    """Everything that a backend computed on the way to the gradient, as NumPy arrays of float64."""

    layers: list[Layer]
    cost: Vector  # (n,)
    dz: list[Vector]  # of every layer
    da: list[Vector]  # of every hidden layer, after its mask
    grad: Vector  # (P,)


def compute(problem: Problem) -> Computed:
    """Compute ``net.loss_and_grad``, and keep all intermediate results."""
    hidden: list[tuple[Vector, Vector]] = []  # da and dz of every hidden layer

    def fetch(values: Array) -> Vector:
        return np.array(problem.home.to_numpy(values), np.float64)

    def watched(f: Activation) -> Activation:
        def backward(da: Array, z: Array, a: Array) -> Array:
            before, dz = fetch(da), f.backward(da, z, a)
            hidden.insert(0, (before, fetch(dz)))
            return dz

        return Activation(f.forward, backward)

    net = replace(problem.net, hidden=[watched(f) for f in problem.net.activations])
    with problem.home.activate():
        layers = net.forward(problem.theta, problem.x, problem.masks)
        cost, delta = net.head.value_and_delta(layers[-1].z, problem.y)
        grad = net.backward(layers, delta, problem.masks)
        fetched = [Layer(*map(fetch, layer)) for layer in layers]
        dz, da = [*(dz for _, dz in hidden), fetch(delta)], [da for da, _ in hidden]
        return Computed(fetched, fetch(cost), dz, da, fetch(grad))


class Comparison(NamedTuple):
    """A quantity, its float64 value from the same inputs, and the error it may have, in machine epsilons."""

    name: str
    actual: Vector
    expected: Vector
    error: Vector


def compare_forward(exact: Problem, x: Vector, ran: Computed) -> Iterator[Comparison]:
    """x, z and a of every layer, and the cost; x (n, d) is the input of the first layer."""
    functions, masks = exact.net.activations, _masks(exact)
    for l, (layer, (w, b)) in enumerate(zip(ran.layers, exact.net.unpack(exact.theta), strict=True), 1):
        scaling = exact.net.inputs if l == 1 else None
        yield Comparison(f"x{l}", layer.x, x, SAFETY * rounded_size(scaling, x))
        z = layer.x @ w + b
        size = np.abs(layer.x) @ np.abs(w) + np.abs(b)
        yield Comparison(f"z{l}", layer.z, z, SAFETY * size + len(w) / 2 * (np.abs(z) + size / 8))
        if l <= len(masks):
            f = functions[l - 1]
            a = f.forward(layer.z)
            fprime, rough = _derivative(f, layer.z)
            yield Comparison(f"a{l}", layer.a, a, SAFETY * (np.abs(a) + fprime * np.abs(layer.z) + rough))
            x = layer.a * masks[l - 1]
    yield _compare_cost(exact, ran)


def _compare_cost(exact: Problem, ran: Computed) -> Comparison:
    """The cost of each sample."""
    head, z, y = exact.net.head, ran.layers[-1].z, exact.y
    cost = head.value(z, y)
    size = head.near_one + np.abs(cost) + np.sum(np.abs(y * head.scores(z)), axis=1)
    if head.error_variance is None:
        size = size + np.sum(np.abs(len(z) * head.delta(z, y)) * (np.abs(z) + np.abs(y)), axis=1)
    return Comparison("cost", ran.cost, cost, (SAFETY + z.shape[1] / 2) * size)


def compare_backward(exact: Problem, ran: Computed) -> Iterator[Comparison]:
    """dz, dw, db and da of every layer, the last layer first."""
    yield _compare_delta(exact, ran)
    n, functions, masks = len(exact.y), exact.net.activations, _masks(exact)
    weights, grads = exact.net.unpack(exact.theta), exact.net.unpack(ran.grad)
    for l in reversed(range(len(weights))):
        x, dz, w, decay = ran.layers[l].x, ran.dz[l], weights[l][0], exact.net.l2 / n
        size = np.abs(x).T @ np.abs(dz) + decay * np.abs(w)
        yield Comparison(f"dw{l + 1}", grads[l][0], x.T @ dz + decay * w, (SAFETY + n / 2) * size)
        yield Comparison(f"db{l + 1}", grads[l][1], np.sum(dz, axis=0), (SAFETY + n / 2) * np.sum(np.abs(dz), axis=0))
        if l > 0:
            da, size = dz @ w.T * masks[l - 1], np.abs(dz) @ np.abs(w).T * np.abs(masks[l - 1])
            yield Comparison(f"da{l}", ran.da[l - 1], da, SAFETY * size + w.shape[1] / 2 * (np.abs(da) + size / 8))
            below, da, f = ran.layers[l - 1], ran.da[l - 1], functions[l - 1]
            fprime, rough = _derivative(f, below.z)
            error = SAFETY * np.abs(da) * (fprime + rough)
            yield Comparison(f"dz{l}", ran.dz[l - 1], f.backward(da, below.z, below.a), error)


def _compare_delta(exact: Problem, ran: Computed) -> Comparison:
    """dz of the output layer."""
    head, z, n = exact.net.head, ran.layers[-1].z, len(exact.y)
    dz = head.delta(z, exact.y)
    size = np.maximum(head.near_one + np.abs(head.predict(z)) + np.abs(exact.y), n * np.abs(dz))
    return Comparison(f"dz{len(ran.layers)}", ran.dz[-1], dz, SAFETY / n * size)


def _masks(exact: Problem) -> list[Any]:
    """The mask of each hidden layer; 1 if it has none."""
    masks = exact.masks or [None] * (len(exact.net.sizes) - 2)
    return [1.0 if mask is None else mask for mask in masks]


def _derivative(f: Activation, z: Vector) -> tuple[Vector, Vector]:
    """|f'(z)| and c (1 + |z|).  Near 0, f' must be the same, too: a saturated f is not linear."""

    def fprime(z: Vector) -> Vector:
        return np.asarray(f.backward(np.ones_like(z), z, f.forward(z)))

    here, curved = derivative_and_curvature(fprime, z, z / np.maximum(1.0, np.abs(z)))
    return np.abs(here), curved * (1 + np.abs(z))


def judged(comparison: Comparison, dtype: str) -> Parameter:
    """The verdict on a quantity; a library may flush numbers below smallest_normal / eps to 0.

    If an earlier fault has left NaN or infinity as an input, an entry that follows from it does not fail.
    """
    eps, smallest = float(np.finfo(dtype).eps), float(np.finfo(dtype).smallest_normal)
    name, actual, expected, error = comparison
    bar = (eps + float(np.finfo(np.float64).eps)) * error + smallest / eps
    lost = ~np.isfinite(actual) & ((actual == expected.astype(dtype)) | np.isnan(expected))
    actual, expected = (np.where(lost, 0.0, values) for values in (actual, expected))
    return judge(name, actual, expected, np.nan_to_num(bar, nan=np.inf, posinf=np.inf))
