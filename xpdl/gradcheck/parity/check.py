"""``check_backends``: does the same computation come out the same on several array libraries and devices?

Every quantity of the forward and of the backward pass is compared with its float64 value *from the same inputs*: from
the x, z, a, da and dz that the backend itself made before.  So an error is found where it is made, neither hides
another one nor spreads, and at a kink of the activation both sides look at the same z.  The bar needs no more than the
rounding of one step: 64 u size + m u partial, u the unit round-off, m the number of terms in a sum, and partial how
large sums of some of them get.

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

c is 0 where f is linear around z, else 1; o is 1 if p is computed from numbers near 1 (``Loss.near_one``), else 0.
e is sum |n dz| (|z| + |y|) for a loss that does not say how errors spread in it (``Loss.error_variance``), else 0.
Samples may be sorted by label, so that partial sums get as large as all terms together; over units they are more of a
random walk to the end.  Source: Higham 2002, Accuracy and Stability of Numerical Algorithms, chapters 3 and 4.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
import math
import time
from typing import Any, NamedTuple

import numpy as np

from xpdl import checks
from xpdl.activations import Activation
from xpdl.arrays import Array
from xpdl.backends import Backend, available_backends, backend
from xpdl.data import inputs
from xpdl.gradcheck.network.check import Problem
from xpdl.gradcheck.parity.products import compiled_note, kept_bits
from xpdl.gradcheck.parity.report import BackendResult, BackendsReport
from xpdl.gradcheck.report import Parameter, Vector, difference, judge
from xpdl.network import Layer, Network

SAFETY = 32.0
"""The 64 u of a bar, in eps = 2 u.  In 7,200 passes through random networks the largest error was a ninth of a bar."""


def check_backends(
    net: Network,
    theta: Any,
    x: Any,
    y: Any,
    *,
    backends: Sequence[str | Backend] | None = None,
    masks: Sequence[Any] | None = None,
    dtype: str = "float32",
) -> BackendsReport:
    """Compute the cost of net and its gradient on several backends, and name what diverges first on each.

    theta, x, y  as for ``train``, in any library; some hundred samples tell as much as all
    backends     names as ``xpdl.backend`` takes them, or what it gives; default all that are ready
    masks        the dropout masks of the cost, as ``net.loss`` takes them
    dtype        in which backends compute, "float32" or "float64"; those without float64 compute in float32

    Operations run one by one, as when you call ``net.loss_and_grad``.  Where products lose bits, a note says whether
    they do in a compiled step too, as ``train`` has it.  ``ValueError`` or ``TypeError`` if an argument is wrong; a
    backend that raises anything has failed.
    """
    started = time.perf_counter()
    problem = _enter(net, theta, x, y, masks, checks.float_dtype("dtype", dtype))
    results = {home.name: _check(problem, home) for home in _chosen(backends)}
    return BackendsReport(results, time.perf_counter() - started)


def _enter(net: Network, theta: Any, x: Any, y: Any, masks: Any, dtype: str) -> Problem:
    """The problem on the host."""
    host = backend("numpy")
    x, y = inputs.pair(net, x, y, host, dtype)
    if isinstance(masks, Sequence):
        masks = [mask if mask is None else host.asarray(mask, dtype) for mask in masks]
    problem = Problem(net, host, inputs.parameters(net, theta, host, dtype), x, y, masks)
    with host.activate():
        if not np.isfinite(net.forward(problem.theta, x, masks)[-1].z).all():
            raise ValueError(f"theta must give finite logits for x in {dtype}, got NaN or infinity")
    return problem


def _chosen(backends: Any) -> list[Backend]:
    """The backends to compare, each once."""
    if backends is None:
        backends = [name for name, state in available_backends().items() if state == "ready"]
    if isinstance(backends, str) or not isinstance(backends, Sequence):
        raise TypeError(f"backends must be a list of names or backends, got {checks.shorten(backends)}")
    chosen = [backend(one) for one in backends]
    names = [home.name for home in chosen]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"backends must hold at least one, and none twice, got {names}")
    return chosen


def _check(problem: Problem, home: Backend) -> BackendResult:
    """What one backend computes."""
    dtype, notes = _precision(home, checks.dtype_name(problem.theta.dtype))
    entered = problem.on(problem.home, dtype)
    try:
        ran, bits = _run(entered.on(home, dtype)), kept_bits(entered, home)
        notes += compiled_note(entered, home, bits)
    except Exception as error:  # a library can raise anything; the others are still of interest
        failed = f"cannot compute this: {type(error).__name__}: {error}"
        return BackendResult(home.name, dtype, math.nan, {}, {}, (*notes, failed))
    exact = entered.on(problem.home, "float64")
    with problem.home.activate():
        reference = _run(exact)
        steps = [*_forward(exact, reference.layers[0].x, ran), *_backward(exact, ran)]
        quantities = {step.name: _judge(step, dtype) for step in steps}
        apart = difference(ran.grad, reference.grad)
    return BackendResult(home.name, dtype, apart, quantities, bits, notes)


def _precision(home: Backend, dtype: str) -> tuple[str, tuple[str, ...]]:
    """The dtype a backend is to compute in, and what to say of it."""
    try:
        home.admit(home, dtype)
    except ValueError:
        return "float32", (f"has no {dtype}: checked in float32",)
    return dtype, ()


class Pass(NamedTuple):
    """What a backend made, as NumPy arrays of float64."""

    layers: list[Layer]
    cost: Vector  # (n,)
    dz: list[Vector]  # of every layer
    da: list[Vector]  # of every hidden layer, after its mask
    grad: Vector  # (P,)


def _run(problem: Problem) -> Pass:
    """``net.loss_and_grad``, with what it makes on the way."""
    f = problem.net.activation
    made: list[tuple[Vector, Vector]] = []  # da and dz of every hidden layer

    def fetch(values: Array) -> Vector:
        return np.array(problem.home.to_numpy(values), np.float64)

    def backward(da: Array, z: Array, a: Array) -> Array:
        before, dz = fetch(da), f.backward(da, z, a)
        made.insert(0, (before, fetch(dz)))
        return dz

    net = replace(problem.net, hidden=Activation(f.forward, backward))
    with problem.home.activate():
        layers = net.forward(problem.theta, problem.x, problem.masks)
        cost, dz = net.head.value_and_delta(layers[-1].z, problem.y)
        grad = net.backward(layers, dz, problem.masks)
        fetched = [Layer(*map(fetch, layer)) for layer in layers]
        return Pass(fetched, fetch(cost), [*(m[1] for m in made), fetch(dz)], [m[0] for m in made], fetch(grad))


class Step(NamedTuple):
    """A quantity, what it should be, and the error it may have, in eps."""

    name: str
    actual: Vector
    expected: Vector
    error: Vector


def _forward(exact: Problem, x: Vector, ran: Pass) -> Iterator[Step]:
    """x, z and a of every layer, and the cost; x (n, d) is the input of the first."""
    f, masks = exact.net.activation, _masks(exact)
    for l, (layer, (w, b)) in enumerate(zip(ran.layers, exact.net.unpack(exact.theta), strict=True), 1):
        yield Step(f"x{l}", layer.x, x, SAFETY * np.abs(x))
        z = layer.x @ w + b
        size = np.abs(layer.x) @ np.abs(w) + np.abs(b)
        yield Step(f"z{l}", layer.z, z, SAFETY * size + len(w) / 2 * (np.abs(z) + size / 8))
        if l <= len(masks):
            a, slope, rough = _around(f, layer.z)
            yield Step(f"a{l}", layer.a, a, SAFETY * (np.abs(a) + slope * np.abs(layer.z) + rough))
            x = layer.a * masks[l - 1]
    head, z = exact.net.head, ran.layers[-1].z
    cost = head.value(z, exact.y)
    size = head.near_one + np.abs(cost) + np.sum(np.abs(exact.y * head.scores(z)), axis=1)
    if head.error_variance is None:
        size = size + np.sum(np.abs(len(z) * head.delta(z, exact.y)) * (np.abs(z) + np.abs(exact.y)), axis=1)
    yield Step("cost", ran.cost, cost, (SAFETY + z.shape[1] / 2) * size)


def _backward(exact: Problem, ran: Pass) -> Iterator[Step]:
    """dz, dw, db and da of every layer, the last first."""
    f, head, z, n = exact.net.activation, exact.net.head, ran.layers[-1].z, len(exact.y)
    dz = head.delta(z, exact.y)
    size = np.maximum(head.near_one + np.abs(head.predict(z)) + np.abs(exact.y), n * np.abs(dz))
    yield Step(f"dz{len(ran.layers)}", ran.dz[-1], dz, SAFETY / n * size)
    weights, grads, masks = exact.net.unpack(exact.theta), exact.net.unpack(ran.grad), _masks(exact)
    for l in reversed(range(len(weights))):
        x, dz, w, decay = ran.layers[l].x, ran.dz[l], weights[l][0], exact.net.l2 / n
        size = np.abs(x).T @ np.abs(dz) + decay * np.abs(w)
        yield Step(f"dw{l + 1}", grads[l][0], x.T @ dz + decay * w, (SAFETY + n / 2) * size)
        yield Step(f"db{l + 1}", grads[l][1], np.sum(dz, axis=0), (SAFETY + n / 2) * np.sum(np.abs(dz), axis=0))
        if l > 0:
            da, size = dz @ w.T * masks[l - 1], np.abs(dz) @ np.abs(w).T * np.abs(masks[l - 1])
            yield Step(f"da{l}", ran.da[l - 1], da, SAFETY * size + w.shape[1] / 2 * (np.abs(da) + size / 8))
            below, da = ran.layers[l - 1], ran.da[l - 1]
            _, slope, rough = _around(f, below.z)
            yield Step(f"dz{l}", ran.dz[l - 1], f.backward(da, below.z, below.a), SAFETY * np.abs(da) * (slope + rough))


def _masks(exact: Problem) -> list[Any]:
    """The mask of each hidden layer; 1 if it has none."""
    masks = exact.masks or [None] * (len(exact.net.sizes) - 2)
    return [1.0 if mask is None else mask for mask in masks]


def _around(f: Activation, z: Vector) -> tuple[Vector, Vector, Vector]:
    """f(z), |f'(z)| and c (1 + |z|); where f is linear, it is so next to z and, lest f be just saturated, near 0."""
    ones = np.ones_like(z)
    places = (z, z * (1 + 2.0**-10), z / np.maximum(ones, np.abs(z)))
    slope, *others = (f.backward(ones, v, f.forward(v)) for v in places)
    curved = np.any([slope != other for other in others], axis=0)
    return f.forward(z), np.abs(slope), curved * (1 + np.abs(z))


def _judge(step: Step, dtype: str) -> Parameter:
    """The verdict on a quantity; what is below smallest_normal / eps a library may flush to 0.

    Where a fault further up has left no numbers to compute with, there is nothing to accuse this quantity of.
    """
    eps, smallest = float(np.finfo(dtype).eps), float(np.finfo(dtype).smallest_normal)
    bar = (eps + float(np.finfo(np.float64).eps)) * step.error + smallest / eps
    lost = ~np.isfinite(step.actual) & ((step.actual == step.expected.astype(dtype)) | np.isnan(step.expected))
    actual, expected = (np.where(lost, 0.0, values) for values in (step.actual, step.expected))
    return judge(step.name, actual, expected, np.nan_to_num(bar, nan=np.inf, posinf=np.inf))
