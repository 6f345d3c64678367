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
from xpdl.losses import of_outputs
from xpdl.network import Network

TOO_LARGE = "the samples or the parameters are too large for"

ROWS = 4096
"""The number of samples in a slice, which goes through the network in one pass."""


class Sums(NamedTuple):
    """The sums over the slices so far."""

    cost: Array  # () or (K,) costs of the samples, without the L2 term
    hits: Array  # () or (K,) number of samples whose labels are all right, int32; or the sum of their weights


def make_scorer(net: Network) -> Callable[[Sums, Array, Array, Array, Array | None], Sums]:
    """Return a function that adds the samples x (n, d), y (n, k) to the sums; with weights (K, n), y is (K, n, k)."""

    def score(sums: Sums, theta: Array, x: Array, y: Array, weight: Array | None) -> Sums:
        cost, hits = sums
        xp = namespace(theta)
        z = net.forward(theta, x)[-1].z
        each = of_outputs(weight, y)  # the value has the weights of the outputs in it
        value = net.head.value(z, y, weight)
        cost += xp.sum(value if weight is None or each else value * weight, axis=-1)
        if net.head.decide is not None:
            right = xp.reshape(net.head.decide(net.head.predict(z)) == net.head.decide(y), (*z.shape[:-1], -1))
            hit = xp.astype(xp.all(right | (weight == 0) if each else right, axis=-1), hits.dtype)
            share = xp.mean(weight, axis=-1) if each else weight
            hits += xp.sum(hit if weight is None else hit * share, axis=-1, dtype=hits.dtype)
        return Sums(cost, hits)

    return score


class Part(NamedTuple):
    """Samples that are on the device together, and how many samples they stand for: n, or the sum of their weights."""

    x: Array
    y: Array  # (n, k), or (K, n, k) beside weights of K networks
    weight: Array | None  # (n,) or (n, k), or (K, n) or (K, n, k)
    n: float | np.ndarray

    def slices(self) -> Iterator[tuple[Array, Array, Array | None]]:
        """Yield x, y and weight of each slice of the samples."""
        before = (slice(None),) * (self.y.ndim - 2)
        for rows in slices(self.x.shape[0]):
            place = (*before, rows, ...)
            yield self.x[rows, :], self.y[place], None if self.weight is None else self.weight[place]


def part(x: Array, y: Array, weight: Array | None, backend: Backend, networks: int | None = None) -> Part:
    """Return a ``Part`` of these samples; ``networks`` is K if each network has weights of its own."""
    if weight is None:
        return Part(x, y, None, x.shape[0])
    host, lead = backend.to_numpy(weight), int(networks is not None)
    if networks is not None:
        y = backend.xp.broadcast_to(y, (networks, *y.shape))
    n = np.sum(host, axis=tuple(range(lead, host.ndim)), dtype=np.float64) / math.prod(host.shape[lead + 1 :])
    return Part(x, y, weight, as_metric(n))


def as_metric(values: Any) -> float | np.ndarray:
    """Return a number as a float, and the numbers of K networks as an array (K,) of float64."""
    return np.asarray(values, dtype=np.float64) if np.ndim(values) else float(values)


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

    def __call__(self, theta: Array) -> dict[str, Any]:
        """Return {"loss": ..., "accuracy": ...}, for theta (K, P) as arrays (K,)."""
        summed = [self.sums(theta, part) for part in self.parts]
        cost, hits, count = self.total(np.sum(summed, axis=0))
        loss, accuracy = as_metric(cost / count), as_metric(hits / count)
        return {"loss": loss} if self.net.head.decide is None else {"loss": loss, "accuracy": accuracy}

    def sums(self, theta: Array, part: Part) -> np.ndarray:
        """Return the sum of the costs, the hits, and the number of samples of a part."""
        zeros, each = self.backend.zeros, theta.shape[:-1]
        sums = Sums(zeros(each, self.dtype), zeros(each, "int32" if part.weight is None else self.dtype))
        for x, y, weight in part.slices():
            sums = self.score(sums, theta, x, y, weight)
        return np.stack(np.broadcast_arrays(*map(self.backend.to_numpy, sums), part.n)).astype(np.float64)


def evaluate(
    net: Network,
    theta: Any,
    x: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    backend: str | Backend = "auto",
    dtype: str = "float32",
) -> dict[str, Any]:
    """Return the mean cost of samples without the L2 term and, for a classifier, the accuracy.

    Parameters
    ----------
    net : Network
        The network.  Its dropout is not used.
    theta : array (P,) or (K, P)
        Its parameters, from any library, or those of K networks.
    x : array (n, d) or list of paths
        Samples, from any library; samples on disk are read window by window.
    y : array (n,) or (n, k)
        Labels or values, as the output layer takes them.
    sample_weight : array (n,) or (n, k), optional
        How many times each sample counts, or each of its outputs; default once.  K networks may have weights of their
        own, (K, n) or (K, n, k).
    backend : str or Backend, default "auto"
        Where to compute, as for ``xpdl.backend``.
    dtype : str, default "float32"
        "float32" or "float64".

    Returns
    -------
    dict of str to float
        "loss" and, for a classifier, "accuracy": the share of the samples whose labels are all right; for K networks
        arrays (K,).

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
        theta = inputs.parameters(net, theta, chosen, dtype, several=True)
        own = None if on_disk(x) else inputs.networks(net, sample_weight, x)
        if own is not None and theta.shape[:-1] != (own,):
            raise ValueError(f"theta must hold {own} networks, one for each row of sample_weight, got {theta.shape}")
        parts = (part(*entered, chosen, own) for entered in _entered(net, x, y, sample_weight, chosen, dtype))
        found = Evaluator(net, parts, chosen, dtype)(theta)
    if not np.all(np.isfinite(found["loss"])):
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
    """Return ``net.predict`` of any number of samples x (n, d), from any library or on disk, as a NumPy array.

    For theta (K, P) it is that of the ensemble: K networks predict by the mean of their probabilities, or values.
    """
    p, decide = predict_proba(net, theta, x, **where), net.head.decide
    return p if decide is None else decide(p)


def predict_proba(
    net: Network, theta: Any, x: Any, *, backend: str | Backend = "auto", dtype: str = "float32"
) -> np.ndarray:
    """Return ``net.predict_proba`` of samples, or its mean over K networks, as ``predict`` does."""
    chosen, dtype = choose_backend(backend), checks.float_dtype("dtype", dtype)
    with chosen.activate():
        placed = inputs.place(net, chosen, dtype)
        entered = inputs.parameters(net, theta, chosen, dtype, several=True)
        function = partial(mean_proba, placed, entered) if entered.ndim > 1 else partial(placed.predict_proba, entered)
        found = (in_slices(function, part) for part in _features(net, x, chosen, dtype))
        parts = [chosen.to_numpy(p) for p in found]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def mean_proba(net: Network, theta: Array, x: Array) -> Array:
    """Return the mean of the probabilities, or values, of K networks theta (K, P)."""
    p = net.predict_proba(theta, x)
    return namespace(p).mean(p, axis=0)


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
