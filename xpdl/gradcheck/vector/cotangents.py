"""A backward pass and the cotangents that callers hand out, as automatic differentiation does.

zeros             the output is not used, so the gradient is 0
strides           the cotangent is a slice, a transpose or a reversed array, or one number for all entries
used once more    so a backward pass must not change it
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from xpdl.gradcheck.function.blackbox import BlackBox
from xpdl.gradcheck.function.memory_layout import Strides, rows
from xpdl.gradcheck.function.pairing import Pairing
from xpdl.gradcheck.function.probe import Tensors
from xpdl.gradcheck.report import FAIL, INCONCLUSIVE, PASS, Report
from xpdl.gradcheck.vector.rounding import Rounding

LAYOUTS: dict[str, Callable[[Sequence[int]], Strides]] = {
    "a slice of every second entry": lambda shape: tuple(2 * step for step in rows(shape)),
    "a transpose": lambda shape: rows(shape[::-1])[::-1],
    "a reversed array": lambda shape: tuple(-step for step in rows(shape)),
}
"""What a cotangent is, and the strides that its shape has then."""


def with_cotangents(report: Report, pairing: Pairing, box: BlackBox) -> Report:
    """The same report, but FAIL where the gradient for such a cotangent is another than it must be."""
    box.gradient()
    if changed := pairing.changed():
        note = f"vjp changes its cotangent {changed}: whoever uses it once more gets a wrong gradient"
        verdict = INCONCLUSIVE if report.verdict == PASS else report.verdict
        return replace(report, verdict=verdict, notes=(note, *report.notes))
    parameters, rounding = dict(report.parameters), Rounding(report, box.theta)
    for what, plain, found in _variants(box, pairing):
        for name in plain.keys() & parameters.keys():
            said = found if isinstance(found, str) else _wrong(rounding, name, plain, found)
            if said and parameters[name].verdict != FAIL:
                said = f"{said} for a cotangent that is {what}"
                parameters[name] = replace(parameters[name], verdict=FAIL, diagnosis=said)
    wrong = any(parameter.verdict == FAIL for parameter in parameters.values())
    return replace(report, parameters=parameters, verdict=FAIL if wrong else report.verdict)


def _variants(box: BlackBox, pairing: Pairing) -> Iterator[tuple[str, Tensors, Tensors | str]]:
    """What the cotangent is, the gradient that it must give, and the one that it gives, or what is wrong."""
    plain, weights = box.gradient(), pairing.weights
    pairing.weights = {name: np.zeros_like(w) for name, w in weights.items()}
    yield "0 in every entry", {name: np.zeros_like(g) for name, g in plain.items()}, _tried(box)
    pairing.weights = {name: np.ones_like(w) for name, w in weights.items()}
    even, pairing.strides = box.gradient(), lambda shape: (0,) * len(shape)
    yield "one number for all entries, with strides of 0", even, _tried(box)
    pairing.weights = weights
    for what, pairing.strides in LAYOUTS.items():
        yield what, plain, _tried(box)


def _tried(box: BlackBox) -> Tensors | str:
    """The gradient, or what its backward pass raises."""
    try:
        return box.gradient()
    except Exception as error:
        return f"vjp raises {type(error).__name__}"


def _wrong(rounding: Rounding, name: str, expected: Tensors, found: Tensors) -> str:
    return "" if rounding.same(name, expected[name], found[name]) else "wrong"
