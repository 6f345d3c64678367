"""A picture of a study: the losses trial by trial, and against each hyper-parameter."""

from collections.abc import Sequence
from typing import Any

from optuna import Study
from optuna.trial import FrozenTrial

from xpdl.tuning.table import rows

BLUE, ORANGE, BLACK = "#0072B2", "#E69F00", "black"
"""Of the palette of Okabe and Ito 2008, which the colour-blind can tell apart; the shapes differ as well."""

KINDS = {
    "complete": {"c": BLUE, "marker": "o", "s": 24, "label": "complete"},
    "pruned": {"c": ORANGE, "marker": "v", "s": 24, "label": "ended early"},
}
COLUMNS = 5


def figure_class() -> Any:
    """The Figure of matplotlib, which needs no display; ``ImportError`` without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('plots need matplotlib: pip install "xpdl[plot]"') from error
    return Figure


def plot_trials(study: Study) -> Any:
    """A matplotlib Figure: the validation loss of each trial above, and below against each hyper-parameter."""
    found = [row for row in rows(study) if row["loss"] is not None]
    scales = _scales(study.get_trials(deepcopy=False))
    lines = -(-len(scales) // COLUMNS)
    figure = figure_class()(figsize=(12, 3.2 + 2.6 * lines), layout="constrained")
    grid = figure.add_gridspec(1 + lines, COLUMNS, height_ratios=[1.2] + [1] * lines)
    top = figure.add_subplot(grid[0, :])
    _losses(top, found, "trial")
    _course(top, study)
    top.set_xlabel("trial")
    top.legend(loc="upper right", ncols=4)
    for i, (name, scale) in enumerate(scales.items()):
        axes = figure.add_subplot(grid[1 + i // COLUMNS, i % COLUMNS], sharey=top)
        _losses(axes, found, name)
        axes.set_xscale(scale) if scale else None
        axes.set_xlabel(name)
        axes.tick_params(labelleft=i % COLUMNS == 0)
        axes.set_ylabel("validation loss" if i % COLUMNS == 0 else "")
    return figure


def _losses(axes: Any, found: Sequence[dict[str, Any]], name: str) -> None:
    """The losses against one entry of the rows, the best marked."""
    for state, style in KINDS.items():
        points = [(row[name], row["loss"]) for row in found if row["state"] == state and name in row]
        if points:
            axes.scatter(*zip(*points, strict=True), **style)
    if found and found[0]["state"] == "complete":
        axes.scatter(found[0][name], found[0]["loss"], c="white", edgecolors=BLACK, marker="*", s=160, label="best")
    axes.set_yscale("log")
    axes.set_ylabel("validation loss")


def _course(axes: Any, study: Study) -> None:
    """The lowest loss so far, as a line; trials without any loss, as crosses at the top."""
    best, numbers, losses = float("inf"), [], []
    for trial in sorted(rows(study), key=lambda row: row["trial"]):
        if trial["state"] == "complete":
            best = min(best, trial["loss"])
        numbers.append(trial["trial"])
        losses.append(best)
    axes.plot(numbers, losses, color=BLACK, linewidth=1, drawstyle="steps-post", label="best so far", zorder=0)


def _scales(trials: Sequence[FrozenTrial]) -> dict[str, str | None]:
    """Each parameter, and the scale of its axis; None where it is no number."""
    found: dict[str, str | None] = {}
    for trial in trials:
        for name, d in trial.distributions.items():
            found[name] = None if hasattr(d, "choices") else "log" if d.log else "linear"
    return found
