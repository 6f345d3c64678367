"""Images: the samples with the highest cost, the weights of the first layer, and the mosaic they stand in."""

import math

import numpy as np
import pytest

from xpdl import Network, plots
from xpdl.plots import images

pytest.importorskip("matplotlib", reason="plots need matplotlib")


DIGITS = Network([4, 3])
"""Images of 2 x 2 pixels; with the parameters PIXELS, the logits are the first three pixels times 4."""
PIXELS = DIGITS.pack([(np.eye(4, 3) * 4.0, np.zeros(3))])


def test_the_worst_images_come_first_with_their_labels() -> None:
    x = np.array([[1.0, 0, 0, 0.5], [0, 1.0, 0, 0.25], [0.5, 0, 0, 0.125], [0, 0, 1.0, 0.75]])
    y = np.array([1, 1, 2, 2])
    ax = plots.worst_images(DIGITS, PIXELS, x, y, count=3)
    cost = [4 + math.log(1 + 2 * math.exp(-4)), 2 + math.log(1 + 2 * math.exp(-2)), math.log(1 + 2 * math.exp(-4))]
    labels = ["1 → 0", "2 → 0", "1 → 1"]
    assert [t.get_text() for t in ax.texts] == [f"{a}\ncost {c:.3g}" for a, c in zip(labels, cost, strict=True)]
    mosaic = ax.get_images()[0].get_array().filled(np.nan)
    shown = mosaic[np.isfinite(mosaic)]
    assert shown.size == 12
    np.testing.assert_array_equal(mosaic[:2, :2], x[0].reshape(2, 2))
    np.testing.assert_array_equal(mosaic[:2, 3:5], x[2].reshape(2, 2))
    np.testing.assert_array_equal(mosaic[4:6, :2], x[1].reshape(2, 2))
    assert "of 4 samples" in ax.get_title()


@pytest.mark.parametrize("count", [1, 2, 5, 12])
@pytest.mark.parametrize("caption", [0.0, 0.4])
def test_a_mosaic_has_every_image_once_and_captions_below_them(count, caption) -> None:
    pictures = np.arange(count * 30.0).reshape(count, 5, 6)
    mosaic = images._mosaic(pictures, caption)
    found = []
    for column, row in images._feet(pictures, caption):
        left, below = round(column - 2.5), int(row)
        found.append(mosaic[below - 5 : below, left : left + 6])
        assert np.isnan(mosaic[below : below + 1 + round(5 * caption), left : left + 6]).all()
    np.testing.assert_array_equal(found, pictures)
    assert np.isfinite(mosaic).sum() == pictures.size


def test_there_are_at_most_as_many_images_as_samples(samples) -> None:
    assert len(plots.worst_images(DIGITS, PIXELS, *samples(7, 4, 3)).texts) == 7
    assert len(plots.worst_images(DIGITS, PIXELS, *samples(40, 4, 3)).texts) == 25
    assert len(plots.worst_images(DIGITS, PIXELS, *samples(40, 4, 3), count=4).texts) == 4


def test_weights_are_images_on_a_scale_around_0() -> None:
    net = Network([6, 5, 2])
    theta = net.initialize(0, "float64")
    ax = plots.weight_images(net, theta, count=4, shape=(2, 3))
    image = ax.get_images()[0]
    w, _ = net.unpack(theta)[0]
    mosaic = image.get_array().filled(np.nan)
    np.testing.assert_array_equal(mosaic[:2, :3], w[:, 0].reshape(2, 3))
    np.testing.assert_array_equal(mosaic[:2, 4:7], w[:, 1].reshape(2, 3))
    np.testing.assert_array_equal(mosaic[3:5, :3], w[:, 2].reshape(2, 3))
    low, high = image.get_clim()
    assert low == -high
    assert 0.9 * np.abs(w[:, :4]).max() < high <= np.abs(w[:, :4]).max()
    assert ax.get_title() == "W1, units 0 to 3 of 5"


def test_a_network_of_zeros_has_a_colour_scale() -> None:
    ax = plots.weight_images(DIGITS, 0 * PIXELS)
    assert ax.get_images()[0].get_clim() == (-1, 1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "shape must be given as .height, width.: 6 inputs are no square image"),
        ({"shape": (2, 2)}, "shape must have as many pixels as net has inputs, 6, got 2 x 2"),
        ({"shape": (2, 3, 1)}, r"shape must be \(height, width\), got \(2, 3, 1\)"),
        ({"shape": 6}, r"shape must be \(height, width\), got 6"),
        ({"shape": (2.0, 3)}, "shape must be an integer, got 2.0"),
        ({"shape": (-2, -3)}, "shape must be at least 1, got -2"),
        ({"shape": (2, 3), "count": 0}, "count must be at least 1, got 0"),
        ({"shape": (2, 3), "count": 1.5}, "count must be an integer, got 1.5"),
    ],
)
def test_a_shape_or_count_that_does_not_fit_is_refused(samples, options, said) -> None:
    net = Network([6, 3])
    for draw, arguments in ((plots.worst_images, samples(9, 6, 3)), (plots.weight_images, ())):
        with pytest.raises((TypeError, ValueError), match=said):
            draw(net, net.initialize(0), *arguments, **options)
