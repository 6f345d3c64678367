"""Rows of numbers as images, many of them in one Axes: samples, and the weights of the first layer."""

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
"""Between two images, in heights of an image."""

CAPTION = 0.4
"""The height of a caption of two lines, in heights of an image."""

CLIPPED = 0.001
"""Share of the weights that are beyond the scale: a few large ones would leave the others pale."""


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
    """Draw the samples x, y of the highest cost as images: the worst first, each with its true and predicted label.

    theta (P,), x (n, d) and y as for ``xpdl.train``.  count: how many at most.  shape: (height, width) of an image; by
    default it is a square.  ``ValueError`` if net is no classifier, or if the shape does not fit.
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
    """Draw the weights of the first units of layer 1 as images, all on one scale that is symmetric about 0.

    theta (P,).  count: how many units at most, the first row left to right, then the next.  shape: (height, width) of
    an image; by default it is a square.  ``ValueError`` if the shape does not fit.
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
    """(height, width) of an image of d pixels: a square if it is not given."""
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
    """Images (m, height, width) row by row in one, NaN between them and where captions go."""
    m, height, width = images.shape
    cells = np.full((-(-m // _columns(m)), _cell(height, caption), _columns(m), _cell(width)), np.nan)
    for place, image in enumerate(images):
        row, column = divmod(place, _columns(m))
        cells[row, :height, column, :width] = image
    return cells.reshape(cells.shape[0] * cells.shape[1], -1)


def _feet(images: np.ndarray, caption: float) -> Iterator[tuple[float, float]]:
    """The column and row of the middle of the lower edge of each image in its mosaic."""
    m, height, width = images.shape
    for row, column in (divmod(place, _columns(m)) for place in range(m)):
        yield column * _cell(width) + (width - 1) / 2, row * _cell(height, caption) + 1.04 * height


def _size(count: int, caption: float = 0.0, beside: float = 0.0) -> tuple[float, float]:
    """Inches for so many images, each an inch wide or less."""
    columns = _columns(count)
    inches = min(1.0, 9 / columns)
    width, height = columns * (1 + GAP), -(-count // columns) * (1 + GAP + caption)
    return max(4.5, inches * width + beside), max(2.0, inches * height) + 0.4


def _columns(count: int) -> int:
    return math.ceil(math.sqrt(count))


def _cell(pixels: int, caption: float = 0.0) -> int:
    """The pixels of an image, of the gap after it and of its caption."""
    return pixels + max(1, round(GAP * pixels)) + round(caption * pixels)
