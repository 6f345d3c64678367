"""The confusion matrix: counts and fractions of the true labels, row by row."""

import numpy as np
import pytest

from xpdl import Network, plots

pytest.importorskip("matplotlib", reason="plots need matplotlib")


DIGITS = Network([4, 3])
"""Images of 2 x 2 pixels; with the parameters PIXELS, the logits are the first three pixels times 4."""
PIXELS = DIGITS.pack([(np.eye(4, 3) * 4.0, np.zeros(3))])


LINE = Network([2, 1], output="sigmoid")
"""With the parameters HALF it predicts class 1 where the first feature is above 0.5."""
HALF = LINE.pack([(np.array([[2.0], [0.0]]), np.array([-1.0]))])


def test_cells_hold_counts_and_shares_of_the_row() -> None:
    x = np.eye(4)[[0, 0, 0, 1, 2, 2, 2, 2]]
    y = np.array([0, 0, 1, 1, 0, 2, 2, 2])
    ax = plots.confusion_matrix(DIGITS, PIXELS, x, y)
    texts = {tuple(map(int, t.get_position()[::-1])): t.get_text() for t in ax.texts}
    assert texts == {
        (0, 0): "2\n66.7 %",
        (0, 2): "1\n33.3 %",
        (1, 0): "1\n50.0 %",
        (1, 1): "1\n50.0 %",
        (2, 2): "3\n100.0 %",
    }
    np.testing.assert_allclose(ax.get_images()[0].get_array(), [[2 / 3, 0, 1 / 3], [0.5, 0.5, 0], [0, 0, 1]])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted label", "true label")
    assert ax.get_title() == "accuracy 75.00 % of 8 samples"
    assert ax.yaxis_inverted()  # label 0 is above


def test_one_sigmoid_has_two_classes_and_a_class_without_samples_has_a_row() -> None:
    ax = plots.confusion_matrix(LINE, HALF, [[0.0, 0], [1.0, 0]], [0, 0])
    np.testing.assert_allclose(ax.get_images()[0].get_array(), [[0.5, 0.5], [0, 0]])
    assert list(ax.get_xticks()) == list(ax.get_yticks()) == [0, 1]


def test_one_hot_labels_are_labels(samples) -> None:
    x, y = samples(30, 4, 3)
    shown = [
        plots.confusion_matrix(DIGITS, PIXELS, x, labels).get_images()[0].get_array() for labels in (y, np.eye(3)[y])
    ]
    assert np.array_equal(*shown)


def test_arrays_may_be_of_any_library(samples, lib) -> None:
    x, y = samples(30, 4, 3)
    shown = [
        plots.confusion_matrix(DIGITS, put(PIXELS), put(x), put(y)).get_images()[0].get_array()
        for put in (lib.put, np.asarray)
    ]
    assert np.array_equal(*shown)


def test_with_many_classes_the_cells_have_no_numbers(samples) -> None:
    net = Network([4, 30])
    ax = plots.confusion_matrix(net, net.initialize(0), *samples(60, 4, 30))
    assert len(ax.texts) == 0
    assert ax.get_images()[0].get_array().shape == (30, 30)
