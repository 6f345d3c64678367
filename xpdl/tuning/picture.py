"""A picture of a study: the losses trial by trial, and against each hyper-parameter."""

from collections.abc import Sequence
from itertools import accumulate
import math
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from xpdl.plots.figures import COLOURS, Axes, Figure, literal, new_figure
from xpdl.tuning.table import rows

KINDS = {
    "complete": {"c": COLOURS[0], "marker": "o", "s": 24, "label": "complete"},
    "pruned": {"c": COLOURS[1], "marker": "v", "s": 24, "label": "ended early"},
}
COLUMNS = 5
LABELLED = "25"
"""A tick between two powers of ten has a label if it begins with one of these digits."""

TICKS = 4
"""The most ticks on an axis of integers."""


def plot_trials(study: Study) -> Figure:
    """Draw the validation losses of a study: trial by trial above, against each hyper-parameter below.

    Parameters
    ----------
    study : optuna.Study
        A study whose trials report the loss of each epoch.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Examples
    --------
    >>> import optuna
    >>> from xpdl.tuning import plot_trials
    >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
    >>> def objective(trial):
    ...     loss = abs(trial.suggest_float("lr", 0.01, 1.0) - 0.3) + 0.1
    ...     trial.report(loss, 1)
    ...     return loss
    >>> study = optuna.create_study()
    >>> study.optimize(objective, n_trials=3)
    >>> len(plot_trials(study).axes)  # one of all trials, and one for the learning rate
    2
    """
    found = [row for row in rows(study) if row["loss"] is not None]
    parameters = {name: d for trial in study.get_trials(deepcopy=False) for name, d in trial.distributions.items()}
    lines = -(-len(parameters) // COLUMNS)
    figure = new_figure(12, 3.2 + 2.6 * lines)
    grid = figure.add_gridspec(1 + lines, COLUMNS, height_ratios=[1.2] + [1] * lines)
    top = figure.add_subplot(grid[0, :])
    _losses(top, found, "trial")
    _best_so_far(top, found)
    top.set_ylabel("validation loss")
    top.legend(loc="upper right", ncols=4)
    for i, (name, distribution) in enumerate(parameters.items()):
        axes = figure.add_subplot(grid[1 + i // COLUMNS, i % COLUMNS], sharey=top)
        _losses(axes, found, name)
        _scale(axes, distribution, [row[name] for row in found if name in row])
        first = i % COLUMNS == 0
        axes.tick_params(which="both", labelleft=first)
        axes.set_ylabel("validation loss" if first else "")
    return figure


def _losses(axes: Axes, found: Sequence[dict[str, Any]], name: str) -> None:
    """Draw the losses against one entry of the rows, and mark the best."""
    for state, style in KINDS.items():
        points = [(_place(row[name]), row["loss"]) for row in found if row["state"] == state and name in row]
        if points:
            axes.scatter(*zip(*points, strict=True), **style)
    if found and found[0]["state"] == "complete" and name in found[0]:
        star = {"c": "white", "edgecolors": "black", "marker": "*", "s": 160, "label": "best"}
        axes.scatter(_place(found[0][name]), found[0]["loss"], **star)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(lambda y, _: f"{y:g}" if f"{y:e}"[0] in LABELLED else "")
    axes.set_xlabel(literal(name))


def _place(value: Any) -> Any:
    """Return a value for an axis; the name of a choice is text."""
    return literal(value) if isinstance(value, str) else value


def _best_so_far(axes: Axes, found: Sequence[dict[str, Any]]) -> None:
    """Draw the lowest loss so far as a line."""
    in_turn = sorted(found, key=lambda row: row["trial"])
    losses = [row["loss"] if row["state"] == "complete" else math.inf for row in in_turn]
    style = {"color": "black", "linewidth": 1, "drawstyle": "steps-post", "zorder": 0}
    axes.plot([row["trial"] for row in in_turn], list(accumulate(losses, min)), label="best so far", **style)


def _scale(axes: Axes, distribution: BaseDistribution, values: Sequence[Any]) -> None:
    """Set the scale of the axis of a parameter; integers have ticks where trials were."""
    if isinstance(distribution, CategoricalDistribution):
        return
    axes.set_xscale("log" if distribution.log else "linear")
    if isinstance(distribution, IntDistribution) and values:
        distinct = sorted(set(values))
        ticks = distinct[:: -(-len(distinct) // TICKS)]
        axes.set_xticks(ticks, labels=map(str, ticks))
        axes.set_xticks([], minor=True)
