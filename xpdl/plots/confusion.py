"""The confusion matrix: which labels were taken for which."""

from typing import Any

import numpy as np

from xpdl.network import Network
from xpdl.plots.classified import classes, classify
from xpdl.plots.figures import Axes, axes
from xpdl.training.evaluation import count_confusions

READABLE = 20
"""Classes whose counts can be read in the cells."""

TICKS = [0.0, 0.01, 0.05, 0.2, 0.5, 1.0]


def confusion_matrix(net: Network, theta: Any, x: Any, y: Any, *, ax: Axes | None = None) -> Axes:
    """Draw how many samples x, y of each label (rows) were given which label (columns), with the share of the row.

    theta (P,), x (n, d) and y as for ``xpdl.train``.  The colour is the share.  ``ValueError`` if net is no classifier.
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
    """Colours that go with the root of the share: they show rare mistakes, too."""
    from matplotlib.colors import PowerNorm
    from matplotlib.ticker import PercentFormatter

    image = ax.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1))
    bar = ax.figure.colorbar(image, ax=ax, ticks=TICKS, format=PercentFormatter(1.0, symbol=" %"))
    bar.set_label("share of the samples with that label")


def _write(ax: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    """The counts, and below them shares: white on dark cells; a cell nobody is in stays empty."""
    for i, j in np.argwhere(counts).tolist():
        ink = "white" if shares[i, j] > 0.4 else "black"
        text = f"{counts[i, j]:,}\n{100 * shares[i, j]:.1f} %"
        ax.text(j, i, text, ha="center", va="center", color=ink, fontsize=8)
