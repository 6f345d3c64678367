"""``check_gradient`` of pairings: one report for several cotangents."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from xpdl.gradcheck.function import check_gradient
from xpdl.gradcheck.report import FAIL, Report


def judged(
    fun: Callable[..., Any], gradient: Callable[..., Any], args: Sequence[Any], seed: int, options: Mapping[str, Any]
) -> Report:
    """The report of check_gradient on a pairing."""
    return check_gradient(fun, gradient, *args, seed=seed, **options)


def combined(reports: Sequence[Report]) -> Report:
    """The first report, or the first that fails: a second look may find more, and is not asked for more."""
    first = reports[0]
    chosen = next((report for report in reports if report.verdict == FAIL), first)
    evaluations, seconds = (sum(column) for column in zip(*((r.evaluations, r.seconds) for r in reports), strict=True))
    return replace(chosen, evaluations=evaluations, seconds=seconds)
