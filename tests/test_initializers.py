"""Initial weights: their distribution, their seeds, and that a seed means the same in every version."""

import math

import numpy as np
import pytest

from xpdl import Network
from xpdl.initializers import INITIALIZERS, initialize
from xpdl.layout import Layout

SIZES = [3, 4, 3, 2]

GOLDEN = [  # W1, W2, b1, b2
    *(0.9353698043847452, -0.01423238133708202, 0.3477434925875519, 1.2830425789651938),
    *(1.1293425937148158, -1.4223598598409302),
    *(0.0, 0.0, 0.0),
]
DEVIATIONS = {"he": math.sqrt(2 / 300), "xavier": math.sqrt(2 / 500), "lecun": math.sqrt(1 / 300)}


@pytest.mark.parametrize("seed", [0, 1, 12345])
@pytest.mark.parametrize("init", [*INITIALIZERS, 0.3])
def test_initial_weights_have_the_deviation_of_their_rule(init, seed) -> None:
    """n normal numbers: their mean and variance lie within 5 deviations, sigma / sqrt(n) and sigma^2 sqrt(2 / n)."""
    sigma = DEVIATIONS.get(init, init)
    net = Network([300, 200, 2], init=init)
    w, b = net.unpack(net.initialize(seed, "float64"))[0]
    assert abs(np.mean(w)) < 5 * sigma / math.sqrt(w.size)
    assert abs(np.var(w) / sigma**2 - 1) < 5 * math.sqrt(2 / w.size)
    assert not np.any(b)


def test_initial_weights_are_normal() -> None:
    """The share within 1 and 2 deviations, and the fourth moment 3, to 5 deviations."""
    net = Network([300, 200], init=1.0)
    w = net.unpack(net.initialize(0, "float64"))[0][0].ravel()
    for bound in (1.0, 2.0):
        share = math.erf(bound / math.sqrt(2))
        assert abs(np.mean(np.abs(w) < bound) - share) < 5 * math.sqrt(share * (1 - share) / w.size)
    assert abs(np.mean(w**4) - 3) < 5 * math.sqrt(96 / w.size)


def test_initial_weights_are_reproducible_and_differ_between_seeds_and_layers() -> None:
    net = Network([5, 5, 5], init=1.0)
    theta = net.initialize(3)
    assert theta.tobytes() == net.initialize(3).tobytes()
    assert theta.tobytes() != net.initialize(4).tobytes()
    (w1, _), (w2, _) = net.unpack(theta)
    assert not np.intersect1d(w1, w2).size


def test_initial_weights_of_a_layer_do_not_depend_on_the_layers_after_it() -> None:
    short, long = Network([5, 4, 2]), Network([5, 4, 3, 2])
    np.testing.assert_array_equal(short.unpack(short.initialize(1))[0][0], long.unpack(long.initialize(1))[0][0])


def test_float32_is_float64_rounded() -> None:
    net = Network(SIZES)
    single, double = net.initialize(7, "float32"), net.initialize(7, "float64")
    assert (single.dtype, double.dtype) == (np.dtype("float32"), np.dtype("float64"))
    assert single.tobytes() == double.astype(np.float32).tobytes()
    assert net.initialize(7).tobytes() == single.tobytes()


def test_golden_initial_weights() -> None:
    """A seed means the same net in every version, and with every version of NumPy."""
    theta = Network([2, 2, 1], init=1.0).initialize(42, "float64")
    assert theta.tolist() == GOLDEN


def test_a_network_draws_with_its_own_rule() -> None:
    net = Network(SIZES, init="lecun")
    assert net.initialize(5, "float64").tobytes() == initialize(Layout((3, 4, 3, 2)), "lecun", 5, "float64").tobytes()


def test_a_deviation_of_0_gives_weights_of_0() -> None:
    assert not np.any(initialize(Layout((3, 2)), 0.0, 0, "float32"))
