"""Measure the rule that one entry of theta follows, by single steps.

First steps at gradients from tiny to huge give the size and the place of epsilon.  Second steps after gradients that
differ in their sign give the betas.  All are in closed form, or nearly so.
"""

from collections.abc import Callable, Iterator
import math
from typing import NamedTuple, TypeAlias

from xpdl.gradcheck.update.subject import Subject

TINY_GRADIENT = {"float64": 1e-30, "float32": 1e-12}
NO_DECAY = 8
"""A step of theta = 1 of less than so many roundings is no decay."""
Moved: TypeAlias = Callable[..., float]
"""(theta at the start, *gradients) -> what the last step subtracts from theta"""


class Measurements(NamedTuple):
    """The measurements in one entry of theta."""

    largest: float  # the huge gradient
    power: float  # of a huge gradient, to which the first step is proportional
    huge: float  # the first step at a huge gradient
    epsilon: float  # Q, the gradient at which epsilon is as large as the rest
    inside: float  # w, the part of Q that stands inside the root
    decay: float  # the step of theta = 1 without a gradient
    balance: float  # minus the gradient at which theta = 1 does not move
    beta1: float
    beta2: float
    again: float  # the second step with the same gradient, relative to the first
    flip: float = 0.0  # minus the gradient that turns the step round after a gradient of 1, if only signs count
    flip_later: float = 0.0  # the same after the gradients 1 and 0

    @property
    def memoryless(self) -> bool:
        """Whether second steps do not depend on the gradient before."""
        return max(abs(self.beta1), abs(self.beta2)) < 1e-6

    def epsilons(self, least: float) -> Iterator[float]:
        """The parts of Q outside and inside the root; a part below this fraction of Q is 0."""
        for part in (self.epsilon - self.inside, self.inside):
            yield part if part > least * self.epsilon else 0.0

    @property
    def unit(self) -> float:
        """A gradient that is large beside epsilon."""
        return min(max(1.0, 1e6 * self.epsilon), self.largest / 4)


def moved_in(subject: Subject, entry: int) -> Moved:
    """What the last step subtracts from one entry of theta."""

    def moved(start: float, *grads: float) -> float:
        path = subject.run(start, grads)[:, entry]
        return float(path[-2] - path[-1])

    return moved


def measure(subject: Subject, moved: Moved, relative: bool = False) -> Measurements:
    """Measure the rule of one entry of theta with single steps, which may be relative to those of another entry."""
    huge, half = moved(0.0, subject.largest), moved(0.0, subject.largest / 2)
    epsilons = _epsilon(moved, subject.largest, TINY_GRADIENT[subject.dtype])
    measured = Measurements(subject.largest, power(quotient(huge, half)), huge, *epsilons, *5 * [0.0])
    decay = _decay_of_theta(moved, measured.unit, subject.u)
    beta1, beta2, again = _betas(moved, subject.largest, measured.unit, 0.0 if relative else decay)
    balance = _turn(lambda c: moved(1.0, -c)) if decay else 0.0
    measured = measured._replace(decay=decay, balance=balance, beta1=beta1, beta2=beta2, again=again)
    return measured._replace(**_flips(moved, measured.unit)) if measured.power == 0 else measured


def _flips(moved: Moved, unit: float) -> dict[str, float]:
    """Where the step turns round, if all steps are of one size."""
    sizes = [abs(moved(0.0, unit, now * unit)) for now in (1.0, 0.3, -3.0)]
    if not sizes[0] or max(sizes) - min(sizes) > 1e-2 * sizes[0]:
        return {}
    flip = _turn(lambda c: moved(0.0, unit, -c * unit))
    return {"flip": flip, "flip_later": _turn(lambda c: moved(0.0, unit, 0.0, -c * unit))} if flip > 1e-8 else {}


def _epsilon(moved: Moved, largest: float, tiny: float) -> tuple[float, float]:
    """Q and w.  The first step of Adam and its kin is lr g / (sqrt(g^2 + w^2) + E); two gradients give w and E:

    q(g) = g step(inf) / step(g) = sqrt(g^2 + w^2) + E,   Q = q(0) = w + E,   A = q(Q) - Q,   w = (Q^2 - A^2) / (2 A)
    """
    huge = moved(0.0, largest)
    whole = quotient(tiny * huge, moved(0.0, tiny))
    if not 10 * tiny < whole < largest / 10:
        return 0.0, 0.0
    beyond = quotient(whole * huge, moved(0.0, whole)) - whole
    return whole, min(max(quotient(whole**2 - beyond**2, 2 * beyond), 0.0), whole)


def _decay_of_theta(moved: Moved, unit: float, u: float) -> float:
    """The step of theta = 1 without a gradient; where that is 0 / 0, the mean of the steps with g and -g."""
    decay = moved(1.0, 0.0)
    if math.isfinite(decay):
        return decay
    decay = (moved(1.0, unit) + moved(1.0, -unit)) / 2
    return decay if abs(decay) > NO_DECAY * u else 0.0


def _betas(moved: Moved, largest: float, unit: float, decay: float) -> tuple[float, float, float]:
    """beta1, beta2, and the second step with a huge gradient relative to the first.

    Second steps after the gradients 0, a and -a have the ratio 1 : (1 + beta1) / sqrt(1 + beta2) : (1 - beta1) / ...,
    for any learning rate and bias correction.  First the part of a step that is due to decay is added back.
    """
    linear = math.isclose(moved(2.0, 0.0), 2 * decay, rel_tol=1e-3)

    def second(past: float, now: float = unit) -> float:
        return moved(0.0, past, now) + linear * decay * moved(0.0, past)

    none, same, opposite = map(second, (1e-6 * unit, unit, -unit))
    beta1, beta2 = betas_of(none, same, opposite)
    return beta1, beta2, quotient(second(largest, largest), moved(0.0, largest))


def betas_of(none: float, same: float, opposite: float) -> tuple[float, float]:
    """beta1 and beta2 from second steps after the gradients 0, a and -a."""
    return quotient(same - opposite, same + opposite), quotient(2 * none, same + opposite) ** 2 - 1


def _turn(step: Moved) -> float:
    """The c > 0 with step(c) = 0, by bisection of its logarithm.

    With the step of theta = 1 at the gradient -c, it is the coefficient of coupled decay.
    """
    low, high = math.log(1e-9), math.log(1e6)
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if step(math.exp(middle)) > 0 else (low, middle)
    return math.exp(low)


def quotient(a: float, b: float) -> float:
    """a / b, and 0 if that is not a number."""
    return a / b if b and math.isfinite(a) and math.isfinite(b) else 0.0


def power(ratio: float) -> float:
    """The power of a gradient that, doubled, makes the step this many times as large.

    It is 1 for a ratio of 2, 0 for 1, rounded to a quarter; NaN if doubling the gradient does something else."""
    power = math.log2(ratio) if ratio > 0 else math.nan
    return round(power * 4) / 4 if abs(power * 4 - round(power * 4, 0)) < 0.01 else math.nan
