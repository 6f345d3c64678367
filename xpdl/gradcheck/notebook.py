"""A report as HTML, for notebooks: what is wrong comes first and in full, with a map; the rest is folded.

No style sheet and no script is needed.  Colours stand beside words, and text has the colour of the page, dark or light.
"""

from collections.abc import Iterable
from html import escape
import math
from typing import Any

import numpy as np

COLOURS = {"PASS": "#007a5e", "FAIL": "#c44e00", "INCONCLUSIVE": "#8a6d00"}
"""The colours of verdicts, under white letters."""
CELLS = 64
"""A map has at most this many rows and columns; a larger tensor is shown in blocks, each by its worst entry."""
SIZE = 256
"""Pixels of the longer side of a map."""


def report_html(report: Any) -> str:
    """Return a report as HTML."""
    worst_first = sorted(report.parameters.values(), key=lambda p: ["FAIL", "INCONCLUSIVE", "PASS"].index(p.verdict))
    wrong = [parameter for parameter in worst_first if parameter.verdict == "FAIL"]
    others = [parameter for parameter in worst_first if parameter.verdict != "FAIL"]
    summary = report.lines(coloured=False)[0].partition("  ")[2]
    parts = [f"<p>{_badge(report.verdict)} {escape(summary)}</p>", *map(_in_full, wrong)]
    if others:
        count = f"{len(others)} {'other ' if wrong else ''}tensor{'s' * (len(others) > 1)}"
        parts.append(_folded(count, _table(others)))
    if report.notes:
        items = "".join(f"<li>{escape(note)}</li>" for note in report.notes)
        parts.append(_folded(f"{len(report.notes)} note{'s' * (len(report.notes) > 1)}", f"<ul>{items}</ul>"))
    return f'<div class="xpdl-report">{"".join(parts)}</div>'


def _badge(verdict: str) -> str:
    style = f"background:{COLOURS[verdict]};color:white;border-radius:3px;padding:1px 6px"
    return f'<b style="{style}">{verdict}</b>'


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def _in_full(parameter: Any) -> str:
    """A tensor that is wrong: its cause, its numbers and its map."""
    cause = f"<p>{escape(parameter.diagnosis)}</p>" if parameter.diagnosis else ""
    return f"<h4>{_badge(parameter.verdict)} {_title(parameter)}</h4>{cause}{_table([parameter])}{_map(parameter)}"


def _title(parameter: Any) -> str:
    return escape(f"{parameter.name} {'x'.join(map(str, parameter.shape))}".strip())


def _table(parameters: Iterable[Any]) -> str:
    heads = ["tensor", "verdict", "difference", "detects", "worst entry", "analytic", "numeric", "bar", "wrong entries"]
    rows = ["".join(f"<th>{head}</th>" for head in heads), *map(_row, parameters)]
    return f"<table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _row(parameter: Any) -> str:
    worst = parameter.worst
    numbers = [f"{parameter.difference:.1e}", "" if math.isnan(parameter.detects) else f"{parameter.detects:.1e}"]
    cells = [_title(parameter), parameter.verdict, *numbers, str(list(worst.index))]
    cells += [f"{worst.analytic:.6g}", f"{worst.numeric:.6g}", f"{worst.bar:.1e}", f"{parameter.failing:,}"]
    return "".join(f"<td>{cell}</td>" for cell in cells)


# The map


def _map(parameter: Any) -> str:
    """The entries as a picture: those that fail are orange, the others are the darker the nearer they are to a bar."""
    if parameter.fails.shape != parameter.shape or parameter.fails.size < 2:
        return ""
    bars, fails = (_matrix(values) for values in (_in_bars(parameter), parameter.fails))
    height, width = bars.shape
    side = SIZE / max(height, width)
    cells = [
        f'<rect x="{k * side:.2f}" y="{i * side:.2f}" width="{side:.2f}" height="{side:.2f}" fill="{_colour(b, f)}"/>'
        for i, (row, failing) in enumerate(zip(bars.tolist(), fails.tolist(), strict=True))
        for k, (b, f) in enumerate(zip(row, failing, strict=True))
    ]
    said = escape(f"{parameter.failing} of {parameter.fails.size} entries of {parameter.name} are wrong")
    size = f'width="{width * side:.0f}" height="{height * side:.0f}"'
    return f'<svg role="img" aria-label="{said}" {size}><title>{said}</title>{"".join(cells)}</svg>'


def _in_bars(parameter: Any) -> Any:
    """The error of each entry in error bars."""
    with np.errstate(all="ignore"):
        return np.nan_to_num(np.abs(parameter.analytic - parameter.numeric) / parameter.bar, posinf=0.0)


def _matrix(values: Any) -> Any:
    """A tensor as a matrix of at most CELLS x CELLS blocks, each as large as its largest entry."""
    rows = values.reshape(values.shape[0], -1) if values.ndim > 1 else values.reshape(1, -1)
    return _blocks(_blocks(rows, 0), 1)


def _blocks(values: Any, axis: int) -> Any:
    n = values.shape[axis]
    return np.maximum.reduceat(values, np.arange(0, n, math.ceil(n / CELLS)), axis=axis)


def _colour(bars: float, fails: float) -> str:
    if fails:
        return "#d55e00"
    shade = 235 - round(120 * min(1.0, bars))
    return f"rgb({shade},{shade},{min(255, shade + 15)})"
