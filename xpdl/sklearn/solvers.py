"""Solvers and learning rates, by their names in scikit-learn."""

from collections.abc import Iterator
from typing import Any

from xpdl.arrays import Array
from xpdl.optimizers import Optimizer, adam, momentum, rmsprop
from xpdl.schedules import Schedule

SMALLEST_RATE = 1e-6
"""An adaptive rate is not lowered below this."""

SOLVERS = {  # name: (parameters, learning rate) -> optimizer
    "sgd": lambda p, lr: momentum(lr, beta=p.momentum, nesterov=p.nesterovs_momentum),
    "adam": lambda p, lr: adam(lr, beta1=p.beta_1, beta2=p.beta_2, eps=p.epsilon),
    "rmsprop": lambda p, lr: rmsprop(lr, eps=p.epsilon),
}


def optimizers(parameters: Any, n: int, steps: int) -> Iterator[Optimizer]:
    """Yield the first optimizer, then the next one each time the loss is flat.

    ``n`` and ``steps`` are the numbers of samples and of steps in an epoch.
    """
    if isinstance(parameters.solver, Optimizer):
        yield parameters.solver
        return
    for rate in RATES[parameters.learning_rate](parameters, n, steps):
        yield SOLVERS[parameters.solver](parameters, rate)


def _constant(parameters: Any, n: int, steps: int) -> Iterator[float]:
    yield parameters.learning_rate_init


def _inverse_scaling(parameters: Any, n: int, steps: int) -> Iterator[Schedule]:
    """Yield the schedule learning_rate_init / (1 + t)^power_t, where t counts the samples of all earlier epochs."""
    lr, power = float(parameters.learning_rate_init), float(parameters.power_t)

    def rate(step: Array) -> Array:
        return lr / (1 + n * (step // steps)) ** power

    yield rate


def _adaptive(parameters: Any, n: int, steps: int) -> Iterator[float]:
    """Yield the rate; then divide it by 5 each time the loss is flat."""
    rate = parameters.learning_rate_init
    yield rate
    while rate > SMALLEST_RATE:
        rate /= 5
        yield rate


RATES = {"constant": _constant, "invscaling": _inverse_scaling, "adaptive": _adaptive}
