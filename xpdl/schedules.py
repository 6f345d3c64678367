"""Learning-rate schedules: the rate as a function of the step.

    rate = schedule(step)      step: 0-d floating array on the device, counted from 0

They are written in Array API operations, so the device computes the rate and no step waits for the host.  ``every`` is
the number of steps in one unit of decay: with the steps of an epoch, decay goes by epochs.  Your own schedule is any
such function.  It should depend on the step alone: what else it looks at is seen anew in every epoch at the earliest,
and by JAX never.
"""

from collections.abc import Callable
import math
from typing import Any, TypeAlias

from xpdl import checks
from xpdl.arrays import Array, namespace

Schedule: TypeAlias = Callable[[Array], Array | float]


def as_schedule(lr: float | Schedule) -> Schedule:
    """A schedule as it is; a number becomes the constant schedule."""
    if callable(lr):
        return lr
    rate = checks.real("lr", lr)
    return lambda step: rate


def constant(lr: float) -> Schedule:
    """rate = lr."""
    return as_schedule(checks.real("lr", lr))


def exponential(lr: float, decay: float, *, every: float = 1) -> Schedule:
    """rate = lr * decay^(step / every)."""
    lr, every = checks.real("lr", lr), _steps("every", every)
    log_decay = math.log(_positive("decay", decay))
    return lambda step: lr * namespace(step).exp(step * (log_decay / every))


def inverse_time(lr: float, decay: float = 1.0, *, every: float = 1) -> Schedule:
    """1/t decay: rate = lr / (1 + decay * step / every)."""
    lr, every = checks.real("lr", lr), _steps("every", every)
    slope = checks.real("decay", decay) / every
    return lambda step: lr / (1 + slope * step)


def inverse_sqrt(lr: float, *, every: float = 1) -> Schedule:
    """k / sqrt(t) decay: rate = lr / sqrt(1 + step / every)."""
    lr, every = checks.real("lr", lr), _steps("every", every)
    return lambda step: lr / namespace(step).sqrt(1 + step / every)


def step(lr: float, factor: float = 0.1, *, every: float) -> Schedule:
    """rate = lr * factor^floor(step / every)."""
    lr, every = checks.real("lr", lr), _steps("every", every)
    log_factor = math.log(_positive("factor", factor))

    def rate(step: Array) -> Array:
        xp = namespace(step)
        return lr * xp.exp(log_factor * (step // every))

    return rate


def cosine(lr: float, steps: float, *, final: float = 0.0) -> Schedule:
    """Half a cosine from lr down to final (Loshchilov & Hutter 2017, without restarts).

    rate = final + (lr - final) (1 + cos(pi t)) / 2   with t = min(step / steps, 1)
    """
    lr, final, steps = checks.real("lr", lr), checks.real("final", final), _steps("steps", steps)

    def rate(step: Array) -> Array:
        xp = namespace(step)
        t = xp.minimum(step / steps, 1.0)
        return final + (0.5 * (lr - final)) * (1 + xp.cos(math.pi * t))

    return rate


def warmup(lr: float | Schedule, steps: float) -> Schedule:
    """Linear warm-up to the rate, or to the schedule, that follows (Goyal et al. 2017).

    rate = lr(step) * min((step + 1) / steps, 1)
    """
    after, steps = as_schedule(lr), _steps("steps", steps)
    return lambda step: after(step) * namespace(step).minimum((step + 1) / steps, 1.0)


def _positive(argument: str, value: Any) -> float:
    number = checks.real(argument, value)
    if number == 0:
        raise ValueError(f"{argument} must be greater than 0, got 0")
    return number


def _steps(argument: str, value: Any) -> float:
    return checks.real(argument, value, least=1.0)
