"""Coupling: of which entries does the gradient change the step of another, as with a norm?  So layers are found."""

import numpy as np

from xpdl.gradcheck.report import Vector
from xpdl.gradcheck.update.subject import Subject

STEPS = 6
"""Adam's first step does not show that its gradient is clipped; a few show all."""


def is_coupled(subject: Subject, grads: Vector) -> bool:
    """Whether entries influence each other: every other gradient is changed, and the theta between them moves."""
    odd = np.arange(subject.size) % 2 == 1
    return bool(_moved(subject, grads, odd).any() or _moved(subject, grads, ~odd).any())


def influence(subject: Subject, grads: Vector) -> Vector:
    """Whether the gradient of entry i changes the steps of entry j, as [i, j]."""
    return np.stack([_moved(subject, grads[:STEPS], one) for one in np.eye(subject.size, dtype=bool)])


def layers_of(influence: Vector) -> list[Vector]:
    """The sets of entries that are linked, those of one entry too, in the order of their first."""
    linked = influence | influence.T | np.eye(len(influence), dtype=bool)
    while (further := linked @ linked).sum() > linked.sum():
        linked = further
    return [np.flatnonzero(linked[i]) for i in range(len(linked)) if not linked[i, :i].any()]


def _moved(subject: Subject, grads: Vector, changed: Vector) -> Vector:
    """The entries whose path changes if the gradients of others do; none if the path is not finite.

    The others start at 100, so that norms of theta are seen, and the entries at 0, so that small steps are.
    """
    start, each = np.where(changed, 100.0, 0.0), np.multiply.outer(grads, 1 + np.arange(subject.size) / subject.size)
    each = np.clip(each, -subject.largest, subject.largest)
    base = subject.run(start, each)
    other = subject.run(start, np.where(changed, -subject.largest * np.sign(each), each))
    if not np.isfinite(base).all():
        return np.zeros(subject.size, bool)
    return np.asarray(np.any(np.abs(other - base) > 64 * subject.u * np.max(np.abs(base), axis=0), axis=0) & ~changed)
