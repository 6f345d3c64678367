"""Rows of numbers as images, many in one Axes: samples, and the weights of the first layer."""

from collections.abc import Iterator, Sequence
import math
from typing import Any

import numpy as np

from xpdl import checks
from xpdl.backends import backend
from xpdl.network import Network
from xpdl.plots.classified import classify, parameters
from xpdl.plots.figures import Axes, axes

GAP = 0.1
"""The space between two images, in heights of an image."""

CAPTION = 0.4
"""The height of a caption of two lines, in heights of an image."""

CLIPPED = 0.001
"""Fraction of the weights that exceed the colour scale; otherwise a few large ones would leave the others pale."""


def worst_images(
    net: Network,
    theta: Any,
    x: Any,
    y: Any,
    *,
    count: int = 25,
    shape: Sequence[int] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the samples with the highest cost as images, the worst first.

    Each image has its true label, its predicted label and its cost.

    Parameters
    ----------
    net : Network
        The classifier.
    theta : array, shape (P,)
        Its parameters.
    x : array, shape (n, d)
        Samples, from any array library; checked as by ``xpdl.train``.
    y : array, shape (n,) or (n, k)
        Their labels.
    count : int, default 25
        The largest number of images.
    shape : tuple of int, optional
        Height and width of an image.  By default, a square.
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
        If net is not a classifier, if the shape does not fit, or if theta, x or y do not fit.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> import xpdl
    >>> data = xpdl.data.glyphs(n_train=50, n_test=10)
    >>> net = xpdl.Network([784, 10], inputs=data.scaling)
    >>> ax = xpdl.plots.worst_images(net, net.initialize(seed=0), data.x, data.y, count=4, ax=Figure().subplots())
    >>> len(ax.texts), ax.get_title()
    (4, 'highest cost of 50 samples: true → predicted label')
    """
    found = classify(net, theta, x, y)
    height, width = _image_shape(shape, net.sizes[0])
    worst = np.argsort(-found.cost, kind="stable")[: checks.integer("count", count, least=1)]
    ax = axes(ax, *_size(len(worst), CAPTION))
    images = found.x[worst].reshape(-1, height, width)
    ax.imshow(_mosaic(images, CAPTION), cmap="gray_r")
    for i, (column, row) in zip(worst.tolist(), _feet(images, CAPTION), strict=True):
        text = f"{found.labels[i]} → {found.predicted[i]}\ncost {found.cost[i]:.3g}"
        ax.text(column, row, text, ha="center", va="top", fontsize=8)
    ax.set_title(f"highest cost of {len(found.x):,} samples: true → predicted label", fontsize=10)
    ax.set_axis_off()
    return ax


def weight_images(
    net: Network, theta: Any, *, count: int = 64, shape: Sequence[int] | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the weights of the first units of layer 1 as images.

    The images stand row by row in the order of the units.  They share a colour scale that is symmetric about 0.

    Parameters
    ----------
    net : Network
        The network.
    theta : array, shape (P,)
        Its parameters.
    count : int, default 64
        The largest number of units.
    shape : tuple of int, optional
        Height and width of an image.  By default, a square.
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
        If the shape or theta does not fit.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> import xpdl
    >>> net = xpdl.Network([6, 5, 2])
    >>> theta = net.initialize(seed=0)
    >>> ax = xpdl.plots.weight_images(net, theta, count=4, shape=(2, 3), ax=Figure().subplots())
    >>> ax.get_title()
    'W1, units 0 to 3 of 5'
    """
    checks.instance("net", net, Network)
    height, width = _image_shape(shape, net.sizes[0])
    w, _ = net.unpack(parameters(net, theta, backend("numpy")))[0]
    shown = w[:, : checks.integer("count", count, least=1)].T
    most = float(np.quantile(np.abs(shown), 1 - CLIPPED)) or 1.0
    ax = axes(ax, *_size(len(shown), beside=0.9))
    image = ax.imshow(_mosaic(shown.reshape(-1, height, width)), cmap="RdBu_r", vmin=-most, vmax=most)
    ax.figure.colorbar(image, ax=ax, extend="both", fraction=0.05, pad=0.02, label="weight")
    ax.set_title(f"W1, units 0 to {len(shown) - 1} of {w.shape[1]}", fontsize=10)
    ax.set_axis_off()
    return ax


def _image_shape(shape: Sequence[int] | None, d: int) -> tuple[int, int]:
    """Return (height, width) of an image of d pixels; without a given shape it is a square."""
    if shape is None:
        side = math.isqrt(d)
        if side * side != d:
            raise ValueError(f"shape must be given as (height, width): {d} inputs are no square image")
        return side, side
    if not isinstance(shape, Sequence) or len(shape) != 2:
        raise ValueError(f"shape must be (height, width), got {checks.shorten(shape)}")
    height, width = (checks.integer("shape", n, least=1) for n in shape)
    if height * width != d:
        raise ValueError(f"shape must have as many pixels as net has inputs, {d}, got {height} x {width}")
    return height, width


def _mosaic(images: np.ndarray, caption: float = 0.0) -> np.ndarray:
    """Join images (m, height, width) row by row into one, with NaN between them and in the place of captions."""
    m, height, width = images.shape
    cells = np.full((-(-m // _columns(m)), _cell(height, caption), _columns(m), _cell(width)), np.nan)
    for place, image in enumerate(images):
        row, column = divmod(place, _columns(m))
        cells[row, :height, column, :width] = image
    return cells.reshape(cells.shape[0] * cells.shape[1], -1)


def _feet(images: np.ndarray, caption: float) -> Iterator[tuple[float, float]]:
    """Yield the column and row of the middle of each image's lower edge in the mosaic."""
    m, height, width = images.shape
    for row, column in (divmod(place, _columns(m)) for place in range(m)):
        yield column * _cell(width) + (width - 1) / 2, row * _cell(height, caption) + 1.04 * height


def _size(count: int, caption: float = 0.0, beside: float = 0.0) -> tuple[float, float]:
    """Return width and height in inches for this many images, each at most an inch wide."""
    columns = _columns(count)
    inches = min(1.0, 9 / columns)
    width, height = columns * (1 + GAP), -(-count // columns) * (1 + GAP + caption)
    return max(4.5, inches * width + beside), max(2.0, inches * height) + 0.4


def _columns(count: int) -> int:
    return math.ceil(math.sqrt(count))


def _cell(pixels: int, caption: float = 0.0) -> int:
    """Return the pixels of an image together with the gap after it and its caption."""
    return pixels + max(1, round(GAP * pixels)) + round(caption * pixels)
