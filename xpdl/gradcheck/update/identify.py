"""Identification: which rule of rules.py makes the steps of an entry of theta, and with which parameters?

    probe      first steps at gradients from tiny to huge, and second steps after pasts that differ in a sign, give the
               size and place of epsilon, the betas and the decay in closed form, or nearly so
    fit        Gauss-Newton on a few short histories makes them exact, for each rule that is possible; the learning rate
               of every step is a linear unknown, so schedules do no harm
    judge      the rule that makes the same steps on long random histories, to rounding, is the one

Where two rules make the same steps, as a heavy ball does and an average of gradients, the state tells them apart.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
import math
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from xpdl.gradcheck.report import Vector
from xpdl.gradcheck.update.rules import (
    CLIPPED,
    COUNTED,
    DECAYS,
    EPS,
    FORM,
    LOST,
    NOTHING,
    REPEATED,
    RULES,
    Change,
    Memory,
    Rule,
    Step,
    Values,
)
from xpdl.gradcheck.update.subject import Subject, Trace

NO_MEMORY = 1e-6  # a beta below it is 0


HUGE = 1e10
TINY = {"float64": 1e-30, "float32": 1e-12}
Moved: TypeAlias = Callable[..., float]  # (theta at the start, *gradients) -> what the last step takes away from theta


class Signs(NamedTuple):
    """What single steps say of the rule that one entry follows."""

    power: float  # of a huge gradient that the first step goes with
    huge: float  # the first step at gradient HUGE
    epsilon: float  # Q, the gradient at which epsilon is as large as the rest
    inside: float  # w, the part of Q that stands inside the root
    decay: float  # the step of theta = 1 without a gradient
    balance: float  # minus the gradient at which theta = 1 does not move
    beta1: float
    beta2: float
    again: float  # the second step with a gradient, in first steps

    def epsilons(self, least: float) -> Iterator[float]:
        """The parts of Q outside and inside the root; one that is no more than this fraction is 0."""
        for part in (self.epsilon - self.inside, self.inside):
            yield part if part > least * self.epsilon else 0.0

    @property
    def unit(self) -> float:
        """A gradient that is large beside epsilon."""
        return max(1.0, 1e6 * self.epsilon)


def signs_of(subject: Subject, entry: int) -> Signs:
    """Probe one entry of theta with single steps."""

    def moved(start: float, *grads: float) -> float:
        path = subject.run(start, grads)[:, entry]
        return float(path[-2] - path[-1])

    huge = moved(0.0, HUGE)
    signs = Signs(
        _power(_quotient(moved(0.0, 2 * HUGE), huge)), huge, *_epsilon(moved, TINY[subject.dtype]), *5 * [0.0]
    )
    decay = _decay(moved, signs.unit, subject.u)
    beta1, beta2, again = _betas(moved, signs.unit, decay)
    balance = _balance(moved) if decay else 0.0
    return signs._replace(decay=decay, balance=balance, beta1=beta1, beta2=beta2, again=again)


def _epsilon(moved: Moved, tiny: float) -> tuple[float, float]:
    """Q and w.  The first step of Adam and its kin is lr g / (sqrt(g^2 + w^2) + E); two gradients give w and E:

    q(g) = g step(inf) / step(g) = sqrt(g^2 + w^2) + E,   Q = q(0) = w + E,   A = q(Q) - Q,   w = (Q^2 - A^2) / (2 A)
    """
    huge = moved(0.0, HUGE)
    whole = _quotient(tiny * huge, moved(0.0, tiny))
    if not 10 * tiny < whole < HUGE / 10:
        return 0.0, 0.0
    beyond = _quotient(whole * huge, moved(0.0, whole)) - whole
    return whole, min(max(_quotient(whole**2 - beyond**2, 2 * beyond), 0.0), whole)


def _decay(moved: Moved, unit: float, u: float) -> float:
    """The step of theta = 1 without a gradient; where that is 0 / 0, the mean of those of g and -g."""
    decay = moved(1.0, 0.0)
    if math.isfinite(decay):
        return decay
    decay = (moved(1.0, unit) + moved(1.0, -unit)) / 2
    return decay if abs(decay) > 8 * u else 0.0


def _betas(moved: Moved, unit: float, decay: float) -> tuple[float, float, float]:
    """beta1, beta2 and the second step in first ones.

    Second steps after the gradients 0, a and -a are as 1 : (1 + beta1) / sqrt(1 + beta2) : (1 - beta1) / ..., whatever
    the learning rate and the bias correction, once what decay takes from theta is put back.
    """
    linear = math.isclose(moved(2.0, 0.0), 2 * decay, rel_tol=1e-3)

    def second(past: float, now: float = unit) -> float:
        return moved(0.0, past, now) + linear * decay * moved(0.0, past)

    none, same, opposite = map(second, (1e-6 * unit, unit, -unit))
    beta1 = _quotient(same - opposite, same + opposite)
    return beta1, _quotient(2 * none, same + opposite) ** 2 - 1, _quotient(second(HUGE, HUGE), moved(0.0, HUGE))


def _balance(moved: Moved) -> float:
    """The c > 0 with moved(1, -c) = 0, by bisection of its logarithm: the coefficient of coupled decay is one."""
    low, high = math.log(1e-9), math.log(1e6)
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if moved(1.0, -math.exp(middle)) > 0 else (low, middle)
    return math.exp(low)


def _quotient(a: float, b: float) -> float:
    return a / b if b and math.isfinite(a) and math.isfinite(b) else 0.0


def _power(ratio: float) -> float:
    """1 for 2, 0 for 1, to the quarter; NaN if doubling the gradient does something else."""
    power = math.log2(ratio) if ratio > 0 else math.nan
    return round(power * 4) / 4 if abs(power * 4 - round(power * 4, 0)) < 0.01 else math.nan


def short_histories(signs: Signs) -> list[tuple[float, Vector]]:
    """Histories of three steps: (theta, gradients)."""
    unit, middle = signs.unit, signs.epsilon or 1.0
    pasts = [(unit, (1e-6, 1.0, -0.5)), (unit, (1.0, 1.0, 0.3)), (unit, (-1.0, 1.0, 0.7))]
    pasts += [(middle, (1.0, 0.5, -1.0)), (middle, (0.2, -0.6, 0.3)), (0.1 * middle, (1.0, 3.0, 0.2))]
    decays = [(unit, (1.0, 0.3, -0.5)), (signs.balance, (-0.5, 0.7, -2.0))] if signs.decay else []
    return [(theta, scale * np.array(g)) for theta, group in ((0.0, pasts), (1.0, decays)) for scale, g in group]


def long_histories(signs: Signs, steps: int, rng: np.random.Generator) -> list[tuple[float, Vector]]:
    """Random histories: large beside epsilon, like it, smaller, of all sizes, and where decay shows."""
    unit, middle = signs.unit, signs.epsilon or 1.0
    scales: list[tuple[float, Any]] = [(0.0, unit), (0.0, middle), (0.0, 0.1 * middle)]
    scales += [(0.0, unit * 10 ** rng.uniform(-3, 1, steps))]
    scales += [(1.0, unit), (-1.0, signs.balance)] if signs.decay else []
    return [(theta, scale * rng.standard_normal(steps)) for theta, scale in scales]


# What fits


class Candidate(NamedTuple):
    """A rule with what is done to it."""

    rule: Rule
    decay: Change
    mistake: Change

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of its hyper-parameters."""
        return tuple(dict.fromkeys(self.rule.parameters + self.decay.parameters + self.mistake.parameters))

    @property
    def step(self) -> Step:
        """Its recurrence."""
        return self.mistake.of(self.decay.of(self.rule.step))


class Fit(NamedTuple):
    """A candidate, and how well it explains the long histories."""

    candidate: Candidate
    values: Values
    rates: Vector  # (T,)
    errors: Vector  # of theta after each step, in scales (T, C)
    reference: Vector  # theta after each step (T, C)
    long: Trace
    alike: int  # slots of the state that are as the rule has them

    @property
    def error(self) -> float:
        """The worst."""
        return float(np.max(self.errors))

    @property
    def exact(self) -> bool:
        """Whether it makes the same steps."""
        return self.error <= self.long.tolerance

    @property
    def name(self) -> str:
        """Of the rule: Adam with decoupled decay has its own."""
        decoupled = self.candidate.rule.name == "adam" and self.candidate.decay.sign.startswith("decay")
        return "adamw" if decoupled else self.candidate.rule.name

    def __str__(self) -> str:
        return title(self.name, self.hyperparameters)

    @property
    def hyperparameters(self) -> Values:
        """By name."""
        lr = float(np.median(self.rates)) if self.constant else float(self.rates[0])
        return {"lr": lr, **{name: self.values[name] for name in self.candidate.parameters}}

    @property
    def worst(self) -> Values:
        """Where the error is largest."""
        t, c = (int(i) for i in np.unravel_index(int(np.argmax(self.errors)), self.errors.shape))
        found = (t + 1, self.long.grads[t, c], self.long.theta[t + 1, c], self.reference[t, c])
        return dict(zip(("step", "gradient", "observed", "reference"), map(float, found), strict=True))

    @property
    def constant(self) -> bool:
        """Whether the learning rate is, to what rounding leaves of it."""
        return self.exact and bool(np.ptp(self.rates) <= 3 * self.long.tolerance * abs(float(np.median(self.rates))))


def follow(step: Step, values: Values, trace: Trace) -> tuple[Vector, Vector, Memory]:
    """Theta after each step (T, C) from the theta observed before, the learning rates (T,), and the last memory.

    A step is linear in its learning rate, or nearly: two secants through all histories find it.  Values of shape (K, 1)
    give (T, K, C) and (T, K).
    """
    memory: Memory = defaultdict(float)
    reference, rates, scale = [], [], trace.scale
    for t, (p, g, goal) in enumerate(zip(trace.theta, trace.grads, trace.theta[1:], strict=False), 1):
        near, far = np.zeros(1), np.ones(1)
        for _ in range(2):
            a, b = (step(p, g, memory.copy(), t, lr, values) for lr in (near, far))
            slope, off = (b - a) / scale, (goal - a) / scale
            size = np.sum(slope * slope, axis=-1, keepdims=True)
            near = near + (far - near) * np.sum(off * slope, axis=-1, keepdims=True) / np.where(size == 0, 1.0, size)
            far = 1.01 * near
        rates.append(near[..., 0])
        reference.append(step(p, g, memory, t, near, values))
    return np.stack(reference), np.stack(rates), memory


def _refine(candidate: Candidate, values: Values, trace: Trace) -> tuple[Values, float]:
    """Gauss-Newton in what is left to 1 of the betas, and in the other parameters; and the worst error that is left."""
    fixed = candidate.mistake.parameters if candidate.mistake in LOST else ()  # learning rates make up for them
    names = [name for name in candidate.parameters if values[name] and name not in fixed]
    x = np.array([1 - values[name] if name in FRACTIONS else values[name] for name in names])
    before = math.inf
    for i in range(20):
        rows = _at(values, names, x * (1 + 1e-6 * np.vstack([np.zeros(len(x)), np.eye(len(x))])))
        theta, _, _ = follow(candidate.step, rows, trace)
        misfit = np.moveaxis(
            (theta.reshape(len(theta), -1, trace.grads.shape[1]) - trace.theta[1:, None]) / trace.scale, 1, 0
        )
        here, moved = misfit[0].ravel(), misfit[1:].reshape(len(x), misfit[0].size)
        now = float(here @ here)
        if not np.isfinite(misfit).all() or (i > 2 and not now < 0.8 * before) or now < trace.u**2 or not names:
            break
        change = np.linalg.lstsq((moved - here).T / 1e-6, -here)[0]
        x, before = x * (1 + np.clip(change, -0.7, 2.0)), now
    return {name: float(np.ravel(value)[0]) for name, value in rows.items()}, float(np.max(np.abs(here)))


FRACTIONS = ("beta", "beta1", "beta2", "decay", "dampening")


def _at(values: Values, names: Sequence[str], x: Vector) -> dict[str, Any]:
    """The values with those of rows x (K, names) as (K, 1)."""
    columns = zip(names, x.T[:, :, None], strict=True)
    return values | {name: 1 - y if name in FRACTIONS else y for name, y in columns}


def _start(candidate: Candidate, signs: Signs, u: float) -> Values:
    """Where Gauss-Newton begins: for the textbook's rules that is the end."""
    rule, decay, mistake = candidate
    beta1, beta2 = _beta(signs.beta1, 0.9), _beta(signs.beta2, 0.999)
    values = {"beta": beta1, "beta1": beta1, "beta2": beta2, "decay": beta2, "dampening": 0.5}
    values |= {"eps": 0.0, "eps_root": 0.0, "weight_decay": 0.0} | _guess(mistake, signs, 1.0)

    def first(gradient: float, eps: float) -> float:
        return -float(mistake.of(rule.step)(0.0, gradient, defaultdict(float), 1, 1.0, values | {"eps": eps}))

    sigma = _quotient(first(1e-20, 1.0) * 1e20, first(1e20, 1.0))  # what epsilon is measured in
    outside, inside = signs.epsilons(u**0.25 if mistake is NOTHING else 0.5)
    values |= {"eps": sigma * outside, "eps_root": (sigma * inside) ** 2}
    return values | _guess(decay, signs, _quotient(signs.huge, first(HUGE, 0.0)))


def _guess(change: Change, signs: Signs, lr: float) -> Values:
    """The parameters of a change, measured as its ``sign`` says.

    With a gradient again and again, 1 - beta^t makes the step of who loses the first moment fall by 1 + beta1, the
    second moment rise by sqrt(1 + beta2).
    """
    sizes = {"decay": signs.decay, "decay / lr": _quotient(signs.decay, lr), "balance": signs.balance}
    fall, rise = (min(max(beta, 0.0), 1 - 1e-9) for beta in (_quotient(1.0, signs.again) - 1, signs.again**2 - 1))
    sizes |= {"epsilon": signs.epsilon, "fall": fall, "rise": rise}
    return dict.fromkeys(change.parameters, sizes.get(change.sign, 0.0))


def _beta(measured: float, usual: float) -> float:
    if measured < NO_MEMORY:
        return 0.0
    return measured if measured < 1 - 1e-9 else usual


def _candidates(signs: Signs) -> Iterator[Candidate]:
    """The rules as they are in textbooks and libraries."""
    for rule in RULES.get(signs.power, ()):
        for decay in DECAYS if signs.decay else (NOTHING,):
            yield Candidate(rule, decay, NOTHING)


def _mistaken(signs: Signs, mistakes: Sequence[Change]) -> Iterator[Candidate]:
    """Rules with a mistake around them, one of a name; those that clip are linear below."""
    decays = DECAYS[:2] if signs.decay else (NOTHING,)
    for mistake in mistakes:
        rules = RULES.get(1.0 if mistake is CLIPPED else signs.power, ())
        textbook = {rule.name: rule for rule in reversed(rules) if rule.meaning == FORM}
        for rule in rules if mistake in LOST else reversed(textbook.values()):
            if mistake.needs in (*rule.parameters, ""):
                yield from (Candidate(rule, decay, mistake) for decay in decays)


def identify(signs: Signs, short: Trace, long: Trace) -> Fit | None:
    """What fits with a constant learning rate, be it with a mistake; else what fits at all."""
    fits = [fit for c in _candidates(signs) if (fit := _fit(c, signs, short, long)) and fit.exact]
    if not any(fit.constant for fit in fits):
        mistakes = LOST + COUNTED if fits else LOST + (CLIPPED,) * (signs.power == 0) + COUNTED + REPEATED
        tries = (_fit(c, signs, short, long) for c in _mistaken(signs, mistakes))
        fits += [fit for fit in [next((fit for fit in tries if fit and fit.constant), None)] if fit]
    return max(fits, key=lambda fit: (fit.constant, fit.alike), default=None)


def _fit(candidate: Candidate, signs: Signs, short: Trace, long: Trace) -> Fit | None:
    values, error = _refine(candidate, _start(candidate, signs, short.u), short)
    return _judge(candidate, values, long) if error <= 10 * short.tolerance else None


def _judge(candidate: Candidate, values: Values, long: Trace) -> Fit:
    reference, rates, memory = follow(candidate.step, values, long)
    held = [float(slot[0]) for slot in memory.values()]
    alike = sum(any(math.isclose(abs(value), abs(slot), rel_tol=1e-3) for slot in long.slots) for value in held)
    errors = np.abs(reference - long.theta[1:]) / long.scale
    return Fit(candidate, values, rates, np.where(np.isfinite(errors), errors, np.inf), reference, long, alike)


def relate(main: Fit | None, signs: Signs, short: Trace, long: Trace) -> Fit | None:
    """What other entries do: the same at another rate or with a mistake, or something else."""
    if main is None:
        return identify(signs, short, long)
    for mistake in (main.candidate.mistake, *REPEATED, *COUNTED):
        fit = _judge(main.candidate._replace(mistake=mistake), main.values, long)
        alike = mistake is main.candidate.mistake or math.isclose(fit.rates[0], main.rates[0], rel_tol=1e-3)
        if fit.constant and alike:
            return fit
    return identify(signs, short, long)


def title(name: str, values: Mapping[str, float]) -> str:
    """ "adam: lr 0.001, beta1 0.9"."""
    return f"{name}: " + ", ".join(f"{key} {value:.6g}" for key, value in values.items() if value or key not in EPS)
