"""The figures that pictures are drawn into, and their colours and markers."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from typing import Any, TypeAlias

from xpdl import checks

Axes: TypeAlias = Any
Figure: TypeAlias = Any

COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000"]
"""Okabe and Ito 2008, Color Universal Design, without their yellow, which is too pale for lines on white."""

MARKERS = ["o", "s", "^", "D", "v", "P", "X", "<", ">", "*"]
"""Run or class i gets colour i and marker i.  Each list starts again at its end, so the pairs repeat after 70."""

DENSE = 2000
"""More markers than this are drawn as a bitmap, even in an SVG: as shapes they would make the file huge."""

LONGEST = 40
"""Characters of a name in a picture."""

MAKER = ContextVar("MAKER", default="pyplot.figure")
"""The function that makes figures.  Figures of pyplot are shown by notebooks, and elsewhere by ``pyplot.show()``."""


@contextmanager
def unshown() -> Iterator[None]:
    """Within the block, new figures are only for saving: pyplot does not know them, and they need no display."""
    token = MAKER.set("figure.Figure")
    try:
        yield
    finally:
        MAKER.reset(token)


def new_figure(width: float, height: float, layout: str = "constrained") -> Figure:
    """Return a new figure of this size in inches; ``ImportError`` without matplotlib."""
    module, name = MAKER.get().split(".")
    try:
        maker = getattr(import_module(f"matplotlib.{module}"), name)
    except ImportError as error:
        raise ImportError('plots need matplotlib: pip install "xpdl[plot]"') from error
    return maker(figsize=(width, height), layout=layout)


def axes(ax: Axes | None, width: float = 6.0, height: float = 4.5) -> Axes:
    """Return ax if it is given, else the Axes of a new figure; ``TypeError`` if it is something else."""
    if ax is None:
        return new_figure(width, height, layout="compressed").add_subplot()
    if not hasattr(ax, "get_figure") or not hasattr(ax, "plot"):
        raise TypeError(f"ax must be the Axes of matplotlib to draw into, got {checks.shorten(ax)}")
    return ax


def literal(name: Any) -> str:
    """Return a name that comes from a file, for a text in a picture: $ means itself, and the line has a length."""
    return checks.one_line(name, LONGEST).replace("$", r"\$")


def colour(number: int) -> str:
    """Return the colour of the run or class with this number."""
    return COLOURS[number % len(COLOURS)]


def marker(number: int) -> str:
    """Return the marker of the run or class with this number."""
    return MARKERS[number % len(MARKERS)]


def legend_beside(ax: Axes, **options: Any) -> None:
    """Put a legend to the right of the Axes, where it covers nothing."""
    ax.legend(
        loc="upper left", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.4, fontsize="small", frameon=False, **options
    )
