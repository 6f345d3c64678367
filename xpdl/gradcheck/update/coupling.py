"""Coupling: does the step of one entry of theta depend on the gradients of others, as with a norm?"""

import numpy as np

from xpdl.gradcheck.report import Vector
from xpdl.gradcheck.update.subject import Subject


def is_coupled(subject: Subject, grads: Vector) -> bool:
    """Whether entries influence each other: half of the gradients are changed, and the other half of theta moves."""
    each = np.multiply.outer(grads, 1 + np.arange(subject.size) / subject.size)
    left = np.arange(subject.size) < subject.size // 2
    base = subject.run(1.0, each)
    if not np.isfinite(base).all():
        return False
    for changed in (left, ~left):
        error = np.abs(subject.run(1.0, np.where(changed, -100 * each, each)) - base)[:, ~changed]
        if np.any(error > 64 * subject.u * np.max(np.abs(base))):
            return True
    return False
