"""Ranges: a right network is never accused because its numbers are tiny or huge, and a wrong one still fails."""

from itertools import product

import numpy as np
import pytest

from xpdl import Network
from xpdl.gradcheck.network import check_network
from xpdl.gradcheck.network.bars import forward_errors
from xpdl.gradcheck.network.perturbation import complex_derivative, point
from xpdl.gradcheck.network.ranges import allowances, underflow

SCALES = {"float64": [1e-150, 1e-100, 1e-30, 1e30, 1e100, 1e150], "float32": [1e-30, 1e-10, 1e10]}


@pytest.mark.parametrize(("dtype", "scale"), [(dtype, scale) for dtype in SCALES for scale in SCALES[dtype]])
def test_no_network_with_tiny_or_huge_weights_is_accused(dtype, scale, random_case) -> None:
    for seed in range(25):
        net, theta, x, y, masks = random_case(seed, scale)
        at = [np.asarray(array, dtype) for array in (theta, x)]
        with np.errstate(all="ignore"):
            cost, gradient = net.loss_and_grad(*at, y, masks and [mask.astype(dtype) for mask in masks])
        if not np.isfinite(cost) or not np.isfinite(gradient).all():
            continue
        report = check_network(net, theta, x, y, masks=masks, dtype=dtype)
        assert report.verdict != "FAIL", f"seed {seed}\n{report}"


@pytest.mark.parametrize("scale", [1e-100, 1e-30, 1.0, 1e15])
def test_a_wrong_entry_of_such_a_network_still_fails(scale, random_case) -> None:
    """The last bias has a gradient of ordinary size, unless the loss is saturated."""
    rng = np.random.default_rng(0)
    net = Network([3, 5, 4, 2], hidden="tanh", output="linear")
    theta, x, y = scale * net.initialize(0, "float64"), rng.normal(size=(6, 3)), rng.normal(size=(6, 2))

    def wrong(theta):
        grad = net.loss_and_grad(theta, x, y)[1]
        grad[-1] *= 1.001
        return grad

    report = check_network(net, theta, x, y, wrong)
    assert report.parameters["b3"].verdict == "FAIL", str(report)


def test_what_is_too_large_is_said_and_not_judged() -> None:
    """Weights of 1e100 move the logits by a complex step; the NaN of a gradient that overflows is no fault of it."""
    rng = np.random.default_rng(0)
    net = Network([2, 3, 2])
    theta, x, y = 1e100 * net.initialize(0, "float64"), rng.normal(size=(4, 2)), rng.integers(0, 2, 4)
    report = check_network(net, theta, x, y, lambda t: np.full(net.size, np.nan))
    assert report.parameters["W1"].verdict == "INCONCLUSIVE"
    assert report.parameters["W1"].unseen == 6
    assert np.isnan(report.parameters["W1"].analytic).all()
    assert any("too large for float64" in note for note in report.notes)


# The parts


@pytest.fixture
def small():
    net, rng = Network([2, 3, 2], hidden="identity", output="linear"), np.random.default_rng(0)
    theta, x, y = net.initialize(0, "float64"), rng.normal(size=(4, 2)), rng.normal(size=(4, 2))
    return point(net, theta, x, y, None, None, complex_derivative)


def test_the_error_of_underflow_is_that_of_small_numbers_that_become_0(small) -> None:
    """A dz of the output that is off by ``least`` in each entry changes no entry of the gradient by more."""
    dz, least = [np.zeros((4, 3)), np.zeros((4, 2))], 1e-30
    first, second = underflow(small, dz, forward_errors(small), least)
    lost = np.full((4, 2), least)
    below = lost @ np.abs(small.layers[1].w).T
    for bound, x, d in [(first, small.layers[0].x, below), (second, small.layers[1].x, lost)]:
        changed = max(np.max(np.abs(x).T @ d), np.max(d.sum(axis=0)))
        assert changed <= bound <= 10 * changed


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_what_a_dtype_cannot_hold_is_not_judged(small, dtype) -> None:
    """Numbers of 1e30 go through float64; products of two of them do not go through float32."""
    large = small._replace(layers=[small.layers[0], small.layers[1]._replace(w=1e30 * np.ones((3, 2)))])
    dz = [np.ones((4, 3)), 1e30 * np.ones((4, 2))]
    found = allowances(large, dz, forward_errors(large), np.finfo(dtype), stepped=True)
    assert np.isinf(found).all() == (dtype == "float32")


@pytest.mark.parametrize(("gain", "stepped"), list(product([1e35, 1e45], [True, False])))
def test_a_complex_step_that_moves_logits_far_is_no_derivative(small, gain, stepped) -> None:
    """Only in layers below the large weights, and only the complex step."""
    at = small._replace(layers=[small.layers[0], small.layers[1]._replace(w=gain * np.ones((3, 2)))])
    dz = [np.zeros((4, 3)), np.zeros((4, 2))]
    first, second = allowances(at, dz, forward_errors(at), np.finfo("float64"), stepped=stepped)
    assert (first == np.inf) == (stepped and gain > 1e40)
    assert second < 1e-200
