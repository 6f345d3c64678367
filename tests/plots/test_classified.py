"""Labelled samples with their predictions: labels, costs, logits, and which networks and samples are refused."""

import math

import numpy as np
import pytest

import xpdl
from xpdl import Network, plots
from xpdl.plots.classified import classes, classify, logits

DIGITS = Network([4, 3])
"""Images of 2 x 2 pixels; with the parameters PIXELS, the logits are the first three pixels times 4."""
PIXELS = DIGITS.pack([(np.eye(4, 3) * 4.0, np.zeros(3))])


LINE = Network([2, 1], output="sigmoid")
"""With the parameters HALF it predicts class 1 where the first feature is above 0.5."""
HALF = LINE.pack([(np.array([[2.0], [0.0]]), np.array([-1.0]))])


def test_labels_predictions_and_costs_belong_to_the_samples() -> None:
    x, y = np.array([[1.0, 0, 0, 0], [0, 1.0, 0, 0]]), np.array([0, 2])
    found = classify(DIGITS, PIXELS, x, y)
    assert (found.labels.tolist(), found.predicted.tolist()) == ([0, 2], [0, 1])
    total = 2 + math.exp(4)
    np.testing.assert_allclose(found.cost, [math.log(total) - 4, math.log(total)])
    assert found.title == "accuracy 50.00 % of 2 samples"


def test_one_hot_rows_and_arrays_of_any_library_are_accepted(lib, samples) -> None:
    x, y = samples(30, 4, 3)
    found = classify(DIGITS, lib.put(PIXELS), lib.put(x), lib.put(np.eye(3)[y]))
    expected = classify(DIGITS, PIXELS, lib.host(lib.put(x)), y)
    assert np.array_equal(found.labels, y)
    assert np.array_equal(found.predicted, expected.predicted)


def test_one_sigmoid_has_the_logits_of_two_classes() -> None:
    np.testing.assert_allclose(logits(LINE, HALF, np.array([[1.0, 0], [0.25, 9]])), [[0, 1], [0, -0.5]])
    assert (classes(LINE), classes(DIGITS)) == (2, 3)


def test_a_loss_of_your_own_that_tells_classes_apart_can_be_drawn(samples) -> None:
    softmax = xpdl.losses.softmax
    own = Network([4, 3], output=softmax._replace(near_one=False))
    assert classes(own) == 3
    assert classify(own, PIXELS, *samples(9, 4, 3)).predicted.shape == (9,)


@pytest.mark.parametrize("draw", [plots.decision_boundary, plots.confusion_matrix, plots.worst_images])
@pytest.mark.parametrize(
    ("sizes", "output", "said"),
    [
        ([2, 3], "linear", "'linear' of 3 units"),
        ([2, 1], "linear", "'linear' of 1 unit"),
        ([2, 3], "sigmoid", "'sigmoid' of 3 units"),
        ([2, 1], "softmax", "'softmax' of 1 unit"),
    ],
)
def test_a_network_that_is_no_classifier_is_refused(draw, sizes, output, said) -> None:
    net = Network(sizes, output=output)
    with pytest.raises(ValueError, match=f"net must tell classes apart, .*, got output {said}$"):
        draw(net, net.initialize(0), np.zeros((2, 2)), np.zeros(2))


@pytest.mark.parametrize("draw", [plots.decision_boundary, plots.confusion_matrix, plots.worst_images])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"net": "net"}, "net must be an xpdl.Network"),
        ({"theta": np.zeros(3)}, r"theta must have shape \(12,\)"),
        ({"x": np.zeros((2, 5))}, r"x must have shape \(n, 3\)"),
        ({"x": np.full((2, 3), np.nan)}, "x must be finite"),
        ({"y": [0, 3]}, r"y must be labels 0..2 .*, got y\[1\] = 3"),
        ({"y": [0]}, "y must hold one row for each of the 2 samples"),
        ({}, "net must have 2 inputs .*, got 3|shape must be given as .*: 3 inputs are no square image"),
    ],
)
def test_bad_samples_are_refused_as_in_training(draw, change, said) -> None:
    net = Network([3, 3])
    given = {"net": net, "theta": net.initialize(0), "x": np.zeros((2, 3)), "y": [0, 1]} | change
    if draw is plots.confusion_matrix and not change:
        pytest.skip("it draws any classifier")
    with pytest.raises((TypeError, ValueError), match=said):
        draw(**given)


def test_a_loss_of_your_own_with_another_cost_gives_the_same_picture() -> None:
    binary = xpdl.losses.binary
    own = Network([2, 1], output=binary._replace(cost=lambda s, y: 3 * binary.cost(s, y)))
    x, y = [[0.0, 0], [1.0, 0], [0.4, 1], [2.0, 3]], [0, 0, 1, 1]
    shown = [plots.confusion_matrix(net, HALF, x, y).get_images()[0].get_array() for net in (LINE, own)]
    assert np.array_equal(*shown)
    assert plots.decision_boundary(own, HALF, x, y).get_title() == "accuracy 50.00 % of 4 samples"


def test_a_loss_of_your_own_for_values_tells_no_classes_apart() -> None:
    net = Network([2, 1], output=xpdl.Loss(lambda s, y: s))
    with pytest.raises(ValueError, match=r"net must tell classes apart, .*, got output Loss\(cost=.* of 1 unit$"):
        plots.confusion_matrix(net, HALF, [[0.0, 0]], [0])
