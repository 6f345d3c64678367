"""The decision boundary: regions, lines and points are where the network and the samples have them."""

from dataclasses import replace

import numpy as np
import pytest

from xpdl import Network, Scaling, plots
from xpdl.plots import figures

matplotlib = pytest.importorskip("matplotlib", reason="plots need matplotlib")
from matplotlib.colors import to_rgb  # noqa: E402

LINE = Network([2, 1], output="sigmoid")
"""With the parameters HALF it predicts class 1 where the first feature is above 0.5."""
HALF = LINE.pack([(np.array([[2.0], [0.0]]), np.array([-1.0]))])


def boundary_lines(ax):
    """The points of all contour lines, (m, 2)."""
    sets = [c for c in ax.collections if isinstance(c, matplotlib.contour.ContourSet)]
    return np.concatenate([path.vertices for contour in sets for path in contour.get_paths()])


def region_at(ax, points):
    """The classes whose tints are at points (n, 2)."""
    image = ax.get_images()[0]
    assert image.origin == "lower"
    left, right, bottom, top = image.get_extent()
    colours = image.get_array()
    rows, columns = colours.shape[:2]
    i = ((points[:, 1] - bottom) / (top - bottom) * rows).astype(int)
    j = ((points[:, 0] - left) / (right - left) * columns).astype(int)
    pure = np.array([to_rgb(figures.colour(c)) for c in range(len(figures.COLOURS))])
    return np.argmin(np.linalg.norm((colours[i, j][:, None] - 1) / 0.28 + 1 - pure, axis=-1), axis=1)


def legend_of(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_the_boundary_of_two_classes_lies_where_the_logit_is_0(samples) -> None:
    x, y = samples()
    ax = plots.decision_boundary(LINE, HALF, x, y)
    line = boundary_lines(ax)
    np.testing.assert_allclose(line[:, 0], 0.5, atol=1e-12)
    assert np.ptp(line[:, 1]) >= np.ptp(x[:, 1])
    far = x[np.abs(x[:, 0] - 0.5) > 0.02]
    assert np.array_equal(region_at(ax, far), far[:, 0] > 0.5)
    assert ax.get_title() == f"accuracy {100 * np.mean((x[:, 0] > 0.5) == y):.2f} % of 40 samples"


@pytest.mark.parametrize("k", [2, 3, 7])
def test_regions_are_those_that_the_network_predicts(samples, k) -> None:
    net = Network([2, 8, k], hidden="tanh", init=2.0)
    theta = net.initialize(1, "float64")
    x, y = samples(300, 2, k)
    ax = plots.decision_boundary(net, theta, x, y)
    p = np.sort(net.predict_proba(theta, x), axis=1)
    sure = p[:, -1] - p[:, -2] > 0.1
    assert np.array_equal(region_at(ax, x[sure]), net.predict(theta, x[sure]))
    on_line = np.sort(net.predict_proba(theta, boundary_lines(ax)), axis=1)
    np.testing.assert_allclose(on_line[:, -1], on_line[:, -2], atol=0.02)


def test_every_sample_is_a_point_with_the_marker_of_its_class(samples) -> None:
    net = Network([2, 3])
    x, y = samples(31, 2, 3)
    ax = plots.decision_boundary(net, net.initialize(0), x, y)
    points = [c for c in ax.collections if not isinstance(c, matplotlib.contour.ContourSet)]
    assert [len(c.get_offsets()) for c in points] == [11, 10, 10]
    for j, c in enumerate(points):
        np.testing.assert_allclose(c.get_offsets(), x[y == j])
    assert len({c.get_paths()[0].vertices.tobytes() for c in points}) == 3
    assert len({c.get_facecolor().tobytes() for c in points}) == 3
    assert legend_of(ax) == ["class 0", "class 1", "class 2"]


@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_the_plane_is_that_of_x_and_the_network_scales_it(dtype) -> None:
    x = np.array([[0, 0], [255, 255], [102, 204]]).astype(dtype)
    ax = plots.decision_boundary(replace(LINE, inputs=Scaling.images), HALF, x, [0, 1, 0])
    np.testing.assert_allclose(boundary_lines(ax)[:, 0], 127.5, atol=1e-9)
    np.testing.assert_allclose(ax.collections[-2].get_offsets(), [[0, 0], [102, 204]])


@pytest.mark.parametrize("x", [[[0.0, 0.0], [0.0, 0.0]], [[1.0, 0.0], [1.0, 1e-6]]])
def test_points_on_a_line_have_a_margin_around_them(x) -> None:
    ax = plots.decision_boundary(LINE, HALF, x, [0, 1])
    left, right, bottom, top = ax.get_images()[0].get_extent()
    assert all(left < a < right and bottom < b < top for a, b in x)


def test_a_network_of_other_than_two_inputs_is_refused() -> None:
    net = Network([3, 3])
    with pytest.raises(ValueError, match="net must have 2 inputs to be drawn in the plane, got 3"):
        plots.decision_boundary(net, net.initialize(0), np.zeros((2, 3)), [0, 1])
