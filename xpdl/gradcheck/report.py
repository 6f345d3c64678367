"""Reports: a verdict for every entry, tensor and check, derived from the entry's own error bar.

    FAIL          |analytic - numeric| > bar, and the analytic value is not between one-sided derivatives at a kink
    INCONCLUSIVE  both are below the bar: the entry is smaller than what this precision can see
    PASS          else; also where both are exactly 0

A tensor fails if an entry does, and is inconclusive if none of its entries can be seen; a report is as bad as its worst
tensor.  There is no absolute tolerance.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
import math
import os
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

PASS, FAIL, INCONCLUSIVE = "PASS", "FAIL", "INCONCLUSIVE"
SEVERITY = [PASS, INCONCLUSIVE, FAIL]
COLOURS = {PASS: "32", INCONCLUSIVE: "33", FAIL: "31"}  # ANSI green, yellow, red

Vector = NDArray[Any]


@dataclass(frozen=True)
class Entry:
    """One entry of a tensor."""

    index: tuple[int, ...]
    analytic: float
    numeric: float
    bar: float  # how far apart they may be


@dataclass(frozen=True)
class Parameter:
    """What a check found in one tensor.

    difference  ||g - n|| / (||g|| + ||n||)
    ratio       the factor c that makes c n closest to g, <g, n> / <n, n>; NaN if n is 0
    worst       the entry that is most bars off
    failing     the number of entries that fail
    unseen      the number of entries below their bar
    diagnosis   the probable cause of a failure, if one fits
    analytic, numeric, bar, fails
                these of every entry, in the tensor's shape, or of directions that stand for many entries
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
    analytic: Vector = field(default_factory=lambda: np.zeros(0), repr=False, compare=False)
    numeric: Vector = field(default_factory=lambda: np.zeros(0), repr=False, compare=False)
    bar: Vector = field(default_factory=lambda: np.zeros(0), repr=False, compare=False)
    fails: Vector = field(default_factory=lambda: np.zeros(0, bool), repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """The numbers without the arrays, for JSON."""
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
        }


@dataclass(frozen=True)
class Report:
    """What a check found; true if and only if it passes, and ``str`` is a table.

    difference   ||g - n|| / (||g|| + ||n||) over all parameters
    parameters   a ``Parameter`` for each tensor, by name
    method       how the numeric gradient was found
    precision    the dtype the gradient was judged in
    evaluations  evaluations of the function, in whole passes
    notes        what else is worth knowing, one line each
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

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-serialisable values; a number that is not finite is None."""
        return {
            "verdict": self.verdict,
            "difference": finite(self.difference),
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
        """The table, a line at a time."""
        width = max(9, *(len(_title(parameter)) for parameter in self.parameters.values()))
        verdict = _paint(self.verdict, coloured)
        lines = [f"{verdict}  difference {self.difference:.1e}, {self.method} in {self.precision}", ""]
        columns = "verdict       difference  worst entry       analytic       numeric  wrong entries"
        lines.append(f"{'parameter':<{width}}  {columns}")
        lines += [_row(parameter, width, coloured) for parameter in self.parameters.values()]
        causes = [f"{name}: {p.diagnosis}" for name, p in self.parameters.items() if p.diagnosis]
        return [*lines, *([""] if causes or self.notes else []), *causes, *self.notes]

    def print(self) -> None:
        """Print the table, in colour on a terminal."""
        print("\n".join(self.lines(coloured=sys.stdout.isatty() and "NO_COLOR" not in os.environ)))


def judge(
    name: str,
    analytic: Vector,
    numeric: Vector,
    bar: Vector,
    *,
    between: tuple[Vector, Vector] | None = None,
    diagnosis: str | None = None,
) -> Parameter:
    """The verdict on one tensor.

    analytic, numeric and bar are of one shape.  ``between`` holds the lower and the upper one-sided derivative, where
    they differ from the numeric one.
    """
    analytic, numeric = np.asarray(analytic, np.float64), np.asarray(numeric, np.float64)
    with np.errstate(invalid="ignore"):
        off = np.abs(analytic - numeric)
    if between is not None:
        low, high = np.minimum(between[0], numeric), np.maximum(between[1], numeric)
        off = np.maximum(np.maximum(low - analytic, analytic - high), 0)
    finite = np.isfinite(analytic)
    fails = ~((off <= bar) & finite)
    unseen = ~fails & (np.maximum(np.abs(analytic), np.abs(numeric)) <= bar) & ((analytic != 0) | (numeric != 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        bars = np.where(finite, np.where(off > 0, off / bar, 0.0), np.inf)
    index = tuple(int(i) for i in np.unravel_index(int(np.argmax(bars)), bars.shape))
    return Parameter(
        name=name,
        shape=tuple(analytic.shape),
        verdict=FAIL if fails.any() else INCONCLUSIVE if unseen.all() else PASS,
        difference=difference(analytic, numeric),
        ratio=ratio(analytic, numeric),
        worst=Entry(index, float(analytic[index]), float(numeric[index]), float(bar[index])),
        failing=int(fails.sum()),
        unseen=int(unseen.sum()),
        diagnosis=diagnosis,
        analytic=analytic,
        numeric=numeric,
        bar=bar,
        fails=fails,
    )


def worst_verdict(verdicts: Iterable[str]) -> str:
    """The worst of them; of none, PASS."""
    return max(verdicts, key=SEVERITY.index, default=PASS)


def difference(analytic: Vector, numeric: Vector) -> float:
    """||g - n|| / (||g|| + ||n||), and 0 if both are 0."""
    scale = max(float(np.max(np.abs(analytic), initial=0)), float(np.max(np.abs(numeric), initial=0)))
    if scale == 0 or not math.isfinite(scale):
        return 0.0 if scale == 0 else math.nan
    g, n = analytic / scale, numeric / scale  # squares of tiny numbers would underflow
    return float(np.linalg.norm(g - n) / (np.linalg.norm(g) + np.linalg.norm(n)))


def ratio(analytic: Vector, numeric: Vector) -> float:
    """The c for which c n is closest to g; NaN if n is 0."""
    scale = float(np.max(np.abs(numeric), initial=0))
    if scale == 0 or not math.isfinite(scale):
        return math.nan
    n = numeric / scale
    return float(np.sum(analytic / scale * n) / np.sum(n * n))


def _title(parameter: Parameter) -> str:
    return f"{parameter.name} {'x'.join(map(str, parameter.shape))}"


def _row(parameter: Parameter, width: int, coloured: bool) -> str:
    worst = parameter.worst
    index = f"[{', '.join(map(str, worst.index))}]"
    verdict = _paint(f"{parameter.verdict:<12}", coloured)
    return (
        f"{_title(parameter):<{width}}  {verdict}  {parameter.difference:>10.1e}  {index:<12}"
        f"  {worst.analytic:>13.6g} {worst.numeric:>13.6g}  {f'{parameter.failing:,}' if parameter.failing else ''}"
    ).rstrip()


def _paint(text: str, coloured: bool) -> str:
    return f"\033[{COLOURS[text.strip()]}m{text}\033[0m" if coloured else text


def finite(number: float) -> float | None:
    """The number as JSON has it: None if it is not finite."""
    return number if math.isfinite(number) else None


class GradientError(AssertionError):
    """The gradient was wrong during training; ``report`` says where."""

    def __init__(self, message: str, report: Report) -> None:
        super().__init__(message)
        self.report = report
