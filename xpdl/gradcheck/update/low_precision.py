"""Optimizers in float16 and bfloat16: the rule is found in float64, and then they take steps in their own precision.

Three digits do not tell rules apart.  But they tell whether a step is finite, and how much of it is rounded away.
"""

from dataclasses import replace

import numpy as np

from xpdl.gradcheck.report import FAIL, INCONCLUSIVE, PASS, Vector
from xpdl.gradcheck.update.faults import keeps_the_dtype
from xpdl.gradcheck.update.report import UpdateReport
from xpdl.gradcheck.update.rules import EPS
from xpdl.gradcheck.update.subject import LEAST, Subject

ROUNDINGS = 16
"""A step may be off by so many units in the last place of the largest one: a rule rounds some ten numbers."""
ORDER = (PASS, INCONCLUSIVE, FAIL)
ZERO = "a gradient of 0 in the first step gives NaN in {}, and not in float64{}"
INFINITE = "theta is not finite after step {} in {}, and is in float64{}"
ROUNDED_AWAY = ": 0 / 0, as {} = {:.3g} becomes 0 there; the least number above 0 is {:.2g}"
OFF = "in {} a step is off by up to {:.2g} of the largest"
LOST = ": more than rounding a step explains, so small changes of theta or of the state are lost"


def in_own_precision(report: UpdateReport, subject: Subject, grads: Vector) -> UpdateReport:
    """The report of the optimizer in float64, and what is different in the dtype of the subject."""
    verdict, finding = _fault(report, subject, grads) or _compared(subject, grads)
    worst = max(report.verdict, verdict, key=ORDER.index)
    return replace(report, verdict=worst, findings=(finding, *report.findings), precision=subject.dtype)


def _fault(report: UpdateReport, subject: Subject, grads: Vector) -> tuple[str, str] | None:
    """The verdict on what is wrong in this precision only, and its text.

    NumPy widens the bfloat16 of ml_dtypes where it meets a number, so another dtype may be the library's doing.
    """
    high, still = subject._replace(dtype="float64"), np.zeros(2)
    bad = _not_finite(subject, grads)
    if len(_not_finite(subject, still)) and not len(_not_finite(high, still)):
        return FAIL, ZERO.format(subject.dtype, _epsilon_of(report, subject))
    if len(bad) and not len(_not_finite(high, grads)):
        return FAIL, INFINITE.format(bad[0], subject.dtype, _epsilon_of(report, subject))
    widened = keeps_the_dtype(subject, grads)
    return (INCONCLUSIVE, widened) if widened else None


def _not_finite(subject: Subject, grads: Vector) -> Vector:
    """The steps after which theta is not finite."""
    return np.flatnonzero(~np.isfinite(subject.run(1.0, grads)).all(axis=1))


def _epsilon_of(report: UpdateReport, subject: Subject) -> str:
    """Which epsilon is rounded to 0, if there is one."""
    least = LEAST[subject.dtype]
    lost = [(name, value) for name, value in report.hyperparameters.items() if name in EPS and 0 < value < least / 2]
    return ROUNDED_AWAY.format(*lost[0], least) if lost else ""


def _compared(subject: Subject, grads: Vector) -> tuple[str, str]:
    """The verdict on the steps beside those in float64 with the same gradients, and how far they are off."""
    rounded = subject.rounded(grads)
    low, high = (one.run(0.0, rounded) for one in (subject, subject._replace(dtype="float64")))
    steps = np.diff(high, axis=0)
    largest = max(float(np.max(np.abs(steps))), LEAST[subject.dtype])
    off = float(np.max(np.abs(np.diff(low, axis=0) - steps))) / largest
    bar = subject.u * (ROUNDINGS + float(np.max(np.abs(high))) / largest)
    text = OFF.format(subject.dtype, off)
    return (PASS, text) if off <= bar else (INCONCLUSIVE, text + LOST)
