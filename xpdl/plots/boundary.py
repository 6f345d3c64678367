"""The decision boundary of a classifier of two features, and the points that it was drawn for."""

from typing import Any

import numpy as np

from xpdl.network import Network
from xpdl.plots.classified import Classified, classify, logits
from xpdl.plots.figures import DENSE, Axes, axes, colour, legend_beside, marker

RESOLUTION = 400
"""Points of the grid along each feature."""

TINT = 0.28
"""How much of a class's colour its region has; the rest is white."""


def decision_boundary(net: Network, theta: Any, x: Any, y: Any, *, ax: Axes | None = None) -> Axes:
    """Draw the regions of the plane that net gives to each class, the lines between them, and the samples x, y.

    theta (P,), x (n, 2) and y as for ``xpdl.train``, usually the training samples.  A class has a colour and a marker.
    ``ValueError`` for a network with other than two inputs, or that is no classifier.
    """
    found = classify(net, theta, x, y)
    if net.sizes[0] != 2:
        raise ValueError(f"net must have 2 inputs to be drawn in the plane, got {net.sizes[0]}")
    points = found.x / 255 if found.x.dtype == np.uint8 else found.x
    ax = axes(ax)
    _draw_regions(ax, net, found.theta, *_grid(points))
    _draw_points(ax, points, found)
    ax.set(xlabel="$x_1$", ylabel="$x_2$", title=found.title)
    ax.locator_params(nbins=6)
    legend_beside(ax)
    return ax


def _grid(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values of both features on a grid around the points (n, 2), with a margin."""
    low, high = points.min(axis=0), points.max(axis=0)
    margin = np.where(high > low, 0.08 * (high - low), 1.0)
    first, second = (np.linspace(a, b, RESOLUTION) for a, b in zip(low - margin, high + margin, strict=True))
    return first, second


def _draw_regions(ax: Axes, net: Network, theta: np.ndarray, first: np.ndarray, second: np.ndarray) -> None:
    """Tints, and the lines on which the logit of a class is as large as the largest of the others."""
    from matplotlib.colors import to_rgb

    plane = np.stack(np.meshgrid(first, second), axis=-1)
    z = logits(net, theta, plane.reshape(-1, 2)).reshape(*plane.shape[:2], -1)
    tints = np.array([TINT * np.array(to_rgb(colour(j))) + 1 - TINT for j in range(z.shape[-1])])
    extent = np.concatenate([(a[[0, -1]] + (a[1] - a[0]) * np.array([-0.5, 0.5])) for a in (first, second)])
    ax.imshow(tints[np.argmax(z, axis=-1)], origin="lower", extent=extent, aspect=_aspect(first, second))
    for j in range(z.shape[-1]):
        margin = z[..., j] - np.max(np.delete(z, j, axis=-1), axis=-1)
        if margin.min() < 0 < margin.max():
            ax.contour(first, second, margin, levels=[0.0], colors="black", linewidths=1.0)


def _aspect(first: np.ndarray, second: np.ndarray) -> str:
    """Circles are round, if the features are of about the same size."""
    spans = np.ptp(first), np.ptp(second)
    return "equal" if max(spans) < 3 * min(spans) else "auto"


def _draw_points(ax: Axes, points: np.ndarray, found: Classified) -> None:
    n = len(points)
    size = 22 if n <= 500 else 10 if n <= DENSE else 4
    for j in range(found.labels.max() + 1):
        own = points[found.labels == j]
        style = {"color": colour(j), "marker": marker(j), "edgecolors": "white", "linewidths": 0.5}
        ax.scatter(*own.T, s=size, label=f"class {j}", rasterized=n > DENSE, zorder=3, **style)
