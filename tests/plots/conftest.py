"""What the tests of plots share: no display, samples with labels, and a report with planted errors."""

import math

import numpy as np
import pytest

import xpdl
from xpdl import Network


@pytest.fixture(autouse=True)
def _no_display():
    """Let figures of pyplot need no display, and close them."""
    matplotlib = pytest.importorskip("matplotlib", reason="plots need matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    yield
    pyplot.close("all")


@pytest.fixture
def samples():
    """samples(n, d, k) -> x (n, d) and labels y (n,) below k."""

    def samples(n: int = 40, d: int = 2, k: int = 2) -> tuple[np.ndarray, np.ndarray]:
        return np.random.default_rng(0).uniform(-1, 2, size=(n, d)), np.arange(n) % k

    return samples


@pytest.fixture(scope="session")
def planted():
    """A report of a network with three wrong entries of W1, one of them NaN, and all of b2 wrong by a factor."""
    net = Network([5, 4, 3], hidden="tanh")
    theta = net.initialize(0, "float64")
    x, y = np.random.default_rng(0).normal(size=(20, 5)), np.arange(20) % 3

    def grad(theta):
        grad = net.loss_and_grad(theta, x, y)[1]
        grad[net.layout.slices[-1]] *= 20
        dw = net.unpack(grad)[0][0]
        dw[4, 1], dw[0, 3], dw[2, 2] = dw[4, 1] + 1e-6, -dw[0, 3], math.nan
        return grad

    return xpdl.check_network(net, theta, x, y, grad)
