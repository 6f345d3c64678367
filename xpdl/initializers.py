"""Initial weights: normal numbers drawn on the host, scaled by the layer's size; biases start at 0.

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


def initialize(layout: Layout, init: str | float, seed: int, dtype: str) -> np.ndarray:
    """theta (P,) as a NumPy array, the same for every backend.

    Layer l draws from its own part of the seed's stream, in float64, so a float32 theta is the float64 one rounded.
    """
    std = INITIALIZERS[init] if isinstance(init, str) else lambda n_in, n_out: init
    theta = np.zeros(layout.size, dtype=dtype)
    for l, (w, _) in enumerate(layout.unpack(theta), start=1):
        w[...] = std(*w.shape) * generator(seed, Stream.WEIGHTS, layer=l).standard_normal(w.shape)
    return theta
