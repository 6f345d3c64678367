"""Faults that an optimizer can have with any rule.

Each check gets the optimizer and a random history of gradients, and returns the fault as a sentence, or None.
"""

from collections.abc import Callable
from functools import partial
from itertools import combinations

import numpy as np

from xpdl import checks
from xpdl.backends.base import to_numpy
from xpdl.gradcheck.report import Vector
from xpdl.gradcheck.update.rules import LATE, LOST_MOMENTS
from xpdl.gradcheck.update.subject import Subject, arrays_in

LOST_STATE = "the state is lost between steps"


def _restarts(subject: Subject, grads: Vector) -> str | None:
    first, second = (subject.run(1.0, grads) for _ in range(2))
    if not np.array_equal(first, second, equal_nan=True):
        return (
            "a second run from a new state takes other steps: random numbers, or something is kept outside of the state"
        )
    return None


def _leaves_the_gradient_alone(subject: Subject, grads: Vector) -> str | None:
    for values, (_, grad, _) in zip(grads[:3], list(subject.walk(1.0, grads[:3]))[1:], strict=False):
        if not np.array_equal(to_numpy(grad), to_numpy(subject.put(values))):
            return "update changes the gradient it is given, which belongs to the caller"
    return None


def _shares_memory(subject: Subject, grads: Vector) -> str | None:
    for theta, grad, state in subject.walk(1.0, grads[:3]):
        arrays = [("theta", theta), ("the gradient", grad), *(("a state vector", slot) for slot in arrays_in(state))]
        for (one, a), (other, b) in combinations(arrays, 2):
            if np.shares_memory(to_numpy(a), to_numpy(b)):
                return f"{one} and {other} share memory: a change of one changes both"
    return None


def keeps_the_dtype(subject: Subject, grads: Vector) -> str | None:
    """Whether theta has the dtype it had."""
    *_, (theta, _, _) = subject.walk(1.0, grads[:2])
    dtype = checks.dtype_name(theta.dtype)
    return f"theta becomes {dtype}, it was {subject.dtype}" if dtype != subject.dtype else None


def _survives_zero(subject: Subject, grads: Vector) -> str | None:
    still = (subject.run(start, [0.0, 0.0]) for start in (0.0, 1.0))
    if np.isfinite(subject.run(1.0, grads)).all() and not all(np.isfinite(path).all() for path in still):
        return "a gradient of 0 in the first step gives NaN: 0 / 0, an epsilon is missing"
    return None


def _is_finite(subject: Subject, grads: Vector) -> str | None:
    bad = np.argwhere(~np.isfinite(subject.run(1.0, grads)))
    if not len(bad):
        return None
    hint = ": a step counter that starts at 0 divides by 1 - beta^0 = 0" if bad[0, 0] == 1 else ""
    return f"theta is not finite after step {bad[0, 0]}{hint}"


def _knows_signs(subject: Subject, grads: Vector) -> str | None:
    up, down = (subject.run(0.0, [sign])[1] for sign in (1.0, -1.0))
    if np.isfinite(up).all() and not np.isfinite(down).all():
        return "a negative gradient gives NaN: the second moment is an average of gradients that are not squared"
    return "the sign of the gradient is lost: g and -g move theta alike" if up.any() and np.all(up == down) else None


def _keeps_its_state(subject: Subject, grads: Vector) -> str | None:
    lost = idle_slots(subject, grads)
    if lost and all(lost):
        return f"{LOST_STATE}: {sum(lost)} of its {len(lost)} vectors stay 0"
    return None


def _carries_its_state(subject: Subject, grads: Vector) -> str | None:
    """A moment must depend on earlier gradients, too.  A copy of the last gradient or of the last step need not."""
    alike = partial(np.isclose, rtol=1e-3, atol=0)
    pasts = ((0.1, 1.0), (10.0, 1.0), (0.1, 2.0))
    step = np.abs(np.diff(subject.run(0.0, pasts[0]), axis=0)[1])
    for here, other, double in zip(*(subject.slots(0.0, past) for past in pasts), strict=False):
        share = alike(here, other) & (here > 0) & (here < 0.9999) & ~alike(here, step)
        for power, fault in LOST_MOMENTS.items():
            if np.any(share & alike(double, 2**power * here)):
                return fault
    return None


def _uses_its_last_gradient(subject: Subject, grads: Vector) -> str | None:
    """A step of one size for gradients of any size, which is linear in the last gradient: another one is its size."""

    def second(past: float, now: float, start: float = 0.0) -> float:
        path = subject.run(start, [past, now])[:, 0]
        return float(path[1] - path[2])

    if len({second(1.0, now) for now in (0.1, -0.1, subject.largest, -subject.largest)}) == 1 and second(1.0, 0.1):
        return LATE.format("first")
    return LATE.format("second") if any(_is_late(subject, second, size) for size in (1.0, 1e5)) else None


def _is_late(subject: Subject, second: Callable[..., float], large: float) -> bool:
    """Whether second steps do so at this size, which must be large beside epsilon, but not so that it rounds away."""
    steps = [second(large, times * large) for times in (1.0, 2.0, 3.0)]
    far = -10 * float(subject.run(0.0, [large])[1, 0])  # where theta is, must not matter
    others = second(2 * large, 2 * large), second(large, large, far)
    of_one_size = np.allclose(others, steps[0], rtol=1e-3, atol=0)
    linear = np.isclose(steps[2] - steps[1], steps[1] - steps[0], rtol=1e-3, atol=0)
    return bool(of_one_size and linear and steps[1] > 1.1 * steps[0])


FAULT_CHECKS = (
    _is_finite,
    _survives_zero,
    _knows_signs,
    _restarts,
    _leaves_the_gradient_alone,
    _shares_memory,
    keeps_the_dtype,
    _keeps_its_state,
    _carries_its_state,
    _uses_its_last_gradient,
)


def find_faults(subject: Subject, grads: Vector) -> list[str]:
    """The faults of the optimizer, one sentence each."""
    return [fault for check in FAULT_CHECKS if (fault := check(subject, grads))]


def idle_slots(subject: Subject, grads: Vector) -> list[bool]:
    """Of each vector in the state: whether it stays 0."""
    return [not slot.any() for slot in subject.slots(1.0, grads)]
