"""Fit the hyper-parameters with which a rule makes the observed steps, and measure how well it makes them.

Gauss-Newton on a few short histories makes the measured parameters exact.  Long random histories then show whether the
steps are the same, to rounding.  The learning rate of every step is a linear unknown, so any schedule can be fitted.
"""

from collections import defaultdict
from collections.abc import Sequence
from itertools import product
import math
from typing import Any, NamedTuple

import numpy as np

from xpdl.gradcheck.report import Vector
from xpdl.gradcheck.update.measure import Measurements, quotient
from xpdl.gradcheck.update.report import title
from xpdl.gradcheck.update.rules import (
    COUNTED,
    LOST,
    NOTHING,
    REPEATED,
    STATELESS,
    Change,
    Memory,
    Recurrence,
    Rule,
    Values,
)
from xpdl.gradcheck.update.subject import SEEN_AFTER, EntryPaths, Slots, tolerance_of

FINE = tolerance_of(float(np.finfo(np.float64).eps))
"""Rules whose steps differ by less are one rule: two fits of it to exact steps may be so far apart."""
ROUNDINGS = 16.0
"""An implementation rounds so many times as much as the rule in the same dtype: of 150 right ones in float32 (all
rules, random hyper-parameters) the largest factor was 12."""
NO_MEMORY = 1e-6
"""A beta that is smaller than this counts as 0."""
FRACTIONS = ("beta", "beta1", "beta2", "decay", "dampening")
"""Parameters x that are fitted as 1 - x."""


GRID: dict[str, tuple[float, ...]] = {
    "beta": (0.5, 0.9, 0.98),
    "beta1": (0.5, 0.9, 0.98),
    "beta2": (0.6, 0.9, 0.99, 0.999, 0.9999),
    "decay": (0.6, 0.9, 0.99, 0.999, 0.9999),
}
"""Where the search begins if measurements do not say."""
UNSEEN_EPSILON = {"eps": (1e-8, 1e-3)}
"""Where the search for an epsilon begins that the first steps do not show."""
MOST_STARTS = 3
FAR, NEAR = 0.4, 1e-3
"""A search goes on from points and to points whose root mean square of errors is below these: where it led to a rule
(49 times, in the rules of the literature and wrong ones) it was 0.14 and 4e-5 at most."""
LEAST_GAIN = 0.8
"""A descent goes on while each step leaves less than this part of the squared errors."""


MEASURED = {*LOST, *COUNTED}
STRAY = 0.1
"""Mistakes around which the measured parameters are already right: where they were, the error was 1e-6 (float64)."""


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
    def fractions(self) -> tuple[str, ...]:
        """The names of those that are betas."""
        return tuple(name for name in self.parameters if name in FRACTIONS)

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
    sums: int  # how many of the others are sums: times 1 / (1 - beta) or beta / (1 - beta)
    missing: int  # how many numbers of the rule's memory are not
    rounding: float  # what the rule rounds away in the dtype of the paths, relative to the largest step
    rival: str = ""  # another rule that makes the same steps, to rounding

    @property
    def error(self) -> float:
        """The largest error."""
        return float(np.max(self.errors))

    @property
    def bar(self) -> float:
        """The error that rounding explains."""
        return max(FINE, ROUNDINGS * self.rounding)

    @property
    def exact(self) -> bool:
        """Whether it makes the same steps, to rounding."""
        return self.error <= self.bar

    @property
    def steady(self) -> bool:
        """Whether it may be the rule, at a constant rate, if only the steps count: of layers, few entries are seen."""
        return self.error <= self.long.tolerance and self.spread <= 3 * self.long.tolerance

    @property
    def spread(self) -> float:
        """How much the learning rate varies, relative to it."""
        rate = abs(float(np.median(self.rates)))
        return float(np.ptp(self.rates)) / rate if rate else math.inf

    @property
    def distance(self) -> float:
        """The largest error of a step or, if it is constant, of the learning rate."""
        return max(self.error, self.spread) if self.constant else self.error

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
        return self.exact and self.spread <= 3 * self.bar

    @property
    def explains_the_state(self) -> bool:
        """Whether all vectors of the state are those of the rule, or 0.

        If none is, the state has another form.
        """
        another = self.candidate.rule.recurrence not in STATELESS and self.exact
        return self.alike >= sum(map(any, self.long.slots)) or (self.alike == 0 and another)


def fit(candidate: Candidate, measured: Measurements, short: EntryPaths, long: EntryPaths) -> Fit | None:
    """The fit of a candidate; None if it does not explain the short histories."""
    if candidate.rule.late:
        return search(candidate, measured, long, long)
    start = _start(candidate, measured, short.u)
    if candidate.mistake in MEASURED and not _error(candidate, start, short) <= STRAY:
        return None
    values, error = _refine(candidate, start, short)
    if 10 * short.tolerance < error <= STRAY and _with_both_epsilons(start) != start:
        values, error = _refine(candidate, _with_both_epsilons(start), short)
    return _sharpened(candidate, values, long) if error <= 10 * short.tolerance else None


def _sharpened(candidate: Candidate, values: Values, long: EntryPaths) -> Fit:
    """The fit with these parameters, or with those that the long histories tell more of, if that is needed."""
    found = compare(candidate, values, long)
    if not found.error <= 10 * long.tolerance or (found.exact and found.explains_the_state):
        return found
    for start in (values, _with_both_epsilons(values)):
        again = compare(candidate, _refine(candidate, start, long)[0], long)
        found = min(found, again, key=lambda one: one.error)
        if found.exact:
            break
    return found


def _with_both_epsilons(values: Values) -> Values:
    """An epsilon that is small beside the other one is not measured."""
    outside, inside = values["eps"], values["eps_root"]
    return values | {"eps": outside or 1e-4 * inside**0.5, "eps_root": inside or (0.01 * outside) ** 2}


def first_error(candidate: Candidate, known: Values, measured: Measurements, short: EntryPaths) -> float:
    """The error in the short histories with these parameters, and others as they are measured."""
    values = _start(candidate, measured, short.u)
    return _error(candidate, values | {name: known[name] for name in candidate.parameters if known.get(name)}, short)


def _error(candidate: Candidate, values: Values, paths: EntryPaths) -> float:
    """The largest error with these parameters."""
    return float(np.max(np.abs(_misfit(candidate, values, paths))))


def makes_the_steps_of(one: Fit, other: Fit, short: EntryPaths) -> bool:
    """Whether a rule can make the steps that another one makes where nothing is rounded: it is the same, or wider."""
    short, long = (_exact_steps(other, paths) for paths in (short, other.long))
    values, _ = _refine(one.candidate, one.values, short)
    return _sharpened(one.candidate, values, long).constant


def _exact_steps(found: Fit, paths: EntryPaths) -> EntryPaths:
    """The steps of a rule in float64 from the same starts, with the same gradients."""
    memory: Memory = defaultdict(np.float64)
    theta, lr = [paths.theta[0]], float(np.median(found.rates))
    for t, g in enumerate(paths.grads, 1):
        theta.append(found.candidate.recurrence(theta[-1], g, memory, t, lr, found.values))
    return EntryPaths(paths.grads, np.stack(theta), (), float(np.finfo(np.float64).eps))


def search(candidate: Candidate, measured: Measurements, short: EntryPaths, long: EntryPaths) -> Fit | None:
    """The fit of a candidate whose betas are not those measured: from the best points of a grid."""
    late = candidate.rule.late
    among = GRID | UNSEEN_EPSILON if late else GRID
    grid = {name: among[name] for name in (("beta2", "eps") if late else candidate.parameters) if name in among}
    points = [dict(zip(grid, point, strict=True)) for point in product(*grid.values())]
    starts = [_start(candidate, measured, short.u, point) | point for point in points]
    rows = {name: np.array([[start[name]] for start in starts]) for name in starts[0]}
    misfit = _misfit(candidate, rows, short).reshape(len(starts), -1) if grid else np.zeros((1, 1))
    sizes = np.sqrt(np.mean(np.where(np.isfinite(misfit), misfit, np.inf) ** 2, axis=1))
    for k in [k for k in np.argsort(sizes)[:MOST_STARTS] if sizes[k] <= FAR]:
        values, size = _descend(candidate, starts[k], short)
        values, error = _refine(candidate, values, short) if size <= NEAR + short.tolerance else (values, math.inf)
        if error <= 10 * short.tolerance:
            return _sharpened(candidate, values, long)
    return None


def compare(candidate: Candidate, values: Values, long: EntryPaths) -> Fit:
    """A candidate with these parameters beside the long histories."""
    reference, rates, memory = _reproduce(candidate, values, long)
    reference, rates = reference[:, 0], rates[:, 0]
    held = [_seen(slot, long) for slot in memory.values()]
    betas = [values[name] for name in candidate.fractions if 0 < values[name] < 1]
    rounding = _rounding(candidate, values, rates, long)
    unsure = max(ALIKE, *(min(ROUNDINGS * max(rounding, long.u) / (1 - beta), MOST_UNSURE) for beta in betas), 0.0)
    left = _unpaired(held, long.slots, unsure)
    others = [slot * (share / (1 - beta)) for slot in held for beta in betas for share in (1.0, beta)]
    sums = len(left) - len(_unpaired(others, left, unsure))
    errors = np.abs(reference - long.theta[1:]) / long.scale
    errors = np.where(np.isfinite(errors), errors, np.inf)
    alike = len(long.slots) - len(left)
    return Fit(candidate, values, rates, errors, reference, long, alike, sums, len(held) - alike - sums, rounding)


def _seen(slot: Any, paths: EntryPaths) -> Vector:
    """A number of the memory after the histories after which the state was looked at."""
    seen = [min(k, paths.grads.shape[1] - 1) for k in SEEN_AFTER]
    return np.asarray(np.abs(np.broadcast_to(slot, (1, paths.grads.shape[1]))[0, seen]))


DTYPES: dict[float, Any] = {float(np.finfo(dtype).eps): dtype for dtype in (np.float32,)}
"""The dtypes in which a rule is tried, by their machine epsilon."""


def _rounding(candidate: Candidate, values: Values, rates: Vector, paths: EntryPaths) -> float:
    """How far the steps are, at most, if all arithmetic is done in the dtype of the paths, with its parameters."""
    if paths.u not in DTYPES:
        return 0.0
    low, high = (_steps_in(kind, DTYPES[paths.u], candidate, values, rates, paths) for kind in (DTYPES[paths.u], float))
    return float(np.max(np.nan_to_num(np.abs(low - high) / paths.scale, posinf=0.0)))


def _steps_in(kind: Any, given: Any, candidate: Candidate, values: Values, rates: Vector, paths: EntryPaths) -> Vector:
    """Theta after each step, computed in one dtype with everything rounded to another before."""
    memory: Memory = defaultdict(kind)
    h = defaultdict(kind, {name: kind(given(value)) for name, value in values.items()})
    steps = zip(*(array.astype(given).astype(kind) for array in (paths.theta, paths.grads, rates)), strict=False)
    theta = [candidate.recurrence(p, g, memory, kind(t), lr, h) for t, (p, g, lr) in enumerate(steps, 1)]
    return np.stack(np.broadcast_arrays(*theta)).astype(np.float64)


ALIKE, MOST_UNSURE = 1e-3, 0.1
"""Numbers of the state are those of the rule up to this part, or to what rounding leaves unknown of 1 - beta, if that
is not too much."""


def _unpaired(held: Sequence[Vector], slots: Slots, unsure: float) -> Slots:
    """The numbers of the state that are not those of the rule but for their sign, each taken once."""
    left = list(slots)
    for value in held:
        found = next((slot for slot in left if np.allclose(value, np.abs(slot), rtol=unsure, atol=0.0)), None)
        left.remove(found) if found is not None else None
    return tuple(left)


BOTH = np.array([0.0, 1.0])[:, None, None]
"""The learning rates of a secant; a rule takes both at once."""
EACH = np.ones((2, 1, 1))


def _reproduce(candidate: Candidate, values: dict[str, Any], paths: EntryPaths) -> tuple[Vector, Vector, Memory]:
    """Theta after each step (T, C) from the theta observed before it, the learning rates (T,), and the last memory.

    A step is linear in its learning rate, so a secant through all histories finds it; if it is repeated, it is nearly
    linear, and two secants do.  Values of shape (K, 1) give (T, K, C) and (T, K); numbers are one row of them.
    """
    memory: Memory = defaultdict(np.float64)
    recurrence, secants = candidate.recurrence, 2 if candidate.mistake in REPEATED else 1
    reference, rates, scale = [], [], paths.scale
    for t, (p, g, goal) in enumerate(zip(paths.theta, paths.grads, paths.theta[1:], strict=False), 1):
        lr = BOTH
        for _ in range(secants):
            a, b = recurrence(p, g, memory.copy(), t, lr, values) * EACH
            change, missing = (b - a) / scale, (goal - a) / scale
            size = np.sum(change * change, axis=-1, keepdims=True)
            share = np.sum(missing * change, axis=-1, keepdims=True)
            near = lr[0] + (lr[1] - lr[0]) * share / np.where(size == 0, 1.0, size)
            lr = np.stack([near, 1.01 * near])
        rates.append(near[..., 0])
        reference.append(recurrence(p, g, memory, t, near, values))
    return np.stack(np.broadcast_arrays(*reference)), np.stack(np.broadcast_arrays(*rates)), memory


def _refine(candidate: Candidate, values: Values, paths: EntryPaths) -> tuple[Values, float]:
    """The parameters by Gauss-Newton, and the largest error that is left.  Of betas, 1 - beta is fitted."""
    fixed = candidate.mistake.parameters if candidate.mistake in LOST else ()  # learning rates make up for them
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
        change = np.linalg.lstsq((moved - here).T / 1e-6, -here, rcond=paths.u)[0]
        x, before = x * (1 + np.clip(change, -0.7, 2.0)), now
    return {name: float(np.ravel(value)[0]) for name, value in rows.items()}, float(np.max(np.abs(here)))


def _descend(candidate: Candidate, values: Values, paths: EntryPaths) -> tuple[Values, float]:
    """Parameters near the best, by damped steps (Levenberg 1944, Marquardt 1963): the best of several dampings each.

    Also the root mean square of the errors that are left.
    """
    names = [name for name in candidate.parameters if values[name]]
    x = np.array([1 - values[name] if name in FRACTIONS else values[name] for name in names])
    before = math.inf
    for _ in range(40):
        near = x * (1 + 1e-6 * np.vstack([np.zeros(len(x)), np.eye(len(x))]))
        misfit = _misfit(candidate, _at(values, names, near), paths).reshape(len(x) + 1, -1)
        here = misfit[0]
        if not np.isfinite(misfit).all() or not names:
            break
        slopes = (misfit[1:] - here).T / 1e-6
        tries = x * np.exp(np.stack([_damped(slopes, here, damping) for damping in (1e-12, 1e-4, 1e-2, 1.0, 100.0)]))
        sizes = np.sum(_misfit(candidate, _at(values, names, tries), paths).reshape(len(tries), -1) ** 2, axis=1)
        best = int(np.nanargmin(np.where(np.isfinite(sizes), sizes, np.inf)))
        if not sizes[best] < LEAST_GAIN * before or sizes[best] < paths.tolerance**2:
            break
        x, before = tries[best], float(sizes[best])
    left = math.sqrt(min(before, float(here @ here)) / here.size)
    return {name: float(np.ravel(value)[0]) for name, value in _at(values, names, x[None]).items()}, left


def _damped(slopes: Vector, here: Vector, damping: float) -> Vector:
    """The change of the logarithms of the parameters."""
    sizes = np.sqrt(np.sum(slopes * slopes, axis=0)) + 1e-300
    rows = np.vstack([slopes, np.sqrt(damping) * np.diag(sizes)])
    change = np.linalg.lstsq(rows, np.concatenate([-here, np.zeros(len(sizes))]))[0]
    return np.asarray(np.clip(change, -2.0, 2.0))


def _misfit(candidate: Candidate, rows: dict[str, Any], paths: EntryPaths) -> Vector:
    """The errors of theta (K, T, C) for K rows of parameters, and of the rates where a rule is told by them only."""
    theta, rates, _ = _reproduce(candidate, rows, paths)
    misfit = (theta.reshape(len(theta), -1, paths.grads.shape[1]) - paths.theta[1:, None]) / paths.scale
    if candidate.rule.late:
        misfit = np.concatenate([misfit, (rates / np.median(rates, axis=0) - 1)[:, :, None]], axis=2)
    rows_of = max(np.size(value) for value in rows.values())
    return np.broadcast_to(np.moveaxis(misfit, 1, 0), (rows_of, *np.delete(misfit.shape, 1)))


def _at(values: Values, names: Sequence[str], x: Vector) -> dict[str, Any]:
    """The values, with those of the rows x (K, names) as (K, 1)."""
    columns = zip(names, x.T[:, :, None], strict=True)
    return values | {name: 1 - y if name in FRACTIONS else y for name, y in columns}


# The start of Gauss-Newton; for the rules of textbooks, it is already the solution


def _start(candidate: Candidate, measured: Measurements, u: float, given: Values | None = None) -> Values:
    """The parameters that follow from the measurements, but for those that are given."""
    rule, decay, mistake = candidate
    values = _betas(rule, measured) | dict.fromkeys(("start", "eps", "eps_root", "weight_decay"), 0.0)
    values |= {"dampening": 0.5, "psi": 0.004}
    values |= _guess(mistake, measured, 1.0) | (given or {})

    def first(gradient: float, **epsilons: float) -> float:
        g: Any = np.float64(gradient)
        return -float(mistake.of(rule.recurrence)(0.0, g, defaultdict(np.float64), 1, 1.0, values | epsilons))

    def unit(name: str) -> float:
        """The unit in which this epsilon is measured."""
        return quotient(first(1e-20, **{name: 1.0}) * 1e20, first(1e20, **{name: 1.0}))

    sides = zip(("eps", "eps_root"), measured.epsilons(u**0.25 if mistake is NOTHING else 0.5), strict=True)
    sizes = {name: unit(name) * (size if "eps" in rule.parameters else measured.epsilon) for name, size in sides}
    values |= {"eps": sizes["eps"], "eps_root": sizes["eps_root"] ** 2}
    if "start" in rule.parameters:
        values |= {"eps": 0.0, "eps_root": 0.0}
        start = (unit("start") * measured.epsilon) ** 2
        values |= {"start": start, "eps_root": 1e-6 * start}
    lr = quotient(measured.huge, first(measured.largest, eps_root=values["eps_root"], eps=values["eps"]))
    return values | _guess(decay, measured, lr)


def _betas(rule: Rule, measured: Measurements) -> Values:
    """The betas: of averages, or of a rule of signs by where its steps turn round.

    Lion turns at beta1 (1 - beta2) / (1 - beta1) after a gradient of 1, and beta2 times that a step later.
    """
    beta1, beta2 = _beta(measured.beta1, 0.9), _beta(measured.beta2, 0.999)
    if measured.flip:
        beta2 = quotient(measured.flip_later, measured.flip)
        beta1 = quotient(measured.flip, 1 - beta2 + measured.flip)
    return {"beta": beta2 if measured.flip else beta1, "beta1": beta1, "beta2": beta2, "decay": beta2}


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
        "fall": fall,
        "rise": rise,
    }
    return dict.fromkeys(change.parameters, sizes.get(change.measured_by, 0.0))


def _beta(beta: float, usual: float) -> float:
    """The measured beta; 0 if it is tiny, and the usual beta if it is not in [0, 1)."""
    if beta < NO_MEMORY:
        return 0.0
    return beta if beta < 1 - 1e-9 else usual
