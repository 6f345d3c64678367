"""Complex arguments and outputs: a number z = x + i y is two real ones, and libraries write its gradient in two ways.

    PyTorch   df/dx + i df/dy    <c, out> = Re(sum(conj(c) out))
    JAX       df/dx - i df/dy    <c, out> = Re(sum(c out))

Of a gradient that somebody wrote for another library either is right, if all its tensors have the same.
Source: the PyTorch notes on autograd for complex numbers; the JAX autodiff cookbook.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from array_api_compat import is_jax_array, is_torch_array
import numpy as np

from xpdl.arrays import is_complex
from xpdl.gradcheck.function.arguments import Arguments
from xpdl.gradcheck.report import FAIL, PASS, Report, Vector

WRITTEN = {False: "df/dx + i df/dy, as in PyTorch", True: "df/dx - i df/dy, as in JAX"}
"""How a gradient is written, if it is not conjugate and if it is."""


def as_pairs(numbers: Vector) -> Vector:
    """Real and imaginary parts along a last axis of length 2; real numbers as they are."""
    return np.stack([numbers.real, numbers.imag], -1) if np.iscomplexobj(numbers) else numbers


def from_pairs(pairs: Vector, *, conjugate: bool = False) -> Vector:
    """Complex numbers, or their conjugates, from their parts, which must be real."""
    if np.iscomplexobj(pairs):
        raise TypeError("the complex step needs real arguments")
    return np.asarray(pairs[..., 0] + (-1j if conjugate else 1j) * pairs[..., 1])


def complex_names(arguments: Arguments) -> set[str]:
    """The variables that are complex."""
    arrays = {name for name, array in arguments.arrays.items() if is_complex(array)}
    return arrays | {name for name, leaf in arguments.variables.items() if isinstance(leaf, complex)}


def in_convention(judge: Callable[[bool], Report], arguments: Arguments, has_complex: Callable[[], bool]) -> Report:
    """The report in the library's way of writing gradients, or in the one that fits: judge(conjugate) -> a report."""
    leaf = next(iter(arguments.arrays.values()), None)
    conjugate = is_jax_array(leaf)
    report = judge(conjugate)
    if not has_complex():
        return report
    if report.verdict == FAIL:
        other = judge(not conjugate)
        if other.verdict == PASS and not (is_jax_array(leaf) or is_torch_array(leaf)):
            report, conjugate = other, not conjugate
        else:
            report = _with_conjugates(report, other)
    parts = "; of a complex tensor, the last index is 0 for real parts and 1 for imaginary ones"
    return replace(report, notes=(*report.notes, f"complex gradients: {WRITTEN[conjugate]}{parts}"))


def _with_conjugates(report: Report, other: Report) -> Report:
    """The same report, where a tensor that is right in the other convention is said to be the conjugate."""
    parameters: dict[str, Any] = dict(report.parameters)
    for name, parameter in parameters.items():
        if parameter.verdict == FAIL and name in other.parameters and other.parameters[name].verdict == PASS:
            parameters[name] = replace(parameter, diagnosis="the conjugate of the numeric gradient")
    return replace(report, parameters=parameters)
