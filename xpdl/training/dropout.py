"""The dropout masks of a training step; they can be computed again at any time."""

from collections.abc import Sequence

import numpy as np

from xpdl import checks
from xpdl.arrays import Array
from xpdl.backends import Backend, backend as choose_backend
from xpdl.backends.base import ALL
from xpdl.network import Network


def dropout_masks(
    net: Network,
    n: int,
    *,
    seed: int | Sequence[int],
    step: int | Sequence[int] | np.ndarray,
    backend: str | Backend = "numpy",
    dtype: str = "float32",
    rows: slice = ALL,
) -> list[Array | None] | None:
    """Return the dropout masks of a training step for a batch of n samples.

    An entry of a mask is 0 with the layer's probability p, else 1 / (1 - p), so that the mean of an activation stays
    the same (inverted dropout; Srivastava et al. 2014).  The masks are a function of (seed, step, layer, sample, unit)
    alone, so the masks of any step, or of some rows of the batch, can be computed again at any time.

    Parameters
    ----------
    net : Network
        The network.
    n : int
        Samples in the batch.
    seed : int or sequence of int
        The seed of the run, or of each network.
    step : int or sequence of int
        The number of the step in the run, from 0, or of the step of each network.
    backend : str or Backend, default "numpy"
        Where to put the masks.  The bits are the same everywhere.
    dtype : str, default "float32"
        "float32" or "float64".
    rows : slice, default all
        The samples of the batch whose masks are wanted.

    Returns
    -------
    list or None
        One array (n, units) for each hidden layer, as ``Network.loss_and_grad`` takes them, or (K, n, units) for K
        networks; None for a layer that drops nothing.  None for a network without dropout.

    Raises
    ------
    ValueError, TypeError
        If n, step or dtype is not as described.

    Examples
    --------
    >>> import xpdl
    >>> net = xpdl.Network([4, 6, 2], dropout=0.5)
    >>> masks = xpdl.dropout_masks(net, 2, seed=0, step=0)
    >>> masks[0].shape, sorted(set(masks[0].ravel().tolist()))
    ((2, 6), [0.0, 2.0])
    """
    n, dtype, chosen = checks.integer("n", n, least=1), checks.float_dtype("dtype", dtype), choose_backend(backend)
    seeds, steps = np.broadcast_arrays(np.asarray(seed, dtype=object), np.asarray(step, dtype=object))
    places = [(seed, checks.integer("step", step, least=0)) for seed, step in zip(seeds.flat, steps.flat, strict=True)]
    if not any(net.drops):
        return None

    def mask(l: int, units: int, drop: float) -> Array:
        each = [chosen.dropout_mask(*place, l, (n, units), drop, dtype, rows) for place in places]
        return chosen.xp.stack(each) if seeds.ndim else each[0]

    layers = enumerate(zip(net.sizes[1:-1], net.drops, strict=True), start=1)
    return [mask(l, units, drop) if drop else None for l, (units, drop) in layers]
