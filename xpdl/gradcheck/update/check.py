"""``check_update``: what is an update rule, and what is wrong with it?  Found by watching what it does to numbers.

The optimizer is a black box.  CHECKS looks for what is wrong whatever the rule; then every entry of theta is given the
same made-up gradients, identify.py finds the rule of most entries, and the others are compared.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations, pairwise
import math
from typing import Any

import numpy as np

from xpdl import checks
from xpdl.backends import Backend, backend as choose_backend
from xpdl.backends.base import to_numpy
from xpdl.gradcheck.report import FAIL, INCONCLUSIVE, PASS, Vector, finite
from xpdl.gradcheck.update.identify import (
    NO_MEMORY,
    Fit,
    Signs,
    identify,
    long_histories,
    relate,
    short_histories,
    signs_of,
    title,
)
from xpdl.gradcheck.update.rules import DOUBT, FAULT, FORM, LOST_MOMENTS, NOTHING, OTHER_POWERS, RULES, VARIANT
from xpdl.gradcheck.update.subject import Subject, Views, arrays_in, groups_of, observe

NAMES = sorted({rule.name for rules in RULES.values() for rule in rules} | {"adamw"})
MOST_GROUPS = 8


@dataclass(frozen=True)
class UpdateReport:
    """What a rule is, and what is wrong with it; true if and only if nothing is.

    rule             its name, or None if it follows no rule that is known here
    hyperparameters  by name; lr is that of the first step
    rates            the learning rate of every step
    findings         one sentence each: faults first, then what is worth knowing
    difference       how far the observed steps are from those of the rule, at the worst, in largest steps
    worst            where: step, gradient, observed theta, and theta by the rule; None if there is no rule
    """

    verdict: str
    rule: str | None
    hyperparameters: Mapping[str, float]
    rates: tuple[float, ...]
    findings: tuple[str, ...]
    difference: float
    worst: Mapping[str, float] | None
    precision: str

    def __bool__(self) -> bool:
        return self.verdict == PASS

    def __str__(self) -> str:
        what = title(self.rule, self.hyperparameters) if self.rule else "no rule that is known"
        lines = [f"{self.verdict}  {what}", *(f"  {finding}" for finding in self.findings)]
        if self.worst is not None:
            at = "step {step:.0f}, gradient {gradient:.6g}: theta {observed:.9g}, by the rule {reference:.9g}"
            lines.append(f"  worst {at.format(**self.worst)}; {self.difference:.1e} of a step, in {self.precision}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-serialisable values; a number that is not finite is None."""
        return {
            "verdict": self.verdict,
            "rule": self.rule,
            "hyperparameters": {name: finite(value) for name, value in self.hyperparameters.items()},
            "rates": list(map(finite, self.rates)),
            "findings": list(self.findings),
            "difference": finite(self.difference),
            "worst": self.worst and {name: finite(value) for name, value in self.worst.items()},
            "precision": self.precision,
        }


def check_update(
    optimizer: Any,
    *,
    expected: str | None = None,
    size: int = 8,
    backend: str | Backend = "numpy",
    dtype: str = "float64",
    steps: int = 30,
    seed: int = 0,
) -> UpdateReport:
    """Find the rule that an optimizer follows, its hyper-parameters, and what is wrong with it.

    optimizer  has init(theta) -> state and update(theta, grad, state) -> (theta, state), or is the pair of them
    expected   "sgd", "momentum", "nesterov", "sign", "rmsprop", "adagrad", "adam" or "adamw": anything else fails, and
               so does what departs from its textbook form; default: any known form passes if it is consistent
    size       of theta: that of your network, if the optimizer knows its layers
    backend    and dtype: those of the arrays that the optimizer is given
    steps      of each random history

    FAIL: something is wrong, and ``findings`` says what.  INCONCLUSIVE: nothing is wrong, but the rule is not known, or
    its steps are also those of a state that is lost.
    ``TypeError`` if optimizer is none, or if its update does not return what it should.
    """
    expected = None if expected is None else checks.choice("expected", expected, NAMES)
    home = backend if isinstance(backend, Backend) else choose_backend(backend)
    dtype, size = checks.float_dtype("dtype", dtype), checks.integer("size", size, least=2)
    subject = Subject(*_functions(optimizer), home, dtype, size)
    rng = np.random.default_rng(checks.integer("seed", seed, least=0))
    with home.activate(), np.errstate(all="ignore"):
        return _report(subject, expected, checks.integer("steps", steps, least=8), rng)


def _functions(optimizer: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    pair = (getattr(optimizer, "init", None), getattr(optimizer, "update", None))
    if not all(map(callable, pair)) and isinstance(optimizer, tuple) and len(optimizer) == 2:
        pair = optimizer
    if not all(map(callable, pair)):
        expected = "have init(theta) -> state and update(theta, grad, state) -> (theta, state)"
        raise TypeError(f"optimizer must {expected}, got {checks.shorten(optimizer)}")
    return pair  # type: ignore[return-value]


# What is wrong, whatever the rule is


def _restarts(subject: Subject, grads: Vector) -> str | None:
    first, second = (subject.run(1.0, grads) for _ in range(2))
    if not np.array_equal(first, second, equal_nan=True):
        return "the same steps from a new state differ: random numbers, or a state kept elsewhere than in the state"
    return None


def _keeps_its_hands_off(subject: Subject, grads: Vector) -> str | None:
    for values, (_, grad, _) in zip(grads[:3], list(subject.walk(1.0, grads[:3]))[1:], strict=False):
        if not np.array_equal(to_numpy(grad), to_numpy(subject.put(values))):
            return "update changes the gradient it is given, which is the caller's"
    return None


def _shares_memory(subject: Subject, grads: Vector) -> str | None:
    for theta, grad, state in subject.walk(1.0, grads[:3]):
        arrays = [("theta", theta), ("the gradient", grad), *(("a state vector", slot) for slot in arrays_in(state))]
        for (one, a), (other, b) in combinations(arrays, 2):
            if np.shares_memory(to_numpy(a), to_numpy(b)):
                return f"{one} and {other} share memory: what is done to one is done to both"
    return None


def _keeps_the_dtype(subject: Subject, grads: Vector) -> str | None:
    *_, (theta, _, _) = subject.walk(1.0, grads[:2])
    dtype = checks.dtype_name(theta.dtype)
    return f"theta becomes {dtype}, it was {subject.dtype}" if dtype != subject.dtype else None


def _survives_zero(subject: Subject, grads: Vector) -> str | None:
    if np.isfinite(subject.run(1.0, grads)).all() and not np.isfinite(subject.run(0.0, [0.0, 0.0])).all():
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


def _keeps_entries_apart(subject: Subject, grads: Vector) -> str | None:
    """Half of the gradients are changed: the other half of theta must not notice."""
    each = np.multiply.outer(grads, 1 + np.arange(subject.size) / subject.size)
    left = np.arange(subject.size) < subject.size // 2
    base = subject.run(1.0, each)
    for changed in (left, ~left):
        off = np.abs(subject.run(1.0, np.where(changed, -100 * each, each)) - base)[:, ~changed]
        if np.any(off > 64 * subject.u * np.max(np.abs(base))):
            return "entries influence each other: the step of one depends on the gradients of others"
    return None


def _keeps_its_state(subject: Subject, grads: Vector) -> str | None:
    lost = [not slot.any() for slot in subject.slots(1.0, grads)]
    if any(lost):
        return f"the state is lost between steps: {sum(lost)} of its {len(lost)} vectors stay 0"
    return None


def _carries_its_state(subject: Subject, grads: Vector) -> str | None:
    """A moment is more than its share 1 - beta of the last gradient; all of that, or the last step, one may keep."""
    alike = partial(np.isclose, rtol=1e-3, atol=0)
    pasts = ((0.1, 1.0), (10.0, 1.0), (0.1, 2.0))
    step = np.abs(np.diff(subject.run(0.0, pasts[0]), axis=0)[1])
    for here, other, double in zip(*(subject.slots(0.0, past) for past in pasts), strict=False):
        share = alike(here, other) & (here > 0) & (here < 0.9999) & ~alike(here, step)
        for power, fault in LOST_MOMENTS.items():
            if np.any(share & alike(double, 2**power * here)):
                return fault
    return None


CHECKS = (
    *(_is_finite, _survives_zero, _knows_signs, _restarts, _keeps_its_hands_off, _shares_memory, _keeps_the_dtype),
    *(_keeps_entries_apart, _keeps_its_state, _carries_its_state),
)


# What is said


def _report(subject: Subject, expected: str | None, steps: int, rng: np.random.Generator) -> UpdateReport:
    grads = rng.standard_normal(steps)
    findings = [(FAULT, fault) for check in CHECKS if (fault := check(subject, grads))]
    start = Views(grads[:, None], subject.run(0.0, grads)[:, None, :], [], subject.u)
    signs = signs_of(subject, groups_of(start)[0][0])
    short, long = (observe(subject, probes) for probes in (short_histories(signs), long_histories(signs, steps, rng)))
    groups = groups_of(long)
    main = identify(signs, short.of(groups[0][0]), long.of(groups[0][0]))
    findings += _findings(signs, main, bool(findings))
    findings += [(FAULT, text) for text in _others(subject, main, groups, short, long)]
    if expected is not None:
        findings += _unexpected(expected, main)
    return UpdateReport(
        verdict=_verdict({meaning for meaning, _ in findings}, expected),
        rule=main and main.name,
        hyperparameters=main.hyperparameters if main else {},
        rates=tuple(map(float, main.rates)) if main else (),
        findings=tuple(dict.fromkeys(text for _, text in sorted(findings, key=lambda finding: -finding[0]))),
        difference=main.error if main else math.nan,
        worst=main.worst if main else None,
        precision=subject.dtype,
    )


def _verdict(meanings: set[int], expected: str | None) -> str:
    if FAULT in meanings or (expected and VARIANT in meanings):
        return FAIL
    return INCONCLUSIVE if DOUBT in meanings and not expected else PASS


def _findings(signs: Signs, fit: Fit | None, wrong: bool) -> Iterator[tuple[int, str]]:
    """What the rule is like."""
    if signs.power in OTHER_POWERS:
        yield FAULT, OTHER_POWERS[signs.power]
    if fit is None:
        yield from [] if wrong else [(DOUBT, "its steps are those of no rule known here")]
        return
    yield from ((part.meaning, part.finding) for part in fit.candidate if part.finding)
    if fit.values["eps_root"]:
        yield VARIANT, "epsilon stands inside the root: sqrt(v + eps_root)"
    if np.median(fit.rates) < 0:
        yield FAULT, "steps go uphill: lr g is added and not subtracted"
    if fit.name.startswith("adam") and fit.values["beta2"] < NO_MEMORY < fit.values["beta1"]:
        yield DOUBT, "beta2 is 0: it looks the same if the second moment is lost between steps; say what is expected"
    if not fit.constant and _falls(fit.rates):
        yield FAULT, LOST_MOMENTS[1]
    elif not fit.constant:
        yield FORM, f"the learning rate varies: from {fit.rates[0]:.6g} in step 1 to {fit.rates[-1]:.6g} in the last"


def _falls(rates: Vector) -> bool:
    """Whether they go with (1 - beta) / (1 - beta^t): the bias of a moment is corrected that has none."""
    beta = rates[0] / rates[1] - 1
    falling = rates[0] * (1 - beta) / (1 - beta ** np.arange(1, len(rates) + 1))
    return bool(0 < beta < 1 - NO_MEMORY and np.allclose(rates, falling, rtol=1e-4, atol=0))


def _others(subject: Subject, main: Fit | None, groups: list[list[int]], short: Views, long: Views) -> Iterator[str]:
    """What is different in the smaller groups of entries."""
    for group in groups[1:MOST_GROUPS]:
        trace = long.of(group[0])
        moved = np.diff(trace.theta, axis=0).any()
        fit = relate(main, signs_of(subject, group[0]), short.of(group[0]), trace) if moved else None
        yield f"{_entries(group)} of {subject.size}: {_difference(main, fit) if moved else 'never updated'}"
    if len(groups) > MOST_GROUPS:
        yield f"entries follow {len(groups)} different rules"


def _difference(main: Fit | None, other: Fit | None) -> str:
    if other is None:
        return "updated by another rule than the rest, and by none that is known here"
    if other.candidate.mistake is not NOTHING:
        return other.candidate.mistake.finding
    if main is not None and main.candidate == other.candidate:
        times = other.rates[0] / main.rates[0]
        return f"move {times:.6g} times as far as the rest: another learning rate, or applied more than once a step"
    return f"updated by another rule than the rest, {other}"


def _entries(group: Sequence[int]) -> str:
    """ "entries 0 to 2, 5"."""
    breaks = [i for i, (a, b) in enumerate(pairwise(group), 1) if b != a + 1]
    runs = [group[i:j] for i, j in pairwise([0, *breaks, len(group)])]
    return "entries " + ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def _unexpected(expected: str, fit: Fit | None) -> Iterator[tuple[int, str]]:
    found = fit.name if fit else "no rule that is known"
    if found != expected:
        yield FAULT, f"expected {expected}, found {found}"
