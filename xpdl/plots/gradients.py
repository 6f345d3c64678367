"""The result of a gradient check, entry by entry: which entries are wrong, and by how much.

Wrong entries often form a pattern: a column of W points to a unit, a row to an input, a whole matrix to a factor.
"""

import math
from typing import Any

import numpy as np

from xpdl import checks
from xpdl.gradcheck.report import FAIL, Parameter, Report, Vector
from xpdl.plots.figures import DENSE, Axes, Figure, axes, colour, literal, marker, new_figure

REACH = 1e3
"""The colours of a map reach from 1 / REACH to REACH error bars."""

DECADES = 8
"""A logarithmic scale shows at most this many decades below the largest derivative."""

MARK = "#D55E00"
"""The colour of entries that fail."""

RATIO = 100
"""If derivatives differ in size by more than this factor, the scales are logarithmic."""


def gradient_map(parameter: Parameter, *, ax: Axes | None = None) -> Axes:
    """Draw the error of each entry of a tensor in error bars, and mark the entries that fail.

    The error is |analytic - numeric|.  A cross marks an entry that fails; if there are thousands, they are painted in
    the colour of the crosses.  An entry beyond its error bar without a mark lies at a kink, between the one-sided
    derivatives.  For a large tensor, ``check_gradient`` looks at directions instead of entries unless it is called with
    ``full=True``.  Only the worst of the wrong entries can be shown then.

    Parameters
    ----------
    parameter : Parameter
        A tensor of a report, such as ``report.parameters["W1"]``.  A vector is drawn as one row, and a tensor of more
        than two axes as a matrix: its first axis, and all others together.
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
        If parameter is something else.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> import numpy as np
    >>> import xpdl
    >>> def wrong(theta):
    ...     grad = np.cos(theta)
    ...     grad[0, 1] *= 2
    ...     return grad
    >>> report = xpdl.check_gradient(lambda theta: np.sin(theta).sum(), wrong, np.arange(6.0).reshape(2, 3))
    >>> ax = xpdl.plots.gradient_map(report.parameters["theta"], ax=Figure().subplots())
    >>> ax.get_title()
    'theta: 1 of 6 wrong'
    """
    checks.instance("parameter", parameter, Parameter)
    ax = axes(ax)
    _colourbar(_draw_map(parameter, ax), [ax])
    return ax


def gradient_maps(report: Report, *, figure: Figure | None = None) -> list[Axes]:
    """Draw the ``gradient_map`` of each tensor of a report, matrices above and vectors below.

    Parameters
    ----------
    report : Report
        The result of ``xpdl.check_network`` or ``xpdl.check_gradient``.
    figure : matplotlib.figure.Figure or SubFigure, optional
        Where to draw.  By default, a new figure.

    Returns
    -------
    list of matplotlib.axes.Axes
        The Axes of the maps, in the order of the report.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    TypeError
        If report is something else.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> import xpdl
    >>> net, data = xpdl.Network([2, 3, 3]), xpdl.data.spiral(n_per_class=5)
    >>> report = xpdl.check_network(net, net.initialize(seed=0), data.x, data.y)
    >>> [ax.get_title() for ax in xpdl.plots.gradient_maps(report, figure=Figure())]
    ['W1: PASS', 'W2: PASS', 'b1: PASS', 'b2: PASS']
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
    """Draw each analytic derivative against the numeric one: equal ones lie on the diagonal.

    Derivatives that fail have a colour and a marker for each tensor; the others are dots.  If derivatives differ in
    size by more than a factor of 100, the scales are logarithmic, and linear around 0 if there are both signs.  NaN and
    infinity cannot be shown and are only counted.  For large tensors, ``check_gradient`` has derivatives along
    directions instead of those of entries.

    Parameters
    ----------
    report : Report
        The result of ``xpdl.check_network`` or ``xpdl.check_gradient``.
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
        If report is something else.
    ValueError
        If the report is that of a check that was refused, so it holds no derivatives.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> import numpy as np
    >>> import xpdl
    >>> def wrong(theta):
    ...     grad = np.cos(theta)
    ...     grad[0, 1] *= 2
    ...     return grad
    >>> report = xpdl.check_gradient(lambda theta: np.sin(theta).sum(), wrong, np.arange(6.0).reshape(2, 3))
    >>> ax = xpdl.plots.gradient_scatter(report, ax=Figure().subplots())
    >>> [line.get_label() for line in ax.get_lines()]
    ['not wrong: 5', 'theta wrong: 1', 'analytic = numeric']
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
    """Draw the image of a tensor with its crosses, and return the image."""
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import FixedLocator, MaxNLocator

    rows = parameter.shape[0] if len(parameter.shape) > 1 else 1
    bars = _bars(parameter).reshape(rows, -1)
    image = ax.imshow(bars, cmap="Blues", norm=LogNorm(1 / REACH, REACH), aspect="auto", interpolation="nearest")
    _mark(ax, _failing(parameter).reshape(rows, -1))
    if parameter.bar.shape != parameter.shape:
        text = "checked along directions, not entry by entry"
        ax.text(0.5, 0.5, text, color="0.4", ha="center", transform=ax.transAxes)
    wrong = f"{parameter.failing:,} of {math.prod(parameter.shape):,} wrong" if parameter.failing else ""
    ax.set_title(f"{literal(parameter.name)}: {wrong or parameter.verdict}", fontsize="medium")
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True) if bars.shape[1] > 1 else FixedLocator([0]))
    if len(parameter.shape) > 1:
        ax.set(xlabel="column", ylabel="row")
        ax.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    else:
        ax.set(xlabel="entry", yticks=[])
    return image


def _bars(parameter: Parameter) -> Vector:
    """Return the errors in error bars, cut to the reach of the colours; NaN if the check looked at directions."""
    if parameter.bar.shape != parameter.shape:
        return np.full(parameter.shape, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        off = np.abs(parameter.analytic - parameter.numeric)
        bars = np.where(off == 0, 0.0, off / parameter.bar)
    return np.clip(np.where(np.isnan(bars), np.inf, bars), 1 / REACH, REACH)


def _failing(parameter: Parameter) -> Vector:
    """Return which entries fail; if the check looked at directions, the worst of the entries that it found."""
    if parameter.fails.shape == parameter.shape:
        return parameter.fails
    fails = np.zeros(parameter.shape, bool)
    if parameter.verdict == FAIL and parameter.worst.index:
        fails[parameter.worst.index] = True
    return fails


def _mark(ax: Axes, fails: Vector) -> None:
    """Draw crosses about as large as an entry, with a white edge that separates them from every colour."""
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
    """Return the numeric and the analytic derivatives (2, m) of some entries, or of some directions."""
    return np.stack([parameter.numeric[mask], parameter.analytic[mask]])


def _scatter(ax: Axes, pairs: Vector, label: str, **style: Any) -> None:
    """Draw points, with their number in the legend."""
    shown = pairs[:, np.isfinite(pairs).all(axis=0)]
    n, hidden = pairs.shape[1], pairs.shape[1] - shown.shape[1]
    label = f"{label}: {n:,}" + (f" ({hidden:,} not finite)" if hidden else "")
    dense = n > DENSE
    ax.plot(*shown, linestyle="none", markersize=3 if dense else 5, rasterized=dense, label=label, **style)


def _frame(ax: Axes, values: Vector) -> None:
    """Give both axes the same scale, and draw the diagonal."""
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
    """Return the scale: linear, or logarithmic on both sides of 0 with a linear part for the smallest derivatives."""
    most = float(np.max(sizes, initial=0))
    least = max(float(np.quantile(sizes, 0.02)), most / 10**DECADES) if most else 0.0
    if most <= RATIO * least:
        return "linear", {}
    linear = 10.0 ** math.floor(math.log10(least))
    return "symlog", {"linthresh": linear, "linscale": math.log10(most / linear) / 4}
