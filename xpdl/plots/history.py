"""The numbers of each epoch as curves: several runs side by side tell which learning rate, or optimizer, is better."""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from xpdl import checks
from xpdl.plots.figures import Axes, axes, colour, legend_beside, marker

STYLES: dict[str, dict[str, Any]] = {
    "": {"label": "training", "linestyle": "-"},
    "validation_": {"label": "validation", "linestyle": "--", "markerfacecolor": "white"},
}
"""What a key of the history begins with, and how such a curve is drawn and called."""

NAMES = {"loss": "cost"}

MARKS = 8
"""Markers on a curve."""

INSIDE = 4
"""Runs whose names have room within the Axes."""

Epochs = Sequence[Mapping[str, float]]


def curves(runs: Any, *, metric: str = "loss", ax: Axes | None = None) -> Axes:
    """Draw a number of each epoch: solid in training, dashed in validation, a colour and a marker for each run.

    runs    what ``xpdl.train`` returns, or its history (a list of dicts with "epoch"), or several, {label: run}
    metric  a key of the history: "loss", "accuracy", "seconds", ...; that with "validation_" before it belongs to it

    ``loss`` in training includes L2 and dropout, in validation it does not.  ``ValueError`` for a metric of no run.
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
    """Each run by its label; a run alone has none."""
    labelled = runs if isinstance(runs, Mapping) else {"": runs}
    if not labelled:
        raise ValueError("runs must hold at least one run, got {}")
    return {str(label): _history(run) for label, run in labelled.items()}


def _history(run: Any) -> Epochs:
    epochs: Epochs = getattr(run, "history", run)
    if not isinstance(epochs, Sequence) or not all(isinstance(e, Mapping) and "epoch" in e for e in epochs):
        expected = "a Result, a history (a list of dicts with 'epoch'), or several by their labels"
        raise TypeError(f"runs must be {expected}, got {checks.shorten(run)}")
    if not epochs:
        raise ValueError("runs must have at least one epoch each, got a history of none")
    return epochs


def _number(epoch: Mapping[str, float], key: str) -> float:
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
    """The runs by their markers, and apart from them the line styles, so that it stays short."""
    from matplotlib.lines import Line2D

    runs = [
        Line2D([], [], color=colour(i), marker=marker(i), linestyle="none", label=label)
        for i, label in enumerate(labels)
        if label
    ]
    look = {"color": "0.3"} if runs else {"color": colour(0), "marker": marker(0)}
    handles = [*runs, *(Line2D([], [], **look | style) for style in styles)]
    if len(runs) > INSIDE:
        legend_beside(ax, handles=handles)
    else:
        ax.legend(handles=handles)
