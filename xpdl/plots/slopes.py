"""The error of the linear model of a function against the step: its slope tells a right gradient from a wrong one."""

from collections.abc import Callable
from typing import Any

import numpy as np

from xpdl.gradcheck.function.autodiff import own_grad
from xpdl.gradcheck.function.slope import slope
from xpdl.plots.figures import Axes, axes, colour, marker


def gradient_slope(
    fun: Callable[..., Any], grad: Callable[..., Any] | None, *args: Any, seed: int = 0, ax: Axes | None = None
) -> Axes:
    """Draw |J(theta + h d) - J(theta) - h <g, d>| against the step h, on logarithmic scales.

    It falls like h^2 if g is the gradient of J, and like h if g is wrong, or at a kink; below both, rounding is as
    large as the error.  d is a random direction in natural units: h = 1 moves each entry by its size.

    Parameters
    ----------
    fun : callable
        (*args) -> a scalar, as ``xpdl.check_gradient`` takes it.
    grad : callable or None
        (*args) -> the gradient; None: that of the library of the arguments (PyTorch, JAX).
    *args : Any
        The point.
    seed : int, default 0
        The seed of the direction.
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

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> import numpy as np
    >>> import xpdl
    >>> ax = xpdl.plots.gradient_slope(np.sum, np.ones_like, np.ones(3), ax=Figure().subplots())
    >>> [line.get_label() for line in ax.get_lines()]
    ['error of the linear model', 'h^2: right', 'h: wrong, or a kink']
    """
    found = slope(fun, own_grad(fun) if grad is None else grad, args, seed)
    ax = axes(ax, 5.4, 4.2)
    seen = np.isfinite(found.errors) & (found.errors > 0)
    ax.plot(found.steps[seen], found.errors[seen], marker(0), color=colour(0), label="error of the linear model")
    first = float(np.max(found.errors, initial=0.0, where=seen)) or 1.0
    for power, line, label in ((2, "--", "h^2: right"), (1, ":", "h: wrong, or a kink")):
        ax.plot(found.steps, first * (found.steps / found.steps[0]) ** power, line, color="0.4", label=label)
    low = float(np.min(found.errors, initial=first, where=seen))
    ax.set(xscale="log", yscale="log", xlabel="step h", ylabel="|J(theta + h d) - J(theta) - h <g, d>|")
    ax.set_ylim(low / 10, 10 * first)
    ax.legend(fontsize="small")
    return ax
