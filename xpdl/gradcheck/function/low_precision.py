"""Gradients in float16 and bfloat16, judged as such.

A numeric derivative in 3 digits tells nothing.  So the check is made in float64 first.  A gradient that passes is then
the reference for the same function in its own precision, and its bar is what rounding may do there: a few roundings of
the entry, and what roundings of the arguments change.
"""

from collections.abc import Mapping
from dataclasses import replace
import math

import numpy as np

from xpdl import checks
from xpdl.gradcheck.function.arguments import Arguments
from xpdl.gradcheck.function.blackbox import BlackBox
from xpdl.gradcheck.function.probe import Tensors
from xpdl.gradcheck.report import FAIL, PASS, Entry, Parameter, Vector

LEAST = {"float16": 2.0**-24, "bfloat16": 2.0**-133}
"""The least number above 0 of each precision."""
EPSILON = {"float16": 2.0**-10, "bfloat16": 2.0**-7}
"""The distance from 1 to the next number."""
ROUNDINGS = 8.0
"""Roundings of an entry itself: a softmax, a normalisation or a GELU needs about as many."""
DRAWS, SPREAD = 8, 4.0
"""Arguments are rounded anew this many times; a bar is SPREAD times the largest change that was seen."""


def low_dtypes(arguments: Arguments) -> dict[str, str]:
    """The dtypes of the arguments in float16 or bfloat16, by name."""
    dtypes = {name: checks.dtype_name(array.dtype) for name, array in arguments.arrays.items()}
    return {name: dtype for name, dtype in dtypes.items() if dtype in EPSILON}


def in_own_precision(
    box: BlackBox, gradient: Tensors, parameters: Mapping[str, Parameter]
) -> tuple[dict[str, Parameter], list[str]]:
    """The verdicts, but FAIL where a gradient is wrong in its own precision only; and how far each one is off."""
    low = low_dtypes(box.arguments)
    if not low:
        return dict(parameters), []
    found, moved = box.gradient_with(own_dtypes=True), _changes(box, gradient, low)
    judged, notes = dict(parameters), []
    for name in low.keys() & parameters.keys():
        dtype, reference = low[name], gradient[name]
        bar = ROUNDINGS * EPSILON[dtype] * np.abs(reference) + SPREAD * moved[name] + LEAST[dtype]
        judged[name] = _judged(parameters[name], found[name], reference, bar, dtype)
        notes.append(
            f"{name}: in {dtype} the worst entry is off by {_units(found[name], reference, dtype):.2g} "
            "units in the last place"
        )
    return judged, notes


def _changes(box: BlackBox, gradient: Tensors, low: Mapping[str, str]) -> dict[str, Vector]:
    """How far roundings of the arguments move the gradient."""
    generator = np.random.default_rng(0)
    moved = {name: np.zeros_like(g) for name, g in gradient.items()}
    for _ in range(DRAWS):
        roundings = {n: EPSILON[low[n]] * generator.uniform(-1, 1, box.theta[n].shape) for n in low}
        theta = {n: t * (1 + roundings[n]) if n in low else t for n, t in box.theta.items()}
        for name, there in box.gradient_with(theta=theta).items():
            moved[name] = np.fmax(moved[name], np.abs(there - gradient[name]))
    return moved


def _judged(parameter: Parameter, found: Vector, reference: Vector, bar: Vector, dtype: str) -> Parameter:
    """The verdict, but FAIL if the gradient passes in float64 and is wrong in its own precision."""
    error = np.where(np.isfinite(found), np.abs(found - reference), math.inf)
    wrong = error > bar
    if parameter.verdict != PASS or not wrong.any():
        return parameter
    worst = np.unravel_index(int(np.argmax(error / bar)), error.shape)
    index = tuple(int(k) for k in worst)
    entry = Entry(index, float(found[index]), float(reference[index]), float(bar[index]))
    reason = "not finite" if not np.isfinite(found).all() else "wrong"
    count = int(wrong.sum())
    said = f"right in float64, and {reason} in {dtype}: {count} of {error.size} entries"
    return replace(parameter, verdict=FAIL, worst=entry, failing=count, diagnosis=said)


def _units(found: Vector, reference: Vector, dtype: str) -> float:
    """The largest error in units in the last place of the entry."""
    with np.errstate(divide="ignore"):
        exponent = np.floor(np.log2(np.abs(reference)))
    units = np.maximum(EPSILON[dtype] * 2.0**exponent, LEAST[dtype])
    return float(np.max(np.abs(found - reference) / units))
