"""Reports: a verdict for every entry, every tensor and the whole check.

Each entry has its own error bar, and the verdict follows from it:

    FAIL          |analytic - numeric| > bar, and the analytic value is not between the one-sided derivatives of a kink
    INCONCLUSIVE  both values are below the bar: this precision is too low for the entry
    PASS          otherwise; also where both values are exactly 0

A tensor fails if one of its entries fails, and is inconclusive if all its entries are below their bars.  The verdict of
a report is that of its worst tensor.  There is no absolute tolerance.  ``detects`` says which error would have failed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
import math
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpdl.gradcheck.notebook import report_html
from xpdl.progress import on_terminal, say

PASS, FAIL, INCONCLUSIVE = "PASS", "FAIL", "INCONCLUSIVE"
SEVERITY = [PASS, INCONCLUSIVE, FAIL]
"""Verdicts, the best first."""
COLOURS = {PASS: "32", INCONCLUSIVE: "33", FAIL: "31"}
"""ANSI codes of the verdicts: green, yellow, red."""
METHOD_TITLES = {"complex": "complex step", "central": "central differences", "taylor": "Taylor remainder"}
"""The methods of numeric differentiation: their values of ``method=``, and their names in a report."""

Vector = NDArray[Any]


@dataclass(frozen=True)
class Entry:
    """One entry of a tensor: its analytic and its numeric derivative.

    Parameters
    ----------
    index : tuple of int
        The place of the entry in the tensor; () if the derivative is along a direction through many entries.
    analytic : float
        The derivative under test.
    numeric : float
        The derivative found numerically.
    bar : float
        The error bar: how far apart the two may be.

    Examples
    --------
    >>> from xpdl.gradcheck.report import Entry
    >>> entry = Entry(index=(0, 2), analytic=1.0, numeric=0.5, bar=1e-9)
    >>> abs(entry.analytic - entry.numeric) > entry.bar
    True
    """

    index: tuple[int, ...]
    analytic: float
    numeric: float
    bar: float


@dataclass(frozen=True)
class Parameter:
    """The result of a check for one tensor.

    Parameters
    ----------
    name : str
        The name of the tensor, such as "W1".
    shape : tuple of int
        Its shape.
    verdict : str
        "PASS", "FAIL" or "INCONCLUSIVE".
    difference : float
        ||g - n|| / (||g|| + ||n||), g the gradient under test, n the numeric one.
    ratio : float
        The factor c for which c n is closest to g: <g, n> / <n, n>.  NaN if n is 0.
    worst : Entry
        The entry whose error is the largest, measured in error bars.
    failing : int
        How many entries fail.
    unseen : int
        How many entries are below their error bars.
    diagnosis : str or None
        The probable cause of a failure, if one fits.
    detects : float
        The smallest relative error that would have failed in any entry, or an upper bound of it.  An entry that is 0 or
        below its error bar counts relative to the largest entry of the tensor.  NaN if nothing was judged, or if all
        entries are 0.
    analytic, numeric, bar, fails : numpy.ndarray
        The two derivatives, the error bar and whether the entry fails, as arrays of the tensor's shape.  If K
        directions were checked instead of entries, these are arrays (K,).

    Examples
    --------
    >>> import xpdl
    >>> import numpy as np
    >>> report = xpdl.check_gradient(lambda t: (t**2).sum(), lambda t: 4 * t, np.array([1.0, 2.0]))
    >>> found = report.parameters["theta"]
    >>> found.verdict, found.failing, round(found.ratio, 6)
    ('FAIL', 2, 2.0)
    >>> found.diagnosis
    '2 x the numeric gradient: counted twice'
    """

    name: str
    shape: tuple[int, ...]
    verdict: str
    difference: float
    ratio: float
    worst: Entry
    failing: int
    unseen: int
    diagnosis: str | None = None
    detects: float = math.nan
    analytic: Vector = field(default_factory=lambda: np.zeros(0), repr=False, compare=False)
    numeric: Vector = field(default_factory=lambda: np.zeros(0), repr=False, compare=False)
    bar: Vector = field(default_factory=lambda: np.zeros(0), repr=False, compare=False)
    fails: Vector = field(default_factory=lambda: np.zeros(0, bool), repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as values that JSON can hold, without the arrays.

        Returns
        -------
        dict
            The fields by name; a number that is not finite is None.

        Examples
        --------
        >>> import xpdl
        >>> import numpy as np
        >>> report = xpdl.check_gradient(lambda t: (t**2).sum(), lambda t: 2 * t, np.array([1.0, 2.0]))
        >>> report.parameters["theta"].to_dict()["worst"]["index"]
        [0]
        """
        return {
            "shape": list(self.shape),
            "verdict": self.verdict,
            "difference": finite(self.difference),
            "ratio": finite(self.ratio),
            "worst": {
                "index": list(self.worst.index),
                "analytic": finite(self.worst.analytic),
                "numeric": finite(self.worst.numeric),
                "bar": finite(self.worst.bar),
            },
            "failing": self.failing,
            "unseen": self.unseen,
            "diagnosis": self.diagnosis,
            "detects": finite(self.detects),
        }


@dataclass(frozen=True)
class Report:
    """The result of a gradient check.

    A report is true if and only if its verdict is PASS, and ``str(report)`` is a table with a line for each tensor.

    Parameters
    ----------
    verdict : str
        "PASS", "FAIL" or "INCONCLUSIVE": the verdict of the worst tensor.
    difference : float
        ||g - n|| / (||g|| + ||n||) over all tensors, g the gradient under test, n the numeric one.
    parameters : mapping of str to Parameter
        What was found in each tensor, by its name.
    method : str
        How the numeric gradient was computed.
    precision : str
        The dtype in which the gradient was judged.
    evaluations : float
        How often the function was evaluated, in whole passes.
    seconds : float
        How long the check took.
    notes : tuple of str
        What else is worth knowing, one line each.

    Examples
    --------
    >>> import xpdl
    >>> import numpy as np
    >>> report = xpdl.check_gradient(lambda t: (t**3).sum(), lambda t: 3 * t**2, np.array([1.0, 2.0]))
    >>> bool(report), report.verdict, report.method
    (True, 'PASS', 'complex step')
    >>> report.detects < 1e-9  # an entry that is wrong by a billionth would have failed
    True
    """

    verdict: str
    difference: float
    parameters: Mapping[str, Parameter]
    method: str
    precision: str
    evaluations: float = 0.0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.verdict == PASS

    @property
    def detects(self) -> float:
        """The smallest relative error that would have failed in any entry: the largest ``detects`` of the tensors."""
        return max((p.detects for p in self.parameters.values() if not math.isnan(p.detects)), default=math.nan)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as values that JSON can hold.

        Returns
        -------
        dict
            The fields by name; a number that is not finite is None.

        Examples
        --------
        >>> import xpdl
        >>> import numpy as np
        >>> report = xpdl.check_gradient(lambda t: (t**3).sum(), lambda t: 3 * t**2, np.array([1.0, 2.0]))
        >>> report.to_dict()["parameters"]["theta"]["verdict"]
        'PASS'
        """
        return {
            "verdict": self.verdict,
            "difference": finite(self.difference),
            "detects": finite(self.detects),
            "method": self.method,
            "precision": self.precision,
            "evaluations": self.evaluations,
            "seconds": self.seconds,
            "notes": list(self.notes),
            "parameters": {name: parameter.to_dict() for name, parameter in self.parameters.items()},
        }

    def __str__(self) -> str:
        return "\n".join(self.lines(coloured=False))

    def lines(self, *, coloured: bool) -> list[str]:
        """Return the table, line by line.

        Parameters
        ----------
        coloured : bool
            Whether verdicts have the colours of a terminal.

        Returns
        -------
        list of str
            The verdict, a row for each tensor, the diagnoses and the notes.

        Examples
        --------
        >>> import xpdl
        >>> import numpy as np
        >>> report = xpdl.check_gradient(lambda t: (t**3).sum(), lambda t: 3 * t**2, np.array([1.0, 2.0]))
        >>> len(report.lines(coloured=False)) >= 4
        True
        """
        width = max(9, *(len(_title(parameter)) for parameter in self.parameters.values()))
        verdict = _paint(self.verdict, coloured)
        detects = "" if math.isnan(self.detects) else f", detects {self.detects:.1e}"
        columns = "verdict       difference  detects  worst entry       analytic       numeric  wrong entries"
        causes = _causes(self.parameters)
        return [
            f"{verdict}  difference {self.difference:.1e}, {self.method} in {self.precision}{detects}",
            "",
            f"{'parameter':<{width}}  {columns}",
            *(_row(parameter, width, coloured) for parameter in self.parameters.values()),
            *([""] if causes or self.notes else []),
            *causes,
            *self.notes,
        ]

    def print(self) -> None:
        """Print the table, with colours on a terminal unless NO_COLOR is set.

        Examples
        --------
        >>> import xpdl
        >>> import numpy as np
        >>> report = xpdl.check_gradient(lambda t: (t**3).sum(), lambda t: 3 * t**2, np.array([1.0, 2.0]))
        >>> report.print()  # doctest: +ELLIPSIS
        PASS  difference ..., complex step in float64...
        """
        coloured = on_terminal() and "NO_COLOR" not in os.environ
        say("\n".join(self.lines(coloured=coloured)), coloured=coloured)

    def plot(self, *, figure: Any = None) -> list[Any]:
        """Draw a map of each tensor, the errors in error bars, with ``xpdl.plots.gradient_maps``.

        Parameters
        ----------
        figure : matplotlib.figure.Figure, optional
            Where to draw.  By default, a new figure.

        Returns
        -------
        list of matplotlib.axes.Axes
            The Axes with the maps.

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        Examples
        --------
        >>> from matplotlib.figure import Figure
        >>> import numpy as np
        >>> import xpdl
        >>> report = xpdl.check_gradient(lambda t: (t**2).sum(), lambda t: 3 * t, np.ones((2, 3)))
        >>> [ax.get_title() for ax in report.plot(figure=Figure())]
        ['theta: 6 of 6 wrong']
        """
        axes: list[Any] = import_module("xpdl.plots").gradient_maps(self, figure=figure)
        return axes

    def _repr_html_(self) -> str:
        return report_html(self)


class GradientError(AssertionError):
    """Raised when the gradient turns out to be wrong during training.

    Parameters
    ----------
    message : str
        The message of the error.
    report : Report
        What the check found.

    Attributes
    ----------
    report : Report
        What the check found: which tensors and entries are wrong.

    Examples
    --------
    >>> import xpdl
    >>> import numpy as np
    >>> report = xpdl.check_gradient(lambda t: (t**2).sum(), lambda t: -2 * t, np.array([1.0, 2.0]))
    >>> try:
    ...     raise xpdl.GradientError("the gradient is wrong", report)
    ... except xpdl.GradientError as error:
    ...     print(error.report.parameters["theta"].diagnosis)
    -1 x the numeric gradient: the sign is wrong
    """

    def __init__(self, message: str, report: Report) -> None:
        super().__init__(message)
        self.report = report


# Verdicts


def judge(
    name: str,
    analytic: Vector,
    numeric: Vector,
    bar: Vector,
    *,
    between: tuple[Vector, Vector] | None = None,
    diagnosis: str | None = None,
) -> Parameter:
    """The verdict on one tensor, from arrays of one shape.

    ``between`` holds the lower and the upper one-sided derivatives; at kinks they differ from the numeric one.
    """
    analytic, numeric = np.asarray(analytic, np.float64), np.asarray(numeric, np.float64)
    error, reach = _distances(analytic, numeric, between)
    finite = np.isfinite(analytic)
    fails, right = ~((error <= bar) & finite), analytic
    failing = int(np.count_nonzero(fails))
    if failing:
        right = np.where(fails, numeric, analytic)
        _, reach = _distances(right, numeric, between)
    least, most = least_and_most(right, numeric)
    unseen = int(np.count_nonzero(~fails & (most <= bar) & (most > 0)))
    index = _worst_index(error, bar, finite)
    return Parameter(
        name=name,
        shape=tuple(analytic.shape),
        verdict=FAIL if failing else INCONCLUSIVE if unseen == analytic.size else PASS,
        difference=difference(analytic, numeric),
        ratio=ratio(analytic, numeric),
        worst=Entry(index, float(analytic[index]), float(numeric[index]), float(bar[index])),
        failing=failing,
        unseen=unseen,
        diagnosis=diagnosis,
        detects=_smallest_seen(reach + bar, *seen_sizes(least, most, bar)),
        analytic=analytic,
        numeric=numeric,
        bar=bar,
        fails=fails,
    )


def _distances(analytic: Vector, numeric: Vector, between: tuple[Vector, Vector] | None) -> tuple[Vector, Vector]:
    """How far each analytic value is outside of the range of the derivatives, and from its farther end."""
    with np.errstate(invalid="ignore"):
        if between is None:
            return (apart := np.abs(analytic - numeric)), apart
        below, above = np.minimum(between[0], numeric) - analytic, analytic - np.maximum(between[1], numeric)
        return np.maximum(np.maximum(below, above), 0), np.maximum(-below, -above)


def _smallest_seen(reach: Vector, size: Vector, largest: float) -> float:
    """The smallest relative error that fails in any entry: from each right value to beyond the range and the bar."""
    with np.errstate(invalid="ignore"):
        return float(np.max(reach / size)) if largest > 0 else math.nan


def least_and_most(analytic: Vector, numeric: Vector) -> tuple[Vector, Vector]:
    """The smaller and the larger of both absolute values of each entry."""
    one, other = np.abs(analytic), np.abs(numeric)
    return np.minimum(one, other), np.maximum(one, other)


def seen_sizes(least: Vector, most: Vector, bar: Vector | float) -> tuple[Vector, float]:
    """The sizes of entries, with the largest of them for an entry that is 0 or below its bar; and that largest size."""
    size = np.where(most > bar, least if np.all(least) else np.where(least > 0, least, most), 0.0)
    largest = float(np.max(size, initial=0.0))
    return size if np.all(size) else np.where(size > 0, size, largest), largest


def _worst_index(error: Vector, bar: Vector, finite: Vector) -> tuple[int, ...]:
    """The entry with the largest error, measured in error bars; one that is not finite is the worst of all."""
    with np.errstate(divide="ignore", invalid="ignore"):
        bars = np.where(finite, np.where(error > 0, error / bar, 0.0), np.inf)
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(bars)), bars.shape))


def worst_verdict(verdicts: Iterable[str]) -> str:
    """The worst of these verdicts; PASS if there is none."""
    return max(verdicts, key=SEVERITY.index, default=PASS)


def difference(analytic: Vector, numeric: Vector) -> float:
    """||g - n|| / (||g|| + ||n||), and 0 if both are 0."""
    scale = max(float(np.max(np.abs(analytic), initial=0)), float(np.max(np.abs(numeric), initial=0)))
    if scale == 0 or not math.isfinite(scale):
        return 0.0 if scale == 0 else math.nan
    if not 1e-100 < scale < 1e100:  # squares would underflow or overflow
        analytic, numeric = analytic / scale, numeric / scale
    return float(np.linalg.norm(analytic - numeric) / (np.linalg.norm(analytic) + np.linalg.norm(numeric)))


def ratio(analytic: Vector, numeric: Vector) -> float:
    """The factor c for which c n is closest to g; NaN if n is 0."""
    scale = float(np.max(np.abs(numeric), initial=0))
    if scale == 0 or not math.isfinite(scale):
        return math.nan
    n = numeric / scale
    return float(np.sum(analytic / scale * n) / np.sum(n * n))


def finite(number: float) -> float | None:
    """The number as JSON can hold it: None if it is not finite."""
    return number if math.isfinite(number) else None


# The table


def _causes(parameters: Mapping[str, Parameter]) -> list[str]:
    """A line for each cause, with the names of its tensors."""
    names: dict[str, list[str]] = {}
    for name, parameter in parameters.items():
        if parameter.diagnosis:
            names.setdefault(parameter.diagnosis, []).append(name)
    return [f"{_named(found, len(parameters))}: {cause}" for cause, found in names.items()]


def _named(names: list[str], of: int) -> str:
    return "every tensor" if len(names) == of > 1 else ", ".join(names)


def _title(parameter: Parameter) -> str:
    return f"{parameter.name} {'x'.join(map(str, parameter.shape))}"


def _row(parameter: Parameter, width: int, coloured: bool) -> str:
    worst = parameter.worst
    index = f"[{', '.join(map(str, worst.index))}]"
    verdict = _paint(f"{parameter.verdict:<12}", coloured)
    detects = "" if math.isnan(parameter.detects) else f"{parameter.detects:.1e}"
    return (
        f"{_title(parameter):<{width}}  {verdict}  {parameter.difference:>10.1e}  {detects:>7}  {index:<12}"
        f"  {worst.analytic:>13.6g} {worst.numeric:>13.6g}  {f'{parameter.failing:,}' if parameter.failing else ''}"
    ).rstrip()


def _paint(text: str, coloured: bool) -> str:
    return f"\033[{COLOURS[text.strip()]}m{text}\033[0m" if coloured else text
