"""Learning-rate schedules: the learning rate as a function of the step.

    rate = schedule(step)      step: 0-d floating-point array on the device, counted from 0

They are written in Array API operations, so the device computes the rate and no step waits for the host.  ``every`` is
the number of steps in one unit of decay: with the steps of an epoch, the rate decays by epochs.  Your own schedule is
any such function.  It should depend on the step alone.  If it reads anything else, training notices a change of that at
the next epoch at the earliest, and with JAX never.

Where a schedule takes a rate, it also takes K of them, one for each of K networks.  The rate of a step is (K, 1) then.
"""

from collections.abc import Callable, Sequence
import math
from typing import Any, TypeAlias

from xpdl import checks
from xpdl.arrays import Array, device, namespace
from xpdl.pickling import picklable

Rate: TypeAlias = float | Sequence[float]
"""A rate, or one for each of K networks."""

Schedule: TypeAlias = Callable[[Array], Array | float]


def as_schedule(lr: Rate | Schedule) -> Schedule:
    """Return a schedule unchanged, and a number as a constant schedule.

    Parameters
    ----------
    lr : float, sequence of float or Schedule
        The rate, one for each network, or a function of the step.

    Returns
    -------
    Schedule
        step -> learning rate.

    Raises
    ------
    ValueError, TypeError
        If lr is neither a function nor a number of at least 0, or several of them.

    Examples
    --------
    >>> from xpdl.schedules import as_schedule
    >>> as_schedule(0.1)(7)
    0.1
    >>> as_schedule(lambda step: 1 / (1 + step))(3)
    0.25
    """
    if callable(lr):
        return lr
    rate = _rate("lr", lr)
    return lambda step: _each(rate, step)


@picklable
def constant(lr: Rate) -> Schedule:
    """Constant rate.

        rate = lr

    Parameters
    ----------
    lr : float or sequence of float
        The rate.

    Returns
    -------
    Schedule
        step -> learning rate.

    Raises
    ------
    ValueError, TypeError
        If a number is not in its range, or is not a number.

    Examples
    --------
    >>> from xpdl import schedules
    >>> schedules.constant(0.1)(7)
    0.1
    """
    return as_schedule(_rate("lr", lr))


@picklable
def exponential(lr: Rate, decay: float, *, every: float = 1) -> Schedule:
    """Exponential decay.

        rate = lr * decay^(step / every)

    Parameters
    ----------
    lr : float or sequence of float
        The rate at step 0.
    decay : float
        The factor of the rate in one unit of decay, greater than 0.
    every : float, default 1
        Steps in one unit of decay, at least 1.

    Returns
    -------
    Schedule
        step -> learning rate.

    Raises
    ------
    ValueError, TypeError
        If a number is not in its range, or is not a number.

    Examples
    --------
    >>> import numpy as np
    >>> from xpdl import schedules
    >>> rate = schedules.exponential(0.1, 0.5, every=10)
    >>> [round(float(rate(np.asarray(float(step)))), 4) for step in (0, 5, 10)]
    [0.1, 0.0707, 0.05]
    """
    lr, every = _rate("lr", lr), _steps("every", every)
    log_decay = math.log(_positive("decay", decay))
    return lambda step: _each(lr, step) * namespace(step).exp(step * (log_decay / every))


@picklable
def inverse_time(lr: Rate, decay: float = 1.0, *, every: float = 1) -> Schedule:
    """1/t decay.

        rate = lr / (1 + decay * step / every)

    Parameters
    ----------
    lr : float or sequence of float
        The rate at step 0.
    decay : float, default 1.0
        How fast the rate falls, at least 0.
    every : float, default 1
        Steps in one unit of decay, at least 1.

    Returns
    -------
    Schedule
        step -> learning rate.

    Raises
    ------
    ValueError, TypeError
        If a number is not in its range, or is not a number.

    Examples
    --------
    >>> import numpy as np
    >>> from xpdl import schedules
    >>> rate = schedules.inverse_time(0.1, every=10)
    >>> [round(float(rate(np.asarray(float(step)))), 4) for step in (0, 10, 30)]
    [0.1, 0.05, 0.025]
    """
    lr, every = _rate("lr", lr), _steps("every", every)
    slope = checks.real("decay", decay) / every
    return lambda step: _each(lr, step) / (1 + slope * step)


@picklable
def inverse_sqrt(lr: Rate, *, every: float = 1) -> Schedule:
    """1/sqrt(t) decay.

        rate = lr / sqrt(1 + step / every)

    Parameters
    ----------
    lr : float or sequence of float
        The rate at step 0.
    every : float, default 1
        Steps in one unit of decay, at least 1.

    Returns
    -------
    Schedule
        step -> learning rate.

    Raises
    ------
    ValueError, TypeError
        If a number is not in its range, or is not a number.

    Examples
    --------
    >>> import numpy as np
    >>> from xpdl import schedules
    >>> rate = schedules.inverse_sqrt(0.1)
    >>> [round(float(rate(np.asarray(float(step)))), 4) for step in (0, 3, 8)]
    [0.1, 0.05, 0.0333]
    """
    lr, every = _rate("lr", lr), _steps("every", every)
    return lambda step: _each(lr, step) / namespace(step).sqrt(1 + step / every)


@picklable
def step(lr: Rate, factor: float = 0.1, *, every: float) -> Schedule:
    """Decay in steps: the rate is multiplied by a factor every ``every`` steps.

        rate = lr * factor^floor(step / every)

    Parameters
    ----------
    lr : float or sequence of float
        The rate at step 0.
    factor : float, default 0.1
        The factor, greater than 0.
    every : float
        Steps from one multiplication to the next, at least 1.

    Returns
    -------
    Schedule
        step -> learning rate.

    Raises
    ------
    ValueError, TypeError
        If a number is not in its range, or is not a number.

    Examples
    --------
    >>> import numpy as np
    >>> from xpdl import schedules
    >>> rate = schedules.step(0.1, 0.5, every=10)
    >>> [round(float(rate(np.asarray(float(step)))), 4) for step in (0, 9, 10, 20)]
    [0.1, 0.1, 0.05, 0.025]
    """
    lr, every = _rate("lr", lr), _steps("every", every)
    log_factor = math.log(_positive("factor", factor))

    def rate(step: Array) -> Array:
        xp = namespace(step)
        return _each(lr, step) * xp.exp(log_factor * (step // every))

    return rate


@picklable
def cosine(lr: Rate, steps: float, *, final: Rate = 0.0) -> Schedule:
    """Half a cosine from lr down to final, without restarts.

        rate = final + (lr - final) (1 + cos(pi t)) / 2      with t = min(step / steps, 1)

    Source: Loshchilov & Hutter 2017.

    Parameters
    ----------
    lr : float or sequence of float
        The rate at step 0.
    steps : float
        The step from which on the rate is ``final``, at least 1.
    final : float or sequence of float, default 0.0
        The rate at the end.

    Returns
    -------
    Schedule
        step -> learning rate.

    Raises
    ------
    ValueError, TypeError
        If a number is not in its range, or is not a number.

    Examples
    --------
    >>> import numpy as np
    >>> from xpdl import schedules
    >>> rate = schedules.cosine(0.1, 100)
    >>> [round(float(rate(np.asarray(float(step)))), 4) for step in (0, 50, 100, 200)]
    [0.1, 0.05, 0.0, 0.0]
    """
    lr, final, steps = _rate("lr", lr), _rate("final", final), _steps("steps", steps)

    def rate(step: Array) -> Array:
        xp = namespace(step)
        t = xp.minimum(step / steps, 1.0)
        low = _each(final, step)
        return low + (0.5 * (_each(lr, step) - low)) * (1 + xp.cos(math.pi * t))

    return rate


@picklable
def warmup(lr: Rate | Schedule, steps: float) -> Schedule:
    """Linear warm-up to the rate, or to the schedule, that follows.

        rate = lr(step) * min((step + 1) / steps, 1)

    Source: Goyal et al. 2017.

    Parameters
    ----------
    lr : float, sequence of float or Schedule
        The rate after the warm-up.
    steps : float
        How many steps the warm-up takes, at least 1.

    Returns
    -------
    Schedule
        step -> learning rate.

    Raises
    ------
    ValueError, TypeError
        If a number is not in its range, or is not a number.

    Examples
    --------
    >>> import numpy as np
    >>> from xpdl import schedules
    >>> rate = schedules.warmup(0.1, 4)
    >>> [round(float(rate(np.asarray(float(step)))), 4) for step in (0, 1, 3, 9)]
    [0.025, 0.05, 0.1, 0.1]
    """
    after, steps = as_schedule(lr), _steps("steps", steps)
    return lambda step: after(step) * namespace(step).minimum((step + 1) / steps, 1.0)


def _rate(argument: str, value: Any) -> float | tuple[float, ...]:
    """Return a number as a float, and a sequence or an array (K,) as a tuple of floats."""
    if isinstance(value, str) or not hasattr(value, "__len__") or getattr(value, "shape", None) == ():
        return checks.real(argument, value)
    if not len(value):
        raise ValueError(f"{argument} must be a number or hold one for each network, got {checks.shorten(value)}")
    return tuple(checks.real(argument, number) for number in value)


def _each(rate: float | tuple[float, ...], step: Array) -> float | Array:
    """Return a number unchanged, and K numbers as an array (K, 1), which multiplies the parameters (K, P)."""
    if not isinstance(rate, tuple):
        return rate
    column = namespace(step).asarray([[number] for number in rate], dtype=step.dtype, device=device(step))
    return step * 0 + column  # an array of this library may refuse a recorded one on its right


def _positive(argument: str, value: Any) -> float:
    number = checks.real(argument, value)
    if number == 0:
        raise ValueError(f"{argument} must be greater than 0, got 0")
    return number


def _steps(argument: str, value: Any) -> float:
    return checks.real(argument, value, least=1.0)
