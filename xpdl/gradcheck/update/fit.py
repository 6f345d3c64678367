"""Fit the hyper-parameters with which a rule makes the observed steps, and measure how well it makes them.

Gauss-Newton on a few short histories makes the measured parameters exact.  Long random histories then show whether the
steps are the same, to rounding.  The learning rate of every step is a linear unknown, so any schedule can be fitted.
"""

from collections import defaultdict
from collections.abc import Sequence
import math
from typing import Any, NamedTuple

import numpy as np

from xpdl.gradcheck.report import Vector
from xpdl.gradcheck.update.measure import HUGE_GRADIENT, Measurements, quotient
from xpdl.gradcheck.update.report import title
from xpdl.gradcheck.update.rules import LOST, NOTHING, Change, Memory, Recurrence, Rule, Values
from xpdl.gradcheck.update.subject import EntryPaths

NO_MEMORY = 1e-6
"""A beta that is smaller than this counts as 0."""
FRACTIONS = ("beta", "beta1", "beta2", "decay", "dampening")
"""Parameters x that are fitted as 1 - x."""


class Candidate(NamedTuple):
    """A rule with its weight decay and its mistake, if any."""

    rule: Rule
    decay: Change
    mistake: Change

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of its hyper-parameters."""
        return tuple(dict.fromkeys(self.rule.parameters + self.decay.parameters + self.mistake.parameters))

    @property
    def recurrence(self) -> Recurrence:
        """Its recurrence."""
        return self.mistake.of(self.decay.of(self.rule.recurrence))


class Fit(NamedTuple):
    """A candidate, and how well it explains the long histories."""

    candidate: Candidate
    values: Values
    rates: Vector  # (T,)
    errors: Vector  # of theta after each step, relative to the largest step (T, C)
    reference: Vector  # theta after each step by the rule (T, C)
    long: EntryPaths
    alike: int  # how many numbers of the rule's memory are found in the state

    @property
    def error(self) -> float:
        """The largest error."""
        return float(np.max(self.errors))

    @property
    def exact(self) -> bool:
        """Whether it makes the same steps, to rounding."""
        return self.error <= self.long.tolerance

    @property
    def name(self) -> str:
        """The name of the rule; Adam with decoupled decay has its own."""
        decoupled = self.candidate.rule.name == "adam" and self.candidate.decay.measured_by.startswith("decay")
        return "adamw" if decoupled else self.candidate.rule.name

    def __str__(self) -> str:
        return title(self.name, self.hyperparameters)

    @property
    def hyperparameters(self) -> Values:
        """The hyper-parameters by name."""
        lr = float(np.median(self.rates)) if self.constant else float(self.rates[0])
        return {"lr": lr, **{name: self.values[name] for name in self.candidate.parameters}}

    @property
    def worst(self) -> Values:
        """The step with the largest error: its number, gradient, observed theta and theta by the rule."""
        t, c = (int(i) for i in np.unravel_index(int(np.argmax(self.errors)), self.errors.shape))
        found = (t + 1, self.long.grads[t, c], self.long.theta[t + 1, c], self.reference[t, c])
        return dict(zip(("step", "gradient", "observed", "reference"), map(float, found), strict=True))

    @property
    def constant(self) -> bool:
        """Whether the learning rate is constant, to rounding."""
        return self.exact and bool(np.ptp(self.rates) <= 3 * self.long.tolerance * abs(float(np.median(self.rates))))


def fit(candidate: Candidate, measured: Measurements, short: EntryPaths, long: EntryPaths) -> Fit | None:
    """The fit of a candidate; None if it does not explain the short histories."""
    values, error = _refine(candidate, _start(candidate, measured, short.u), short)
    return compare(candidate, values, long) if error <= 10 * short.tolerance else None


def compare(candidate: Candidate, values: Values, long: EntryPaths) -> Fit:
    """Compare a candidate with these parameters with the long histories."""
    reference, rates, memory = _reproduce(candidate.recurrence, values, long)
    held = [float(slot[0]) for slot in memory.values()]
    alike = sum(any(math.isclose(abs(value), abs(slot), rel_tol=1e-3) for slot in long.slots) for value in held)
    errors = np.abs(reference - long.theta[1:]) / long.scale
    return Fit(candidate, values, rates, np.where(np.isfinite(errors), errors, np.inf), reference, long, alike)


def _reproduce(recurrence: Recurrence, values: Values, paths: EntryPaths) -> tuple[Vector, Vector, Memory]:
    """Theta after each step (T, C) from the theta observed before it, the learning rates (T,), and the last memory.

    A step is linear in its learning rate, or nearly so: two secants through all histories find it.  Values of shape
    (K, 1) give (T, K, C) and (T, K).
    """
    memory: Memory = defaultdict(float)
    reference, rates, scale = [], [], paths.scale
    for t, (p, g, goal) in enumerate(zip(paths.theta, paths.grads, paths.theta[1:], strict=False), 1):
        near, far = np.zeros(1), np.ones(1)
        for _ in range(2):
            a, b = (recurrence(p, g, memory.copy(), t, lr, values) for lr in (near, far))
            change, missing = (b - a) / scale, (goal - a) / scale
            size = np.sum(change * change, axis=-1, keepdims=True)
            share = np.sum(missing * change, axis=-1, keepdims=True)
            near = near + (far - near) * share / np.where(size == 0, 1.0, size)
            far = 1.01 * near
        rates.append(near[..., 0])
        reference.append(recurrence(p, g, memory, t, near, values))
    return np.stack(reference), np.stack(rates), memory


def _refine(candidate: Candidate, values: Values, paths: EntryPaths) -> tuple[Values, float]:
    """The parameters by Gauss-Newton, and the largest error that is left.  For a beta, 1 - beta is fitted."""
    fixed = candidate.mistake.parameters if candidate.mistake in LOST else ()  # the learning rates adapt to them
    names = [name for name in candidate.parameters if values[name] and name not in fixed]
    x = np.array([1 - values[name] if name in FRACTIONS else values[name] for name in names])
    before = math.inf
    for i in range(20):
        rows = _at(values, names, x * (1 + 1e-6 * np.vstack([np.zeros(len(x)), np.eye(len(x))])))
        misfit = _misfit(candidate, rows, paths)
        here, moved = misfit[0].ravel(), misfit[1:].reshape(len(x), misfit[0].size)
        now = float(here @ here)
        if not np.isfinite(misfit).all() or (i > 2 and not now < 0.8 * before) or now < paths.u**2 or not names:
            break
        change = np.linalg.lstsq((moved - here).T / 1e-6, -here)[0]
        x, before = x * (1 + np.clip(change, -0.7, 2.0)), now
    return {name: float(np.ravel(value)[0]) for name, value in rows.items()}, float(np.max(np.abs(here)))


def _misfit(candidate: Candidate, rows: Values, paths: EntryPaths) -> Vector:
    """The errors of theta (K, T, C) for K rows of parameters."""
    theta, _, _ = _reproduce(candidate.recurrence, rows, paths)
    misfit = (theta.reshape(len(theta), -1, paths.grads.shape[1]) - paths.theta[1:, None]) / paths.scale
    return np.moveaxis(misfit, 1, 0)


def _at(values: Values, names: Sequence[str], x: Vector) -> dict[str, Any]:
    """The values, with those of the rows x (K, names) as (K, 1)."""
    columns = zip(names, x.T[:, :, None], strict=True)
    return values | {name: 1 - y if name in FRACTIONS else y for name, y in columns}


# The start of Gauss-Newton; for the rules of textbooks, it is already the solution


def _start(candidate: Candidate, measured: Measurements, u: float) -> Values:
    """The parameters that follow from the measurements."""
    rule, decay, mistake = candidate
    beta1, beta2 = _beta(measured.beta1, 0.9), _beta(measured.beta2, 0.999)
    values = {"beta": beta1, "beta1": beta1, "beta2": beta2, "decay": beta2, "dampening": 0.5}
    values |= {"eps": 0.0, "eps_root": 0.0, "weight_decay": 0.0} | _guess(mistake, measured, 1.0)

    def first(gradient: float, eps: float) -> float:
        return -float(mistake.of(rule.recurrence)(0.0, gradient, defaultdict(float), 1, 1.0, values | {"eps": eps}))

    sigma = quotient(first(1e-20, 1.0) * 1e20, first(1e20, 1.0))  # the unit in which epsilon is measured
    outside, inside = measured.epsilons(u**0.25 if mistake is NOTHING else 0.5)
    values |= {"eps": sigma * outside, "eps_root": (sigma * inside) ** 2}
    return values | _guess(decay, measured, quotient(measured.huge, first(HUGE_GRADIENT, 0.0)))


def _guess(change: Change, measured: Measurements, lr: float) -> Values:
    """The parameters of a change, from the measurement that its ``measured_by`` names.

    If one gradient is repeated and a moment is lost, 1 - beta^t makes the steps fall by 1 + beta1 (the first moment) or
    rise by sqrt(1 + beta2) (the second).
    """
    fall, rise = (min(max(beta, 0.0), 1 - 1e-9) for beta in (quotient(1.0, measured.again) - 1, measured.again**2 - 1))
    sizes = {
        "decay": measured.decay,
        "decay / lr": quotient(measured.decay, lr),
        "balance": measured.balance,
        "epsilon": measured.epsilon,
        "fall": fall,
        "rise": rise,
    }
    return dict.fromkeys(change.parameters, sizes.get(change.measured_by, 0.0))


def _beta(beta: float, usual: float) -> float:
    """The measured beta; 0 if it is tiny, and the usual beta if it is not in [0, 1)."""
    if beta < NO_MEMORY:
        return 0.0
    return beta if beta < 1 - 1e-9 else usual
