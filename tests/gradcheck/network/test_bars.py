"""Error bars: they hold, and they come from the network, not from the gradient under test."""

import numpy as np
import pytest

from xpdl import Network
from xpdl.gradcheck.network import check_network
from xpdl.gradcheck.network.bars import forward_errors, kappa
from xpdl.gradcheck.network.check import SAFETY
from xpdl.gradcheck.network.perturbation import complex_derivative, point


def test_the_bars_hold_and_the_complex_step_is_as_good_as_long_double(random_case) -> None:
    """On 100 networks the numeric gradient is within 1e-14 kappa of long double, the tested one within its bar."""
    if np.finfo(np.longdouble).eps > 1e-18:
        pytest.skip("long double is double here")
    for seed in range(100):
        net, theta, x, y, masks = random_case(seed)
        long = [np.asarray(values, np.longdouble) for values in (theta, x, np.asarray(y))]
        exact = net.loss_and_grad(*long, masks and [mask.astype(np.longdouble) for mask in masks])[1]
        report = check_network(net, theta, x, y, masks=masks)
        numeric, analytic, bar = (
            np.concatenate([getattr(p, name).ravel() for p in report.parameters.values()])
            for name in ("numeric", "analytic", "bar")
        )
        kappa = bar / (SAFETY * 2 * np.finfo(float).eps)
        assert np.all(np.abs(numeric - exact) <= 1e-15 * kappa), f"seed {seed}"
        assert np.all(np.abs(analytic - exact) <= bar), f"seed {seed}"


def at_a_point(random_case, seed, scale=1.0):
    net, theta, x, y, masks = random_case(seed, scale)
    return point(net, theta, x, y, masks, None, complex_derivative)


def test_the_errors_of_pre_activations_are_as_large_as_they_are_in_float32(random_case) -> None:
    """z in float32 differs from z in float64 by at most 8 standard deviations, and not by much less."""
    ratios = []
    for seed in range(40):
        net, theta, x, y, masks = random_case(seed)
        single = [values.astype(np.float32) for values in (theta, x)]
        masks = masks and [mask.astype(np.float32) for mask in masks]
        at = point(net, *(values.astype(np.float64) for values in single), y, masks, None, complex_derivative)
        low = net.forward(*single, masks)
        for errors, exact, rounded in zip(forward_errors(at), at.layers, low, strict=True):
            expected = np.sqrt(errors.z) * np.finfo(np.float32).eps
            error = np.abs(rounded.z - exact.z)
            assert np.all(error <= 8 * expected + 1e-30), f"seed {seed}"
            ratios += (error[expected > 0] / expected[expected > 0]).tolist()
    assert max(ratios) > 0.1


@pytest.mark.parametrize("seed", range(5))
def test_bars_grow_with_the_gradient_alone(random_case, seed) -> None:
    """Twice the dz gives twice the bar, apart from the error of dz; no bar is 0 where the gradient is not 0."""
    at = at_a_point(random_case, seed)
    delta = at.net.head.delta(at.layers[-1].z, at.y)
    dz = [np.ones_like(layer.z) for layer in at.layers[:-1]] + [delta]
    forward = forward_errors(at)
    one, two = kappa(at, dz, forward), kappa(at, [2 * d for d in dz], forward)
    assert np.all(one >= 0)
    assert np.all(one <= two)
    assert np.all(two <= 2 * one + 1e-300)


def test_a_linear_activation_adds_no_error_of_its_own() -> None:
    net = Network([3, 4, 2], hidden="identity", output="linear")
    rng = np.random.default_rng(0)
    args = (net.initialize(0, "float64"), rng.random((5, 3)), rng.random((5, 2)), None, None)
    linear = forward_errors(point(net, *args, complex_derivative))
    curved = forward_errors(point(Network([3, 4, 2], hidden="tanh", output="linear"), *args, complex_derivative))
    assert not linear[0].curved.any()
    assert curved[0].curved.all()
