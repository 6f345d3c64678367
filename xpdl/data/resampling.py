"""Weights of samples for several networks in one run: each row of (K, n) says how often each sample counts for one."""

import numpy as np

from xpdl import checks
from xpdl.randomness import Stream, generator

BOOTSTRAP, FOLDS = 3, 4
"""The layers of the stream of random numbers: each purpose has its own."""


def folds(n: int, k: int = 5, *, seed: int = 0) -> np.ndarray:
    """Return the weights of a cross-validation: of K networks, each leaves out one fold of the samples.

    Source: Stone 1974.

    Parameters
    ----------
    n : int
        The number of samples.
    k : int, default 5
        The number of folds, from 2 to n.
    seed : int, default 0
        The seed of the order in which samples are dealt out.

    Returns
    -------
    numpy.ndarray (k, n)
        0 for the samples of the fold, else 1: the ``sample_weight`` of ``train``.  One minus them are the weights of
        its validation samples.

    Raises
    ------
    ValueError, TypeError
        If a number is not as described.

    Examples
    --------
    >>> import xpdl
    >>> data, net = xpdl.data.circles(), xpdl.Network([2, 8, 1], output="sigmoid")
    >>> weight = xpdl.data.folds(len(data.x), 5)
    >>> held = (data.x, data.y, 1 - weight)
    >>> result = xpdl.train(net, data.x, data.y, sample_weight=weight, validation=held, epochs=2, progress=False)
    >>> result.history[-1]["validation_accuracy"].shape  # of each network, on the fold that it has not seen
    (5,)
    """
    n = checks.integer("n", n, least=2)
    k = checks.integer("k", k, least=2, below=n + 1)
    fold = generator(seed, Stream.DATA, layer=FOLDS).permutation(n) % k
    return np.asarray(fold != np.arange(k)[:, None], dtype=np.float64)


def bootstraps(n: int, k: int, *, seed: int = 0) -> np.ndarray:
    """Return the weights of k bootstrap samples: n samples drawn with replacement, for each of K networks.

    Sources: Efron 1979; for ensembles: Breiman 1996 (bagging).

    Parameters
    ----------
    n : int
        The number of samples.
    k : int
        The number of bootstrap samples.
    seed : int, default 0
        The seed of the draws; the first rows are the same for any k.

    Returns
    -------
    numpy.ndarray (k, n)
        How often each sample was drawn: the ``sample_weight`` of ``train``.

    Raises
    ------
    ValueError, TypeError
        If a number is not as described.

    Examples
    --------
    >>> import xpdl
    >>> weight = xpdl.data.bootstraps(10, 3)
    >>> weight.shape, weight.sum(axis=1).tolist()
    ((3, 10), [10.0, 10.0, 10.0])
    """
    n, k = checks.integer("n", n, least=1), checks.integer("k", k, least=1)
    draws = (generator(seed, Stream.DATA, step=row, layer=BOOTSTRAP).integers(n, size=n) for row in range(k))
    return np.stack([np.bincount(drawn, minlength=n) for drawn in draws]).astype(np.float64)
