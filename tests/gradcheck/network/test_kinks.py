"""Kinks: everything between the one-sided derivatives is right, and nothing beyond them."""

from itertools import product

import numpy as np
import pytest

from xpdl import Activation, Network
from xpdl.gradcheck.network import check_network
from xpdl.gradcheck.network.bars import forward_errors
from xpdl.gradcheck.network.kinks import Bend, bends, limits
from xpdl.gradcheck.network.perturbation import complex_derivative, gradient, point

CIRCLES = [[2, 5, 4, 1], [2, 5, 5, 5, 1], [2, 9, 9, 1], [2, 4, 1]]


ONE_AT_ZERO = Activation(lambda z: z * (z >= 0), lambda da, z, a: da * (z >= 0))
"""relu with derivative 1 at 0, as some write it."""


@pytest.mark.parametrize(("sizes", "dtype"), list(product(CIRCLES, ["float64", "float32"])))
def test_no_he_network_with_zero_biases_is_accused(sizes, dtype, circles) -> None:
    """240 networks, of which the origin's checker accuses 44: a sample that no unit sees has z = 0 from there on."""
    net, (x, y) = Network(sizes, output="sigmoid"), circles()
    verdicts = [check_network(net, net.initialize(seed, dtype), x, y, dtype=dtype).verdict for seed in range(60)]
    assert verdicts == ["PASS"] * 60


@pytest.mark.parametrize("sizes", CIRCLES[:2])
def test_either_derivative_at_a_kink_is_right(sizes, circles) -> None:
    """f'(0) = 1 is as good as 0; where that makes a difference, the unit and the sample are named."""
    net, (x, y) = Network(sizes, output="sigmoid"), circles()
    other = Network(sizes, output="sigmoid", hidden=ONE_AT_ZERO)
    notes = []
    for seed in range(60):
        theta = net.initialize(seed, "float64")
        report = check_network(net, theta, x, y, lambda t: other.loss_and_grad(t, x, y)[1])
        assert report, str(report)
        notes += report.notes
    assert any("kinks: layer 2, unit" in note and "sample" in note for note in notes)


@pytest.mark.parametrize("factor", [-0.5, 1.5, 2.0])
def test_a_value_outside_the_one_sided_derivatives_is_not_excused_by_a_kink(factor) -> None:
    """With one unit, one sample and z = 0 the derivatives of b1 are 0 and da: what lies outside fails."""
    net = Network([1, 1, 1], output="linear")
    theta, x, y = np.array([1.0, 1.0, 0.0, 0.0]), np.array([[0.0]]), np.array([[1.0]])
    da = float(net.unpack(net.loss_and_grad(theta, x, y)[1])[1][1][0])
    report = check_network(net, theta, x, y, lambda t: np.array([0.0, 0.0, factor * da, da]))
    assert (report.verdict, report.parameters["b1"].verdict) == ("FAIL", "FAIL")
    assert check_network(net, theta, x, y, lambda t: np.array([0.0, 0.0, 0.5 * da, da]))


# Bends and limits


def at_zero(hidden="relu"):
    """A network whose second hidden unit is exactly at 0 for the first of two samples."""
    net = Network([2, 2, 1], hidden=hidden, output="linear")
    theta = net.pack([(np.array([[1.0, 1], [0, -1]]), np.zeros(2)), (np.array([[2.0], [-3]]), np.zeros(1))])
    x, y = np.array([[1.0, 1.0], [2.0, 1.0]]), np.array([[1.0], [2.0]])
    return net, point(net, theta, x, y, None, None, complex_derivative)


def test_a_bend_of_f_within_rounding_of_z_is_a_kink() -> None:
    _, at = at_zero()
    (bend,) = bends(at, forward_errors(at))
    assert bend.kinks.tolist() == [[False, True], [False, False]]
    assert (bend.left[0, 1], bend.right[0, 1]) == (0, 1)
    _, smooth = at_zero("tanh")
    assert not bends(smooth, forward_errors(smooth))[0].kinks.any()


def test_curvature_is_no_kink() -> None:
    assert Bend(np.array([0.5]), np.array([0.5005])).kinks.tolist() == [False]
    assert Bend(np.array([0.5]), np.array([0.502])).kinks.tolist() == [True]


def test_limits_hold_both_one_sided_gradients() -> None:
    net, at = at_zero()
    delta = net.head.delta(at.layers[-1].z, at.y)
    low, high = limits(at, bends(at, forward_errors(at)), delta)
    for derivative in (0.0, 0.3, 1.0):
        fprime = np.array([[1.0, derivative], [1.0, 1.0]])
        grad = gradient(at, [delta @ at.layers[1].w.T * fprime, delta])
        assert np.all((low - 1e-15 <= grad) & (grad <= high + 1e-15))
    assert np.any(low < high)
    away = np.array([[1.0, 1.5], [1.0, 1.0]])
    beyond = gradient(at, [delta @ at.layers[1].w.T * away, delta])
    assert np.any((beyond < low - 1e-6) | (beyond > high + 1e-6))
