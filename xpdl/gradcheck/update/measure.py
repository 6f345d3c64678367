"""Measure the rule that one entry of theta follows, by single steps.

First steps at gradients from tiny to huge give the size and the place of epsilon.  Second steps after gradients that
differ in their sign give the betas.  All are in closed form, or nearly so.
"""

from collections.abc import Callable, Iterator
import math
from typing import NamedTuple, TypeAlias

from xpdl.gradcheck.update.subject import Subject

HUGE_GRADIENT = 1e10
TINY_GRADIENT = {"float64": 1e-30, "float32": 1e-12}
Moved: TypeAlias = Callable[..., float]
"""(theta at the start, *gradients) -> what the last step subtracts from theta"""


class Measurements(NamedTuple):
    """The measurements in one entry of theta."""

    power: float  # of a huge gradient, to which the first step is proportional
    huge: float  # the first step at a huge gradient
    epsilon: float  # Q, the gradient at which epsilon is as large as the rest
    inside: float  # w, the part of Q that stands inside the root
    decay: float  # the step of theta = 1 without a gradient
    balance: float  # minus the gradient at which theta = 1 does not move
    beta1: float
    beta2: float
    again: float  # the second step with the same gradient, relative to the first

    def epsilons(self, least: float) -> Iterator[float]:
        """The parts of Q outside and inside the root; a part below this fraction of Q is 0."""
        for part in (self.epsilon - self.inside, self.inside):
            yield part if part > least * self.epsilon else 0.0

    @property
    def unit(self) -> float:
        """A gradient that is large beside epsilon."""
        return max(1.0, 1e6 * self.epsilon)


def measure(subject: Subject, entry: int) -> Measurements:
    """Measure one entry of theta with single steps."""

    def moved(start: float, *grads: float) -> float:
        path = subject.run(start, grads)[:, entry]
        return float(path[-2] - path[-1])

    huge = moved(0.0, HUGE_GRADIENT)
    power = _power(quotient(moved(0.0, 2 * HUGE_GRADIENT), huge))
    measured = Measurements(power, huge, *_epsilon(moved, TINY_GRADIENT[subject.dtype]), *5 * [0.0])
    decay = _decay_of_theta(moved, measured.unit, subject.u)
    beta1, beta2, again = _betas(moved, measured.unit, decay)
    balance = _balance(moved) if decay else 0.0
    return measured._replace(decay=decay, balance=balance, beta1=beta1, beta2=beta2, again=again)


def _epsilon(moved: Moved, tiny: float) -> tuple[float, float]:
    """Q and w.  The first step of Adam and its kin is lr g / (sqrt(g^2 + w^2) + E); two gradients give w and E:

    q(g) = g step(inf) / step(g) = sqrt(g^2 + w^2) + E,   Q = q(0) = w + E,   A = q(Q) - Q,   w = (Q^2 - A^2) / (2 A)
    """
    huge = moved(0.0, HUGE_GRADIENT)
    whole = quotient(tiny * huge, moved(0.0, tiny))
    if not 10 * tiny < whole < HUGE_GRADIENT / 10:
        return 0.0, 0.0
    beyond = quotient(whole * huge, moved(0.0, whole)) - whole
    return whole, min(max(quotient(whole**2 - beyond**2, 2 * beyond), 0.0), whole)


def _decay_of_theta(moved: Moved, unit: float, u: float) -> float:
    """The step of theta = 1 without a gradient; where that is 0 / 0, the mean of the steps with g and -g."""
    decay = moved(1.0, 0.0)
    if math.isfinite(decay):
        return decay
    decay = (moved(1.0, unit) + moved(1.0, -unit)) / 2
    return decay if abs(decay) > 8 * u else 0.0


def _betas(moved: Moved, unit: float, decay: float) -> tuple[float, float, float]:
    """beta1, beta2, and the second step with a huge gradient relative to the first.

    Second steps after the gradients 0, a and -a have the ratio 1 : (1 + beta1) / sqrt(1 + beta2) : (1 - beta1) / ...,
    for any learning rate and bias correction.  First the part of a step that is due to decay is added back.
    """
    linear = math.isclose(moved(2.0, 0.0), 2 * decay, rel_tol=1e-3)

    def second(past: float, now: float = unit) -> float:
        return moved(0.0, past, now) + linear * decay * moved(0.0, past)

    none, same, opposite = map(second, (1e-6 * unit, unit, -unit))
    beta1 = quotient(same - opposite, same + opposite)
    beta2 = quotient(2 * none, same + opposite) ** 2 - 1
    return beta1, beta2, quotient(second(HUGE_GRADIENT, HUGE_GRADIENT), moved(0.0, HUGE_GRADIENT))


def _balance(moved: Moved) -> float:
    """The c > 0 with moved(1, -c) = 0, by bisection of its logarithm; a coupled decay has the coefficient c."""
    low, high = math.log(1e-9), math.log(1e6)
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if moved(1.0, -math.exp(middle)) > 0 else (low, middle)
    return math.exp(low)


def quotient(a: float, b: float) -> float:
    """a / b, and 0 if that is not a number."""
    return a / b if b and math.isfinite(a) and math.isfinite(b) else 0.0


def _power(ratio: float) -> float:
    """1 for a ratio of 2, 0 for 1, rounded to a quarter; NaN if doubling the gradient does something else."""
    power = math.log2(ratio) if ratio > 0 else math.nan
    return round(power * 4) / 4 if abs(power * 4 - round(power * 4, 0)) < 0.01 else math.nan
