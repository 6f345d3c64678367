"""The dropout masks of a training step; they can be computed again at any time."""

from xpdl import checks
from xpdl.arrays import Array
from xpdl.backends import Backend, backend as choose_backend
from xpdl.backends.base import ALL
from xpdl.network import Network


def dropout_masks(
    net: Network,
    n: int,
    *,
    seed: int,
    step: int,
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
    seed : int
        The seed of the run.
    step : int
        The number of the step in the run, from 0.
    backend : str or Backend, default "numpy"
        Where to put the masks.  The bits are the same everywhere.
    dtype : str, default "float32"
        "float32" or "float64".
    rows : slice, default all
        The samples of the batch whose masks are wanted.

    Returns
    -------
    list or None
        One array (n, units) for each hidden layer, as ``Network.loss_and_grad`` takes them; None for a layer that drops
        nothing.  None for a network without dropout.

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
    n, step = checks.integer("n", n, least=1), checks.integer("step", step, least=0)
    dtype = checks.float_dtype("dtype", dtype)
    if not any(net.drops):
        return None
    mask = choose_backend(backend).dropout_mask
    return [
        mask(seed, step, l, (n, units), drop, dtype, rows) if drop else None
        for l, (units, drop) in enumerate(zip(net.sizes[1:-1], net.drops, strict=True), start=1)
    ]
