"""Evaluation: the loss and the accuracy of samples, computed on the device slice by slice."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
import math
from typing import Any, NamedTuple

import numpy as np

from xpdl import checks
from xpdl.arrays import Array, namespace
from xpdl.backends import Backend, backend as choose_backend
from xpdl.data import inputs
from xpdl.data.disk_inputs import DiskInputs, as_shards, global_row_numbers, windows
from xpdl.data.shards import on_disk
from xpdl.network import Network

TOO_LARGE = "the samples or the parameters are too large for"

ROWS = 4096
"""The number of samples in a slice, which goes through the network in one pass."""


class Sums(NamedTuple):
    """The sums over the slices so far."""

    cost: Array  # () costs of the samples, without the L2 term
    hits: Array  # () number of samples whose labels are all right, int32; or the sum of their weights


def make_scorer(net: Network) -> Callable[[Sums, Array, Array, Array, Array | None], Sums]:
    """Return a function that adds the samples x (n, d), y (n, k) to the sums."""

    def score(sums: Sums, theta: Array, x: Array, y: Array, weight: Array | None) -> Sums:
        cost, hits = sums
        xp = namespace(theta)
        z = net.forward(theta, x)[-1].z
        each = weight is not None and weight.ndim == 2  # the value has the weights of the outputs in it
        value = net.head.value(z, y, weight)
        cost += xp.sum(value if weight is None or each else value * weight)
        if net.head.decide is not None:
            right = xp.reshape(net.head.decide(net.head.predict(z)) == net.head.decide(y), (x.shape[0], -1))
            hit = xp.astype(xp.all(right | (weight == 0) if each else right, axis=1), hits.dtype)
            share = xp.mean(weight, axis=1) if each else weight
            hits += xp.sum(hit if weight is None else hit * share, dtype=hits.dtype)
        return Sums(cost, hits)

    return score


class Part(NamedTuple):
    """Samples that are on the device together, and how many samples they stand for: n, or the sum of their weights."""

    x: Array
    y: Array
    weight: Array | None  # (n,) or (n, k)
    n: float


def part(x: Array, y: Array, weight: Array | None, backend: Backend) -> Part:
    """Return a ``Part`` of these samples."""
    if weight is None:
        return Part(x, y, None, x.shape[0])
    host = backend.to_numpy(weight)
    return Part(x, y, weight, float(np.sum(host, dtype=np.float64)) / math.prod(host.shape[1:]))


class Evaluator:
    """A function of theta: the mean cost of these samples without the L2 term and, for a classifier, the accuracy."""

    def __init__(
        self,
        net: Network,
        parts: Iterable[Part],
        backend: Backend,
        dtype: str,
        total: Callable[[np.ndarray], np.ndarray] = lambda sums: sums,
    ) -> None:
        """``total`` adds up the sums of all ranks, if each rank has a part of the samples."""
        self.net, self.parts, self.backend, self.dtype, self.total = net, parts, backend, dtype, total
        self.score = backend.compile(make_scorer(inputs.place(net, backend, dtype)))

    def __call__(self, theta: Array) -> dict[str, float]:
        """Return {"loss": ..., "accuracy": ...}."""
        summed = [self.sums(theta, part) for part in self.parts]
        cost, hits, count = self.total(np.sum(summed, axis=0))
        loss, accuracy = float(cost / count), float(hits / count)
        return {"loss": loss} if self.net.head.decide is None else {"loss": loss, "accuracy": accuracy}

    def sums(self, theta: Array, part: Part) -> np.ndarray:
        """Return the sum of the costs, the hits, and the number of samples of a part."""
        zeros = self.backend.zeros
        sums = Sums(zeros((), self.dtype), zeros((), "int32" if part.weight is None else self.dtype))
        for rows in slices(part.x.shape[0]):
            weight = None if part.weight is None else part.weight[rows, ...]
            sums = self.score(sums, theta, part.x[rows, :], part.y[rows, :], weight)
        return np.array([*map(self.backend.to_numpy, sums), part.n], dtype=np.float64)


def evaluate(
    net: Network,
    theta: Any,
    x: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    backend: str | Backend = "auto",
    dtype: str = "float32",
) -> dict[str, float]:
    """Return the mean cost of samples without the L2 term and, for a classifier, the accuracy.

    Parameters
    ----------
    net : Network
        The network.  Its dropout is not used.
    theta : array (P,)
        Its parameters, from any library.
    x : array (n, d) or list of paths
        Samples, from any library; samples on disk are read window by window.
    y : array (n,) or (n, k)
        Labels or values, as the output layer takes them.
    sample_weight : array (n,) or (n, k), optional
        How many times each sample counts, or each of its outputs; default once.
    backend : str or Backend, default "auto"
        Where to compute, as for ``xpdl.backend``.
    dtype : str, default "float32"
        "float32" or "float64".

    Returns
    -------
    dict of str to float
        "loss" and, for a classifier, "accuracy": the share of the samples whose labels are all right.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong; the message names the first wrong entry.
    ArithmeticError
        If the loss is not a number or infinite.

    Examples
    --------
    >>> import numpy as np
    >>> import xpdl
    >>> net = xpdl.Network([2, 2])
    >>> xpdl.evaluate(net, np.array([1, 0, 0, 1, 0, 0]), 9 * np.eye(2), [0, 1], backend="numpy")["accuracy"]
    1.0
    """
    chosen, dtype = choose_backend(backend), checks.float_dtype("dtype", dtype)
    with chosen.activate():
        parts = (part(*entered, chosen) for entered in _entered(net, x, y, sample_weight, chosen, dtype))
        found = Evaluator(net, parts, chosen, dtype)(inputs.parameters(net, theta, chosen, dtype))
    if not math.isfinite(found["loss"]):
        raise ArithmeticError(f"the loss of these samples is {found['loss']}: {TOO_LARGE} {dtype}")
    return found


def _entered(
    net: Network, x: Any, y: Any, weight: Any, backend: Backend, dtype: str
) -> Iterable[tuple[Array, Array, Array | None]]:
    """All samples on the device; if they are on disk, one window after the other."""
    if not on_disk(x):
        return [inputs.weighted(net, x, y, weight, backend, dtype)]
    data = DiskInputs.checked(net, x, y, weight, dtype)
    return (data.enter(net, rows, backend, dtype) for rows in data.windows())


def slices(n: int) -> Iterator[slice]:
    """The slices of n samples, each of at most ROWS."""
    return (slice(start, min(start + ROWS, n)) for start in range(0, n, ROWS))


def in_slices(function: Callable[[Array], Array], x: Array) -> Array:
    """Return function(x), real numbers for x (n, d), computed a slice of rows at a time.

    ``ArithmeticError`` if they are not finite: a label that is decided by NaN would be wrong.
    """
    xp = namespace(x)
    found = xp.concat([function(x[rows, :]) for rows in slices(x.shape[0])], axis=0)
    if not bool(xp.all(xp.isfinite(found))):
        raise ArithmeticError(f"the outputs are not finite: {TOO_LARGE} {checks.dtype_name(found.dtype)}")
    return found


def predict(net: Network, theta: Any, x: Any, **where: Any) -> np.ndarray:
    """Return ``net.predict`` of any number of samples x (n, d), from any library or on disk, as a NumPy array."""
    p, decide = predict_proba(net, theta, x, **where), net.head.decide
    return p if decide is None else decide(p)


def predict_proba(
    net: Network, theta: Any, x: Any, *, backend: str | Backend = "auto", dtype: str = "float32"
) -> np.ndarray:
    """Return ``net.predict_proba`` of any number of samples x (n, d), from any library or on disk, as a NumPy array."""
    chosen, dtype = choose_backend(backend), checks.float_dtype("dtype", dtype)
    with chosen.activate():
        placed = inputs.place(net, chosen, dtype)
        function = partial(placed.predict_proba, inputs.parameters(net, theta, chosen, dtype))
        found = (in_slices(function, part) for part in _features(net, x, chosen, dtype))
        parts = [chosen.to_numpy(p) for p in found]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _features(net: Network, x: Any, backend: Backend, dtype: str) -> Iterator[Array]:
    """All of x on the device; if it is on disk, one window after the other."""
    if not on_disk(x):
        yield inputs.features(net, x, backend, dtype)
        return
    x = as_shards("x", x)
    checks.rows("x", x, net.sizes[0])
    for rows in windows(x, np.arange(len(x))):
        with global_row_numbers(rows):
            part = inputs.features(net, x[rows], backend, dtype)
        yield part


def count_confusions(y: np.ndarray, predicted: np.ndarray, k: int) -> np.ndarray:
    """How often label i, a row, was predicted as j, a column: (k, k) for labels y (n,) and predicted (n,)."""
    counts = np.zeros((k, k), dtype=int)
    np.add.at(counts, (y, predicted), 1)
    return counts
