"""What a gradient check has found, entry by entry: where the wrong entries are, and how wrong they are.

Wrong entries often have company: a column of W is a unit, a row is an input, a whole matrix is a factor.
"""

import math
from typing import Any

import numpy as np

from xpdl import checks
from xpdl.gradcheck.report import FAIL, Parameter, Report, Vector
from xpdl.plots.figures import DENSE, Axes, Figure, axes, colour, marker, new_figure

REACH = 1e3
"""Error bars up to which the colours of a map go; down they go to one by so many."""

DECADES = 8
"""What a logarithmic scale shows below the largest derivative."""

MARK = "#D55E00"
"""Of entries that fail."""

RATIO = 100
"""Where derivatives differ in size by more, scales are logarithmic."""


def gradient_map(parameter: Parameter, *, ax: Axes | None = None) -> Axes:
    """Draw the error of each entry of a tensor, |analytic - numeric| in error bars, and mark those that fail.

    parameter  of a report: ``report.parameters["W1"]``; a vector is one row, a tensor of more than two axes a matrix of
               its first axis and the others

    The mark is a cross; of thousands, the colour of the crosses.  An entry beyond its bar without a mark lies between
    the one-sided derivatives at a kink.  Of a large tensor ``check_gradient`` looks at directions instead of entries,
    unless it is told ``full=True``: then there is only the worst of the wrong entries to show.
    """
    checks.instance("parameter", parameter, Parameter)
    ax = axes(ax)
    _colourbar(_draw_map(parameter, ax), [ax])
    return ax


def gradient_maps(report: Report, *, figure: Figure | None = None) -> list[Axes]:
    """Draw ``gradient_map`` of each tensor of a report: matrices above, vectors below; the Axes in the report's order.

    figure: a Figure or SubFigure of matplotlib to draw into, by default a new one.
    """
    checks.instance("report", report, Report)
    matrices = [p for p in report.parameters.values() if len(p.shape) > 1]
    vectors = [p for p in report.parameters.values() if len(p.shape) < 2]
    rows = [row for row in (matrices, vectors) if row]
    columns, heights = max(map(len, rows)), [1.0 if row is matrices else 0.25 for row in rows]
    figure = new_figure(3.0 * columns + 1.5, 3.0 * sum(heights) + 1) if figure is None else figure
    grid = figure.subplots(len(rows), columns, squeeze=False, height_ratios=heights)
    panels = {p.name: ax for row, line in zip(rows, grid, strict=True) for p, ax in zip(row, line, strict=False)}
    drawn = {name: _draw_map(report.parameters[name], ax) for name, ax in panels.items()}
    for ax in set(grid.flat) - set(panels.values()):
        ax.set_axis_off()
    _colourbar(next(iter(drawn.values())), grid.ravel().tolist())
    return [panels[name] for name in report.parameters]


def gradient_scatter(report: Report, *, ax: Axes | None = None) -> Axes:
    """Draw each analytic derivative against the numeric one: where they are equal they lie on the diagonal.

    Those that fail have a colour and a marker for each tensor, the others are dots.  Where derivatives differ in size
    by more than a factor of 100, scales are logarithmic; with both signs, linear around 0.  NaN and infinity cannot be
    shown and are only counted.  Of large tensors ``check_gradient`` has derivatives along directions, not of entries.
    ``ValueError`` for a check that has refused to look.
    """
    checks.instance("report", report, Report)
    judged = [p for p in report.parameters.values() if p.numeric.shape == p.analytic.shape]
    if not judged:
        raise ValueError("report must hold derivatives to be drawn, got one of a check that was refused")
    ax = axes(ax, 5.4, 5.0)
    right = [_pairs(p, ~p.fails) for p in judged]
    _scatter(ax, np.concatenate(right, axis=1), "not wrong", color="0.55", marker=".", zorder=2)
    for number, p in enumerate(p for p in judged if p.fails.any()):
        what = "" if p.fails.shape == p.shape else " directions"
        _scatter(ax, _pairs(p, p.fails), f"{p.name} wrong{what}", color=colour(number), marker=marker(number), zorder=3)
    _frame(ax, np.concatenate([_pairs(p, np.ones_like(p.fails)) for p in judged], axis=None))
    ax.set(xlabel="numeric derivative", ylabel="analytic derivative")
    ax.set_title(f"{report.verdict}: difference {report.difference:.1e}")
    ax.legend(fontsize="small")
    return ax


# Maps


def _draw_map(parameter: Parameter, ax: Axes) -> Any:
    """The image of a tensor, and its crosses."""
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import FixedLocator, MaxNLocator

    rows = parameter.shape[0] if len(parameter.shape) > 1 else 1
    bars = _bars(parameter).reshape(rows, -1)
    image = ax.imshow(bars, cmap="Blues", norm=LogNorm(1 / REACH, REACH), aspect="auto", interpolation="nearest")
    _mark(ax, _failing(parameter).reshape(rows, -1))
    if parameter.bar.shape != parameter.shape:
        ax.text(0.5, 0.5, "not looked at entry by entry", color="0.4", ha="center", transform=ax.transAxes)
    wrong = f"{parameter.failing:,} of {math.prod(parameter.shape):,} wrong" if parameter.failing else ""
    ax.set_title(f"{parameter.name}: {wrong or parameter.verdict}", fontsize="medium")
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True) if bars.shape[1] > 1 else FixedLocator([0]))
    if len(parameter.shape) > 1:
        ax.set(xlabel="column", ylabel="row")
        ax.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    else:
        ax.set(xlabel="entry", yticks=[])
    return image


def _bars(parameter: Parameter) -> Vector:
    """The errors in error bars, within the reach of the colours; NaN where there are directions instead of entries."""
    if parameter.bar.shape != parameter.shape:
        return np.full(parameter.shape, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        off = np.abs(parameter.analytic - parameter.numeric)
        bars = np.where(off == 0, 0.0, off / parameter.bar)
    return np.clip(np.where(np.isnan(bars), np.inf, bars), 1 / REACH, REACH)


def _failing(parameter: Parameter) -> Vector:
    """Which entries fail; where there are directions, the worst of those that were found."""
    if parameter.fails.shape == parameter.shape:
        return parameter.fails
    fails = np.zeros(parameter.shape, bool)
    if parameter.verdict == FAIL and parameter.worst.index:
        fails[parameter.worst.index] = True
    return fails


def _mark(ax: Axes, fails: Vector) -> None:
    """Crosses as large as an entry or as can be seen, with an edge that parts them from every colour."""
    from matplotlib.colors import ListedColormap
    from matplotlib.patheffects import withStroke

    rows, columns = np.nonzero(fails)
    if len(rows) > DENSE:
        ax.imshow(np.where(fails, 1.0, np.nan), cmap=ListedColormap([MARK]), aspect="auto", interpolation="nearest")
        return
    box = ax.get_window_extent().size * 72 / ax.figure.dpi  # in points
    size = min(max(0.5 * float(np.min(box / fails.shape[::-1])), 5.0), 8.0)
    edge = [withStroke(linewidth=0.2 * size + 1.2, foreground="white")]
    style = {"marker": "x", "color": MARK, "s": size**2, "linewidths": 0.2 * size, "path_effects": edge}
    ax.scatter(columns, rows, zorder=3, **style)


def _colourbar(image: Any, panels: list[Axes]) -> None:
    bar = panels[0].figure.colorbar(image, ax=panels, extend="both")
    bar.set_label("|analytic - numeric| / error bar")


# The scatter


def _pairs(parameter: Parameter, mask: Vector) -> Vector:
    """The numeric and the analytic derivatives (2, m) of a part of the entries, or directions."""
    return np.stack([parameter.numeric[mask], parameter.analytic[mask]])


def _scatter(ax: Axes, pairs: Vector, label: str, **style: Any) -> None:
    """Points, and in the legend how many they are."""
    shown = pairs[:, np.isfinite(pairs).all(axis=0)]
    n, hidden = pairs.shape[1], pairs.shape[1] - shown.shape[1]
    label = f"{label}: {n:,}" + (f" ({hidden:,} not finite)" if hidden else "")
    dense = n > DENSE
    ax.plot(*shown, linestyle="none", markersize=3 if dense else 5, rasterized=dense, label=label, **style)


def _frame(ax: Axes, values: Vector) -> None:
    """The same scale and limits on both axes, and the diagonal."""
    values = values[np.isfinite(values)]
    low, high = float(np.min(values, initial=0)), float(np.max(values, initial=0))
    name, options = _scale(np.abs(values[values != 0]))
    ax.set_xscale(name, **options)
    ax.set_yscale(name, **options)
    ax.plot([low, high], [low, high], color="black", linewidth=0.8, zorder=1, label="analytic = numeric")
    ax.set_aspect("equal", adjustable="box")
    if name == "symlog":
        for axis in (ax.xaxis, ax.yaxis):
            axis.get_major_locator().set_params(numticks=7)
    ax.grid(alpha=0.3)


def _scale(sizes: Vector) -> tuple[str, dict[str, float]]:
    """Linear, or logarithmic on both sides of a linear part around 0 that holds only the smallest derivatives."""
    most = float(np.max(sizes, initial=0))
    least = max(float(np.quantile(sizes, 0.02)), most / 10**DECADES) if most else 0.0
    if most <= RATIO * least:
        return "linear", {}
    linear = 10.0 ** math.floor(math.log10(least))
    return "symlog", {"linthresh": linear, "linscale": math.log10(most / linear) / 4}
