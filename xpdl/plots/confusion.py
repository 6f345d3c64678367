"""The confusion matrix: how often each label is predicted for each true label."""

from typing import Any

import numpy as np

from xpdl.network import Network
from xpdl.plots.classified import classes, classify
from xpdl.plots.figures import Axes, axes
from xpdl.training.evaluation import count_confusions

READABLE = 20
"""With at most this many classes, the counts can be read in the cells."""

TICKS = [0.0, 0.01, 0.05, 0.2, 0.5, 1.0]
"""Fractions with a tick on the colour bar."""


def confusion_matrix(net: Network, theta: Any, x: Any, y: Any, *, ax: Axes | None = None) -> Axes:
    """Draw how often a classifier predicts each label (columns) for each true label (rows).

    A cell shows the number of samples and their fraction of the row, which is also its colour.

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
        If net is not a classifier, or if theta, x or y do not fit.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> import numpy as np
    >>> import xpdl
    >>> net = xpdl.Network([2, 2])
    >>> theta = net.pack([(np.eye(2), np.zeros(2))])
    >>> x, y = np.eye(2)[[0, 0, 0, 1]], [0, 0, 1, 1]
    >>> ax = xpdl.plots.confusion_matrix(net, theta, x, y, ax=Figure().subplots())
    >>> ax.get_title()
    'accuracy 75.00 % of 4 samples'
    >>> [text.get_text() for text in ax.texts]
    ['2\\n100.0 %', '1\\n50.0 %', '1\\n50.0 %']
    """
    found, k = classify(net, theta, x, y), classes(net)
    counts = count_confusions(found.labels, found.predicted, k)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(max(3.2, 0.62 * k), 11.0)
    ax = axes(ax, side + 1.8, side + 0.8)
    _paint(ax, shares)
    if k <= READABLE:
        _write(ax, counts, shares)
        ax.set(xticks=range(k), yticks=range(k))
    ax.set(xlabel="predicted label", ylabel="true label", title=found.title)
    return ax


def _paint(ax: Axes, shares: np.ndarray) -> None:
    """Draw the cells.  Their colour follows the square root of the fraction, so that rare mistakes are visible too."""
    from matplotlib.colors import PowerNorm
    from matplotlib.ticker import PercentFormatter

    image = ax.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1))
    bar = ax.figure.colorbar(image, ax=ax, ticks=TICKS, format=PercentFormatter(1.0, symbol=" %"))
    bar.set_label("fraction of the samples with that label")


def _write(ax: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    """Write counts and fractions into the cells, white on dark ones; empty cells stay without text."""
    for i, j in np.argwhere(counts).tolist():
        ink = "white" if shares[i, j] > 0.4 else "black"
        text = f"{counts[i, j]:,}\n{100 * shares[i, j]:.1f} %"
        ax.text(j, i, text, ha="center", va="center", color=ink, fontsize=8)
