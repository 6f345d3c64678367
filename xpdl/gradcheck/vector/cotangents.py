"""A backward pass and the cotangents that callers hand out, as automatic differentiation does.

zeros             the output is not used, so the gradient is 0
strides           the cotangent is a slice, a transpose or a reversed array, or one number for all entries
used once more    so a backward pass must not change it
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from xpdl.gradcheck.function.blackbox import BlackBox, enter
from xpdl.gradcheck.function.memory_layout import Strides, rows
from xpdl.gradcheck.function.pairing import Pairing
from xpdl.gradcheck.function.probe import Tensors
from xpdl.gradcheck.report import FAIL, INCONCLUSIVE, PASS, Report, Vector

GROSS = 2.0**-20
"""A gradient that differs by more than this part of its largest entry comes from other numbers, not from rounding."""


LAYOUTS: dict[str, Callable[[Sequence[int]], Strides]] = {
    "a slice of every second entry": lambda shape: tuple(2 * step for step in rows(shape)),
    "a transpose": lambda shape: rows(shape[::-1])[::-1],
    "a reversed array": lambda shape: tuple(-step for step in rows(shape)),
}
"""What a cotangent is, and the strides that its shape has then."""


def with_cotangents(
    report: Report, pairing: Pairing, gradient: Callable[..., Any], args: Sequence[Any], dtype: str | None
) -> Report:
    """The same report, but FAIL where the gradient for such a cotangent is another than it must be."""
    box, _, _ = enter(pairing, gradient, args, dtype)
    if changed := pairing.changed():
        note = f"vjp changes its cotangent {changed}: whoever uses it once more gets a wrong gradient"
        verdict = INCONCLUSIVE if report.verdict == PASS else report.verdict
        return replace(report, verdict=verdict, notes=(note, *report.notes))
    parameters = dict(report.parameters)
    for what, expected, found in _variants(box, pairing):
        for name, parameter in parameters.items():
            if parameter.verdict != FAIL and not close(expected[name], found[name]):
                said = f"wrong for a cotangent that is {what}"
                parameters[name] = replace(parameter, verdict=FAIL, diagnosis=said)
    wrong = any(parameter.verdict == FAIL for parameter in parameters.values())
    return replace(report, parameters=parameters, verdict=FAIL if wrong else report.verdict)


def _variants(box: BlackBox, pairing: Pairing) -> Iterator[tuple[str, Tensors, Tensors]]:
    """What the cotangent is, the gradient that it must give, and the one that it gives."""
    plain, weights = box.gradient(), pairing.weights
    pairing.weights = {name: np.zeros_like(w) for name, w in weights.items()}
    yield "0 in every entry", {name: np.zeros_like(g) for name, g in plain.items()}, box.gradient()
    pairing.weights = {name: np.ones_like(w) for name, w in weights.items()}
    even, pairing.strides = box.gradient(), lambda shape: (0,) * len(shape)
    yield "one number for all entries, with strides of 0", even, box.gradient()
    pairing.weights = weights
    for what, pairing.strides in LAYOUTS.items():
        yield what, plain, box.gradient()


def close(expected: Vector, found: Vector) -> bool:
    """Whether two gradients are one, but for rounding."""
    largest = float(np.max(np.abs(expected), initial=0.0))
    return bool(np.all(np.abs(found - expected) <= GROSS * largest))
