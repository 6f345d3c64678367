"""How far two results of one derivative may be apart by rounding: cotangents with other strides, a batch and a loop."""

import numpy as np

from xpdl.gradcheck.function.probe import Tensors, natural_scale
from xpdl.gradcheck.report import Parameter, Report, Vector

GROSS = {"float64": 2.0**-20, "float32": 2.0**-11}
"""By precision: what differs by more than this part of its largest entry comes from other numbers."""
BARS = 4.0
"""A derivative that is 0 but for rounding, as that of a bias before batch norm, stays within so many error bars."""


class Rounding:
    """What rounding may change in the derivatives of a report, at theta."""

    def __init__(self, report: Report, theta: Tensors) -> None:
        self.part = GROSS[report.precision]
        self.bars = {
            name: _bars(report.parameters[name], theta[name]) for name in report.parameters.keys() & theta.keys()
        }

    def same(self, name: str, expected: Vector, found: Vector) -> bool:
        """Whether two gradients of a tensor are one."""
        largest = float(np.max(np.abs(expected), initial=0.0))
        return bool(np.all(np.abs(found - expected) <= self.part * largest + self.bars[name]))

    def along(self, tangents: Tensors) -> float:
        """What it may change in a derivative along tangents."""
        return float(np.sqrt(sum(np.sum((t * self.bars[name]) ** 2) for name, t in tangents.items())))


def _bars(parameter: Parameter, tensor: Vector) -> Vector:
    """The largest error bar for each entry; those of directions are in natural units."""
    scale = 1.0 if parameter.bar.shape == tensor.shape else natural_scale(tensor)
    return np.asarray(BARS * np.max(parameter.bar, initial=0.0) / scale)
