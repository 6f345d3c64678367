"""What the tests of networks share: circles, and random networks with samples."""

import numpy as np
import pytest

import xpdl
from xpdl import Network
from xpdl.activations import ACTIVATIONS


@pytest.fixture
def circles():
    """circles() -> 300 points on two circles."""

    def circles():
        points = xpdl.data.circles(seed=1)
        return points.x, points.y

    return circles


@pytest.fixture
def random_case():
    """random_case(seed, scale) -> a network over all activations, outputs, L2 and dropout, with samples."""

    def random_case(seed, scale=1.0):
        """A network over all activations, outputs, L2 and dropout, with samples; scale > 1 saturates it."""
        rng = np.random.default_rng(seed)
        sizes = [int(n) for n in rng.integers(1, 10, rng.integers(2, 6))]
        output = str(rng.choice(["softmax", "sigmoid", "linear"]))
        net = Network(
            sizes,
            hidden=str(rng.choice(list(ACTIVATIONS))),
            output=output,
            init=str(rng.choice(["he", "xavier", "lecun"])),
            l2=float(rng.choice([0.0, 0.1])),
        )
        theta = scale * net.initialize(seed, "float64") + rng.choice([0.0, 0.1]) * rng.standard_normal(net.size)
        n, k = int(rng.choice([1, 2, 30, 100])), sizes[-1]
        y = {
            "softmax": rng.integers(0, k, n),
            "sigmoid": rng.integers(0, 2, (n, k)),
            "linear": rng.standard_normal((n, k)),
        }[output]
        masks = [(rng.random((n, units)) < 0.7) / 0.7 for units in sizes[1:-1]] if rng.random() < 0.5 else None
        return net, theta, rng.standard_normal((n, sizes[0])), y, masks

    return random_case
