"""Initial weights: normal numbers, drawn on the host and scaled by the size of the layer; biases start at 0.

he       std = sqrt(2 / n_in)              He et al. 2015, for relu
xavier   std = sqrt(2 / (n_in + n_out))    Glorot & Bengio 2010, for tanh
lecun    std = sqrt(1 / n_in)              LeCun et al. 1998
"""

from collections.abc import Callable
import math

import numpy as np

from xpdl.layout import Layout
from xpdl.randomness import Stream, generator

INITIALIZERS: dict[str, Callable[[int, int], float]] = {
    "he": lambda n_in, n_out: math.sqrt(2 / n_in),
    "xavier": lambda n_in, n_out: math.sqrt(2 / (n_in + n_out)),
    "lecun": lambda n_in, n_out: math.sqrt(1 / n_in),
}
"""(n_in, n_out) -> the standard deviation of the weights of a layer."""


def initialize(layout: Layout, init: str | float, seed: int, dtype: str) -> np.ndarray:
    """Draw theta (P,), the same for every backend.

    Each layer draws its own random numbers in float64; a float32 theta has the same numbers, rounded.

    Parameters
    ----------
    layout : Layout
        The place of each parameter in theta.
    init : str or float
        A name in ``INITIALIZERS``, or the standard deviation of all weights.
    seed : int
        The seed, in [0, 2**64).
    dtype : str
        "float32" or "float64".

    Returns
    -------
    numpy.ndarray (P,)
        theta.

    Examples
    --------
    >>> from xpdl.initializers import initialize
    >>> from xpdl.layout import Layout
    >>> initialize(Layout((1, 2)), "he", seed=0, dtype="float32").shape
    (4,)
    """
    std = INITIALIZERS[init] if isinstance(init, str) else lambda n_in, n_out: init
    theta = np.zeros(layout.size, dtype=dtype)
    for l, (w, _) in enumerate(layout.unpack(theta), start=1):
        w[...] = std(*w.shape) * generator(seed, Stream.WEIGHTS, layer=l).standard_normal(w.shape)
    return theta
