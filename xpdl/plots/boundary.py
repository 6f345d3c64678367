"""The decision boundary of a classifier of two features, drawn with labelled samples."""

from typing import Any

import numpy as np

from xpdl.network import Network
from xpdl.plots.classified import Classified, classify, logits
from xpdl.plots.figures import DENSE, Axes, axes, colour, legend_beside, marker

RESOLUTION = 400
"""Number of grid points along each feature."""

TINT = 0.28
"""The colour of a region is this fraction of the colour of its class; the rest is white."""


def decision_boundary(net: Network, theta: Any, x: Any, y: Any, *, ax: Axes | None = None) -> Axes:
    """Draw the regions in which a classifier predicts each class, and labelled samples.

    Lines separate the regions.  Each class has a colour and a marker.

    Parameters
    ----------
    net : Network
        The classifier, with two inputs.
    theta : array, shape (P,)
        Its parameters.
    x : array, shape (n, 2)
        Samples, usually those of the training, from any array library; checked as by ``xpdl.train``.
    y : array, shape (n,) or (n, k)
        Their labels.
    ax : matplotlib.axes.Axes, optional
        Where to draw.  By default, the Axes of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The Axes with the picture.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If net does not have two inputs or is not a classifier, or if theta, x or y do not fit.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> import xpdl
    >>> data = xpdl.data.circles(n_train=40)
    >>> net = xpdl.Network([2, 8, 1], hidden="tanh", output="sigmoid")
    >>> ax = xpdl.plots.decision_boundary(net, net.initialize(seed=0), data.x, data.y, ax=Figure().subplots())
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['class 0', 'class 1']
    """
    found = classify(net, theta, x, y)
    if net.sizes[0] != 2:
        raise ValueError(f"net must have 2 inputs to be drawn in the plane, got {net.sizes[0]}")
    points = found.x.astype(np.float64)
    ax = axes(ax)
    _draw_regions(ax, net, found.theta, *_grid(points))
    _draw_points(ax, points, found)
    ax.set(xlabel="$x_1$", ylabel="$x_2$", title=found.title)
    ax.locator_params(nbins=6)
    legend_beside(ax)
    return ax


def _grid(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the values of both features on a grid around the points (n, 2), with a margin."""
    low, high = points.min(axis=0), points.max(axis=0)
    margin = np.where(high > low, 0.08 * (high - low), 1.0)
    first, second = (np.linspace(a, b, RESOLUTION) for a, b in zip(low - margin, high + margin, strict=True))
    return first, second


def _draw_regions(ax: Axes, net: Network, theta: np.ndarray, first: np.ndarray, second: np.ndarray) -> None:
    """Draw the regions, and the lines on which the logit of a class equals the largest of the other logits."""
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
    """Return the aspect of the Axes: circles are round if both features have about the same range."""
    spans = np.ptp(first), np.ptp(second)
    return "equal" if max(spans) < 3 * min(spans) else "auto"


def _draw_points(ax: Axes, points: np.ndarray, found: Classified) -> None:
    n = len(points)
    size = 22 if n <= 500 else 10 if n <= DENSE else 4
    for j in range(found.labels.max() + 1):
        own = points[found.labels == j]
        style = {"color": colour(j), "marker": marker(j), "edgecolors": "white", "linewidths": 0.5}
        ax.scatter(*own.T, s=size, label=f"class {j}", rasterized=n > DENSE, zorder=3, **style)
