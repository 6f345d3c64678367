"""Mistakes: each leads to the tensors that it leads to in code, and is named."""

import numpy as np
import pytest

from xpdl import Network
from xpdl.gradcheck.network import check_network
from xpdl.gradcheck.network.mistakes import SUBSETS, WrongTensor, remasked
from xpdl.gradcheck.network.perturbation import complex_derivative, point
from xpdl.gradcheck.report import judge

WEIGHTED = {  # what is wrong: the gradient from (net, theta, x, y, weight), what is said
    "forgotten": (lambda net, t, x, y, weight: net.loss_and_grad(t, x, y)[1], "lacks the weights of the samples"),
    "not normalised": (
        lambda net, t, x, y, weight: net.loss_and_grad(t, x, y, None, weight)[1] * weight.sum() / len(x),
        "divided by the number of samples, not by the sum of their weights",
    ),
    "no mean": (
        lambda net, t, x, y, weight: net.loss_and_grad(t, x, y, None, weight)[1] * weight.sum(),
        "the mean over samples is missing",
    ),
    "a sample lost": (
        lambda net, t, x, y, weight: net.loss_and_grad(t, x[:-1], y[:-1], None, weight[:-1])[1],
        "leaves out the last sample, divided by",
    ),
}


@pytest.mark.parametrize("mistake", WEIGHTED)
@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_mistakes_with_weights_are_found_and_named(mistake, l2) -> None:
    wrong, text = WEIGHTED[mistake]
    net, rng = Network([4, 6, 5, 3], hidden="tanh", l2=l2), np.random.default_rng(0)
    theta, x, y = rng.normal(size=net.size), rng.normal(size=(30, 4)), rng.integers(0, 3, 30)
    weight = rng.exponential(size=30)
    report = check_network(net, theta, x, y, lambda t: wrong(net, t, x, y, weight), weight=weight)
    assert {name: p.verdict for name, p in report.parameters.items()} == dict.fromkeys(net.names, "FAIL")
    assert all(text in p.diagnosis for p in report.parameters.values()), str(report)


# Mistakes with samples and masks


@pytest.mark.parametrize("text", SUBSETS)
def test_samples_that_are_left_out_are_named(text) -> None:
    net = Network([3, 4, 2], hidden="tanh")
    rng = np.random.default_rng(0)
    theta = net.initialize(0, "float64") + 0.1 * rng.standard_normal(net.size)
    x, y = rng.standard_normal((7, 3)), rng.integers(0, 2, 7)
    weight = SUBSETS[text](np.arange(7), 7).astype(float)
    share = float(weight.sum()) / 7
    report = check_network(net, theta, x, y, lambda t: share * net.loss_and_grad(t, x, y, weight=weight)[1])
    assert report.parameters["W1"].diagnosis == f"dW1 {text}"


def masked_point():
    net = Network([3, 4, 2], hidden="tanh", dropout=0.5)
    rng = np.random.default_rng(1)
    masks = [(rng.random((6, 4)) < 0.5) / 0.5]
    return point(
        net, net.initialize(0, "float64"), rng.random((6, 3)), rng.integers(0, 2, 6), masks, None, complex_derivative
    )


def test_masks_may_be_left_out_not_scaled_or_used_backward_only() -> None:
    at = masked_point()
    points = remasked(at)
    assert len(points) == 3
    bare, unscaled, backward_only = points.values()
    assert bare.masks == [None]
    assert np.array_equal(bare.layers[1].x, bare.layers[0].a)
    assert set(np.unique(unscaled.masks[0])) == {0, 1}
    assert np.array_equal(backward_only.layers[1].z, bare.layers[1].z)
    assert backward_only.masks is at.masks
    assert remasked(at._replace(masks=[None])) == {}


# Wrong tensors


def test_a_guess_matches_if_it_is_clearly_better_than_the_numeric_gradient() -> None:
    at = masked_point()
    analytic, numeric, bar = np.array([2.0, 4.0]), np.array([1.0, 2.0]), np.full(2, 1e-9)
    tensor = WrongTensor(at, [], {}, 0, judge("b1", analytic, numeric, bar), np.zeros(2))
    assert tensor.matches(2 * numeric)
    assert not tensor.matches(2.1 * numeric)
    assert not tensor.matches(np.array([2.0, np.nan]))
    assert not tensor.matches(np.ones(3))
    assert not tensor.is_weight
    assert tensor.bad.tolist() == [True, True]
    assert tensor.n == 6
