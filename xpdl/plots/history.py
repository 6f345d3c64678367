"""The numbers of each epoch as curves: runs side by side show which learning rate or optimizer is better."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from numbers import Real
from typing import Any

import numpy as np

from xpdl import checks
from xpdl.plots.figures import Axes, axes, colour, legend_beside, marker

STYLES: dict[str, dict[str, Any]] = {
    "": {"label": "training", "linestyle": "-"},
    "validation_": {"label": "validation", "linestyle": "--", "markerfacecolor": "white"},
}
"""Prefixes of the keys of a history, and how the curves of these keys are drawn."""

NAMES = {"loss": "cost"}
"""Labels of the vertical axis that differ from the key."""

MARKS = 8
"""The most markers on a curve."""

INSIDE = 4
"""With at most this many runs, the legend has room within the Axes."""

Epochs = Sequence[Mapping[str, Any]]


def curves(runs: Any, *, metric: str = "loss", ax: Axes | None = None) -> Axes:
    """Draw a number of each epoch as curves, for one run or several.

    Training curves are solid, validation curves are dashed.  Each run has a colour and a marker.  The loss includes L2
    and dropout in training, but not in validation.

    Parameters
    ----------
    runs : Result, list of dict, or mapping
        The result of ``xpdl.train``, or its history; or several of these, as {label: run}.  If K networks were trained
        at once, each of them has its curves.
    metric : str, default "loss"
        Key of the history: "loss", "accuracy", "seconds", ...  The key with the prefix "validation_" is drawn, too.
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
    TypeError
        If runs is something else.
    ValueError
        If no run has such a metric, or if a run has no epoch.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> import xpdl
    >>> data = xpdl.data.circles()
    >>> net = xpdl.Network([2, 8, 1], hidden="tanh", output="sigmoid")
    >>> runs = {
    ...     f"lr {lr}": xpdl.train(net, data.x, data.y, optimizer=xpdl.sgd(lr), epochs=3, progress=False)
    ...     for lr in (0.1, 1.0)
    ... }
    >>> ax = xpdl.plots.curves(runs, ax=Figure().subplots())
    >>> [line.get_label() for line in ax.get_lines()]
    ['lr 0.1 training', 'lr 1.0 training']
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('epoch', 'cost')
    """
    histories = _histories(runs)
    known = {key.removeprefix("validation_") for epochs in histories.values() for epoch in epochs for key in epoch}
    checks.choice("metric", metric, known - {"epoch"})
    ax = axes(ax)
    shown = set[str]()
    for number, (label, epochs) in enumerate(histories.items()):
        for prefix, style in STYLES.items():
            points = [(e["epoch"], _number(e, prefix + metric)) for e in epochs if prefix + metric in e]
            if points:
                shown.add(prefix)
                _draw(ax, points, number, **style | {"label": f"{label} {style['label']}".strip()})
    _describe(ax, metric)
    _legend(ax, list(histories), [STYLES[prefix] for prefix in STYLES if prefix in shown])
    return ax


def _histories(runs: Any) -> dict[str, Epochs]:
    """Return the history of each run by its label; a single run has the label ""."""
    labelled = runs if isinstance(runs, Mapping) else {"": runs}
    if not labelled:
        raise ValueError("runs must hold at least one run, got {}")
    return dict(pair for label, run in labelled.items() for pair in _networks(str(label), _history(run)))


def _networks(label: str, epochs: Epochs) -> Iterator[tuple[str, Epochs]]:
    """Yield the history of each of K networks, with its number in the label; that of a single one as it is."""
    several = {name: len(value) for name, value in epochs[0].items() if isinstance(value, list | np.ndarray)}
    if not several or "epoch" in several:
        yield label, epochs
        return
    for k in range(min(several.values())):
        one = [{name: value[k] if name in several else value for name, value in epoch.items()} for epoch in epochs]
        yield f"{label} network {k}".strip(), one


def _history(run: Any) -> Epochs:
    epochs: Epochs = getattr(run, "history", run)
    if not isinstance(epochs, Sequence) or not all(isinstance(e, Mapping) and "epoch" in e for e in epochs):
        expected = "a Result, a history (a list of dicts with 'epoch'), or a dict of several with their labels"
        raise TypeError(f"runs must be {expected}, got {checks.shorten(run)}")
    if not epochs:
        raise ValueError("runs must have at least one epoch each, got a history of none")
    return epochs


def _number(epoch: Mapping[str, float], key: str) -> float:
    with suppress(OverflowError):
        if isinstance(epoch[key], Real):
            return float(epoch[key])
    raise TypeError(f"runs must hold numbers, got {key} = {checks.shorten(epoch[key])} in epoch {epoch['epoch']}")


def _draw(ax: Axes, points: list[tuple[float, float]], number: int, **style: Any) -> None:
    every = -(-len(points) // MARKS)
    marks = {"marker": marker(number), "markersize": 5, "markevery": (number % every, every)}
    ax.plot(*zip(*points, strict=True), color=colour(number), linewidth=1.5, **marks, **style)


def _describe(ax: Axes, metric: str) -> None:
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    ax.set_xlabel("epoch")
    ax.set_ylabel(NAMES.get(metric, metric))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    if metric == "accuracy":
        ax.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)


def _legend(ax: Axes, labels: list[str], styles: list[dict[str, Any]]) -> None:
    """Make a short legend: an entry for each run, and an entry for each line style."""
    from matplotlib.lines import Line2D

    named = [(i, label) for i, label in enumerate(labels) if label]
    runs = [Line2D([], [], color=colour(i), marker=marker(i), linestyle="none", label="run") for i, _ in named]
    look = {"color": "0.3"} if runs else {"color": colour(0), "marker": marker(0)}
    handles = [*runs, *(Line2D([], [], **look | style) for style in styles)]
    if len(runs) > INSIDE:
        legend_beside(ax, handles=handles)
    else:
        ax.legend(handles=handles)
    for text, (_, label) in zip(ax.get_legend().get_texts(), named, strict=False):
        text.set_text(label)  # a label that begins with _ would be left out
