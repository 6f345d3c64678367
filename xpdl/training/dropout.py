"""The dropout masks of a training step, which can be had again at any time."""

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
    """The masks of a training step (from 0) for a batch of n samples, as ``loss_and_grad`` takes them.

    One array (n, units) for each hidden layer, 0 with the layer's probability p and else 1 / (1 - p), so that the mean
    of an activation stays what it was (inverted dropout; Srivastava et al. 2014); None for a layer that drops nothing,
    and for a network without dropout.  They are a function of (seed, step, layer, sample, unit) only, so the masks of
    any step can be had again, and those of some rows of the batch alone.
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
