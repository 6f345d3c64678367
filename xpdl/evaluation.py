"""Evaluation: loss and accuracy of samples on the device, a slice at a time."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from xpdl import checks, samples
from xpdl.arrays import Array, namespace
from xpdl.backends import Backend, backend as choose_backend
from xpdl.network import Network

ROWS = 4096
"""Samples that go through the network at a time."""


class Sums(NamedTuple):
    """What is added up over the slices."""

    cost: Array  # () costs of the samples, without the L2 term
    hits: Array  # () samples whose labels are all right: int32, or their weights


def make_scorer(net: Network) -> Callable[[Sums, Array, Array, Array, Array | None], Sums]:
    """(sums, theta, x, y, weight) -> the sums with the samples x (n, d), y (n, k) added."""

    def score(sums: Sums, theta: Array, x: Array, y: Array, weight: Array | None) -> Sums:
        cost, hits = sums
        xp = namespace(theta)
        z = net.forward(theta, x)[-1].z
        value = net.head.value(z, y)
        cost += xp.sum(value if weight is None else value * weight)
        if net.head.decide is not None:
            right = xp.reshape(net.head.decide(net.head.predict(z)) == net.head.decide(y), (x.shape[0], -1))
            hit = xp.astype(xp.all(right, axis=1), hits.dtype)
            hits += xp.sum(hit if weight is None else hit * weight, dtype=hits.dtype)
        return Sums(cost, hits)

    return score


class Evaluator:
    """theta -> the mean cost of these samples without the L2 term and, for a classifier, the accuracy."""

    def __init__(
        self,
        net: Network,
        x: Array,
        y: Array,
        weight: Array | None,
        backend: Backend,
        total: Callable[[np.ndarray], np.ndarray] = lambda sums: sums,
    ) -> None:
        """total(sums): those of all ranks, where each has a part of the samples."""
        self.net, self.x, self.y, self.weight, self.backend, self.total = net, x, y, weight, backend, total
        self.score = backend.compile(make_scorer(net))
        self.count = x.shape[0] if weight is None else float(np.sum(backend.to_numpy(weight), dtype=np.float64))

    def __call__(self, theta: Array) -> dict[str, float]:
        """{"loss": ..., "accuracy": ...}."""
        n, zeros, dtype = self.x.shape[0], self.backend.zeros, checks.dtype_name(self.y.dtype)
        sums = Sums(zeros((), dtype), zeros((), "int32" if self.weight is None else dtype))
        for start in range(0, n, ROWS):
            part = slice(start, min(start + ROWS, n))
            weight = None if self.weight is None else self.weight[part]
            sums = self.score(sums, theta, self.x[part, :], self.y[part, :], weight)
        cost, hits, count = self.total(np.array([*map(self.backend.to_numpy, sums), self.count], dtype=np.float64))
        loss, accuracy = float(cost / count), float(hits / count)
        return {"loss": loss} if self.net.head.decide is None else {"loss": loss, "accuracy": accuracy}


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
    """The mean cost of the samples, without the L2 term, and for a classifier the accuracy: {"loss", "accuracy"}.

    theta (P,), x (n, d), y and sample_weight (n,) from any library; what they may hold stands in samples.py.
    """
    chosen, dtype = choose_backend(backend), checks.float_dtype("dtype", dtype)
    with chosen.activate():
        entered = samples.weighted(net, x, y, sample_weight, chosen, dtype)
        return Evaluator(net, *entered, chosen)(samples.parameters(net, theta, chosen, dtype))


def in_slices(function: Callable[[Array], Array], x: Array) -> Array:
    """function(x) for x (n, d), whose rows go through it a slice at a time."""
    parts = [function(x[start : min(start + ROWS, x.shape[0]), :]) for start in range(0, x.shape[0], ROWS)]
    return namespace(x).concat(parts, axis=0)


def predict(net: Network, theta: Any, x: Any, *, backend: str | Backend = "auto", dtype: str = "float32") -> np.ndarray:
    """``net.predict`` for any number of samples x (n, d) from any library, as a NumPy array."""
    chosen, dtype = choose_backend(backend), checks.float_dtype("dtype", dtype)
    with chosen.activate():
        theta, x = samples.parameters(net, theta, chosen, dtype), samples.features(net, x, chosen, dtype)
        return chosen.to_numpy(in_slices(partial(net.predict, theta), x))


def count_confusions(y: np.ndarray, predicted: np.ndarray, k: int) -> np.ndarray:
    """How often label i, a row, was predicted as j, a column: (k, k) for labels y (n,) and predicted (n,)."""
    counts = np.zeros((k, k), dtype=int)
    np.add.at(counts, (y, predicted), 1)
    return counts
