"""``check_update``: which update rule does an optimizer follow, and what is wrong with it?

The optimizer is a black box; only the numbers that it computes count.  First it is searched for faults that any rule
can have (faults.py).  Then every entry of theta gets the same made-up gradients.  identify.py finds the rule of most
entries, and the other entries are compared with it.
"""

from collections.abc import Callable, Iterator
import math
from typing import Any

import numpy as np

from xpdl import checks
from xpdl.backends import Backend, backend as choose_backend
from xpdl.gradcheck.report import FAIL, INCONCLUSIVE, PASS, Vector
from xpdl.gradcheck.update.clipping import KINDS, Clip, find_clip
from xpdl.gradcheck.update.coupling import influence, is_coupled
from xpdl.gradcheck.update.faults import LOST_STATE, find_faults, idle_slots
from xpdl.gradcheck.update.fit import FRACTIONS, NO_MEMORY, Fit
from xpdl.gradcheck.update.histories import long_histories, short_histories
from xpdl.gradcheck.update.identify import identify, relate
from xpdl.gradcheck.update.low_precision import in_own_precision
from xpdl.gradcheck.update.measure import NO_DECAY, Measurements, measure, moved_in
from xpdl.gradcheck.update.report import UpdateReport, entries
from xpdl.gradcheck.update.rules import (
    APART,
    DOUBT,
    FAULT,
    FORM,
    INSIDE,
    LOST_MOMENTS,
    NOTHING,
    OTHER_POWERS,
    RULES,
    SCHEDULES_OF_A_BIAS,
    STATELESS,
    UNCORRECTED,
    UNSEEN,
    VARIANT,
)
from xpdl.gradcheck.update.subject import EPSILON, Paths, Subject, groups_of, observe
from xpdl.gradcheck.update.trust import BEHIND, trust

NAMES = sorted({rule.name for rule in RULES} | {"adamw", *BEHIND})
COUPLED = "entries influence each other: the step of one depends on the gradients of others, by no rule that is known"
UNUSED = "the state has {} vectors that change, but the steps have no memory: not used, or they cancel" + APART
SUMS = "a moment in the state is no average: a factor 1 - beta is missing, or the learning rate makes up for it" + APART
RIVAL = "the steps are also those of {}, to rounding: float64 may tell them apart"
UNKNOWN = "no known rule takes these steps"
MOST_GROUPS = 8
"""How many groups of entries are compared with the rule."""


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
    """Find the update rule that an optimizer follows, its hyper-parameters, and what is wrong with it.

    Parameters
    ----------
    optimizer : Optimizer or pair of callables
        An object with init(theta) -> state and update(theta, grad, state) -> (theta, state), or a tuple of the two.
    expected : str, optional
        What the optimizer should be: "sgd", "momentum", "nesterov", "sign", "signum", "lion", "rmsprop" (also centred,
        and with momentum), "adagrad", "adadelta", "adam", "adamw", "amsgrad", "nadam", "radam", "adamax", "adabelief",
        "lamb" or "lars"; behind gradients that are clipped, "clipped adam" by the global norm, "layer-clipped adam" by
        the norm of each layer, "value-clipped adam" by value.
        Then every other rule fails, and so does what departs from the form in the textbook.  By default each known
        form passes if it is consistent.
    size : int, default 8
        The number of entries of theta; if the optimizer depends on the layers of your network, the size of that.
    backend : str or Backend, default "numpy"
        The backend of the arrays that the optimizer gets.
    dtype : {"float64", "float32", "float16", "bfloat16"}, default "float64"
        Their dtype.  The rule of an optimizer in float16 or bfloat16 is found in float64; then its steps in its own
        precision must be finite, and those of float64 but for rounding.
    steps : int, default 30
        The length of each random history of gradients, at least 8.
    seed : int, default 0
        The seed of the random histories.

    Returns
    -------
    UpdateReport
        FAIL: something is wrong, and ``findings`` says what.  INCONCLUSIVE: nothing is wrong, but the rule is not
        known, as one in which entries influence each other, or an optimizer that loses its state would take the same
        steps.

    Raises
    ------
    TypeError
        If optimizer is something else, or if its update does not return (theta, state).
    ValueError
        If an option is unknown or too small.

    Examples
    --------
    >>> import xpdl
    >>> report = xpdl.check_update(xpdl.adam(0.01))
    >>> report.verdict, report.rule
    ('PASS', 'adam')
    >>> {name: round(value, 6) for name, value in report.hyperparameters.items() if value > 1e-6}
    {'lr': 0.01, 'beta1': 0.9, 'beta2': 0.999}
    >>> uphill = (lambda theta: None, lambda theta, grad, state: (theta + 0.1 * grad, state))
    >>> xpdl.check_update(uphill).findings
    ('steps go uphill: lr g is added and not subtracted',)
    """
    expected = None if expected is None else _name(expected)
    home = backend if isinstance(backend, Backend) else choose_backend(backend)
    low = checks.dtype_name(dtype) if checks.dtype_name(dtype) in EPSILON else None
    dtype, size = low or checks.float_dtype("dtype", dtype), checks.integer("size", size, least=2)
    subject = Subject(*_functions(optimizer), home, "float64" if low else dtype, size)
    rng = np.random.default_rng(checks.integer("seed", seed, least=0))
    steps = checks.integer("steps", steps, least=8)
    with home.activate(), np.errstate(all="ignore"):
        report = _report(subject, expected, steps, rng)
        return in_own_precision(report, subject._replace(dtype=low), rng.standard_normal(steps)) if low else report


def _name(expected: str) -> str:
    """The name of a rule, behind that of a way to clip gradients."""
    how, _, rest = expected.partition(" ") if isinstance(expected, str) else ("", "", "")
    return (
        f"{how} {checks.choice('expected', rest, NAMES)}"
        if how in KINDS
        else checks.choice("expected", expected, NAMES)
    )


def _functions(optimizer: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    pair = (getattr(optimizer, "init", None), getattr(optimizer, "update", None))
    if not all(map(callable, pair)) and isinstance(optimizer, tuple) and len(optimizer) == 2:
        pair = optimizer
    if not all(map(callable, pair)):
        expected = "have init(theta) -> state and update(theta, grad, state) -> (theta, state)"
        raise TypeError(f"optimizer must {expected}, got {checks.shorten(optimizer)}")
    return pair  # type: ignore[return-value]


def _report(subject: Subject, expected: str | None, steps: int, rng: np.random.Generator) -> UpdateReport:
    grads = rng.standard_normal(steps)
    findings = [(FAULT, fault) for fault in find_faults(subject, grads)]
    coupled = is_coupled(subject, grads)
    clip = find_clip(subject, influence(subject, grads), rng) if coupled else None
    main, more = _of_rule(subject, clip, grads, expected, rng)
    if main is None and not coupled and (clip := find_clip(subject, np.zeros((subject.size, subject.size), bool), rng)):
        main, more = _of_rule(subject, clip, grads, expected, rng)
    findings = [finding for finding in findings if not _is_stateless(expected, main, finding[1])]
    findings += more
    if main is None and not any(kind in (DOUBT, FAULT) for kind, _ in findings):
        findings += [(DOUBT, UNKNOWN)]
    return _made(subject, main, clip, findings, expected)


def _of_rule(
    subject: Subject, clip: Clip | None, grads: Vector, expected: str | None, rng: np.random.Generator
) -> tuple[Fit | None, list[tuple[int, str]]]:
    """The rule of most entries, behind the clipping of gradients, and all findings."""
    findings = [] if clip is None else clip.findings
    if clip is not None and clip.length:
        subject = subject._replace(largest=clip.largest)
    if is_coupled(subject, grads):
        found = trust(subject, influence(subject, grads), len(grads), rng)
        main, more = found or (None, [] if clip and not clip.length else [(DOUBT, COUPLED)])
        return main, [*findings, *more]
    main, more = _of_entries(subject, grads, rng)
    return main, [*findings, *more]


def _of_entries(subject: Subject, grads: Vector, rng: np.random.Generator) -> tuple[Fit | None, list[tuple[int, str]]]:
    """The rule of most entries, if none influences another, and how the rest differs."""
    grads = np.clip(grads, -subject.largest, subject.largest)
    start = Paths(grads[:, None], subject.run(0.0, grads)[:, None, :], [], subject.u)
    measured = measure(subject, moved_in(subject, groups_of(start)[0][0]))
    short = observe(subject, short_histories(measured))
    long = observe(subject, long_histories(measured, len(grads), rng))
    groups = groups_of(long)
    main = identify(measured, short.of(groups[0][0]), long.of(groups[0][0]))
    findings = [*_findings(measured, main), *_idle(main, idle_slots(subject, grads))]
    return main, [*findings, *((FAULT, text) for text in _others(subject, main, groups, short, long))]


def _made(
    subject: Subject, main: Fit | None, clip: Clip | None, findings: list[tuple[int, str]], expected: str | None
) -> UpdateReport:
    if expected is not None:
        findings = [*_unexpected(expected, main, clip), *findings]
    return UpdateReport(
        verdict=_verdict({kind for kind, _ in findings}, expected),
        rule=main and main.name,
        hyperparameters=main.hyperparameters | (clip.hyperparameters if clip else {}) if main else {},
        rates=tuple(map(float, main.rates)) if main else (),
        findings=tuple(dict.fromkeys(text for _, text in sorted(findings, key=lambda finding: -finding[0]))),
        difference=main.error if main else math.nan,
        worst=main.worst if main else None,
        precision=subject.dtype,
    )


def _verdict(kinds: set[int], expected: str | None) -> str:
    if FAULT in kinds or (expected and VARIANT in kinds):
        return FAIL
    return INCONCLUSIVE if UNSEEN in kinds or (DOUBT in kinds and not expected) else PASS


# Findings: their kind and their text


def _findings(measured: Measurements, fit: Fit | None) -> Iterator[tuple[int, str]]:
    """Yield findings on the rule of most entries."""
    if measured.power in OTHER_POWERS:
        yield FAULT, OTHER_POWERS[measured.power]
    if fit is None:
        return
    yield from ((part.kind, part.finding) for part in fit.candidate if part.finding)
    if fit.values["eps_root"] and fit.candidate.rule.name not in INSIDE:
        yield VARIANT, "epsilon stands inside the root: sqrt(v + eps_root)"
    for name in ("weight_decay", *FRACTIONS):
        least = NO_DECAY * fit.long.u if name == "weight_decay" else fit.long.tolerance
        if name in fit.candidate.parameters and fit.values[name] < -least:
            yield FAULT, f"{name} is negative: {fit.values[name]:.6g}"
    if np.median(fit.rates) < 0:
        yield FAULT, "steps go uphill: lr g is added and not subtracted"
    if fit.name in ("adam", "adamw") and fit.values["beta2"] < NO_MEMORY < fit.values["beta1"]:
        same = "it looks the same if the second moment is lost between steps"
        yield DOUBT, f"beta2 is 0: {same}: pass expected= to tell them apart"
    yield from _rates(fit)


def _is_stateless(expected: str | None, fit: Fit | None, finding: str) -> bool:
    """Whether a rule without a state is expected and found, so that a state that stays 0 is no fault."""
    meant = expected is not None and fit is not None and fit.name == expected and fit.candidate.rule.recurrence
    return meant in STATELESS and finding.startswith(LOST_STATE)


def _idle(fit: Fit | None, idle: list[bool]) -> Iterator[tuple[int, str]]:
    """What vectors of the state say that stay 0 while others do not; with one moment, another may have been lost."""
    if fit is not None and fit.candidate.rule.recurrence in STATELESS and any(map(any, fit.long.slots)):
        yield DOUBT, UNUSED.format(sum(map(any, fit.long.slots)))
    if fit is not None and fit.rival:
        yield UNSEEN, RIVAL.format(fit.rival)
    if fit is not None and fit.sums and fit.alike and all(fit.values[name] for name in fit.candidate.fractions):
        yield DOUBT, SUMS  # if all are sums, that is meant, as in xpdl.adam
    if any(idle) and not all(idle) and fit is not None:
        both = {"beta1", "beta2"} <= set(fit.candidate.parameters)
        yield (
            (FORM if both else DOUBT),
            f"{sum(idle)} of the {len(idle)} vectors of the state stay 0: not used, or lost",
        )


def _rates(fit: Fit) -> Iterator[tuple[int, str]]:
    """Yield findings on learning rates that vary."""
    if not fit.constant and _fall_like_a_bias(fit.rates):
        yield FAULT, LOST_MOMENTS[1]
    elif twice := _corrected_twice(fit):
        yield FAULT, twice
    elif not fit.constant:
        yield FORM, f"the learning rate varies: from {fit.rates[0]:.6g} in step 1 to {fit.rates[-1]:.6g} in the last"


def _corrected_twice(fit: Fit) -> str:
    """What is wrong if the rates are no schedule, but another bias correction."""
    rule = fit.candidate.rule
    if fit.constant or not {"beta1", "beta2"} <= set(rule.parameters) or rule.finding.startswith(UNCORRECTED):
        return ""
    t = np.arange(1, len(fit.rates) + 1)
    bias1, bias2 = (1 - fit.values[name] ** t for name in ("beta1", "beta2"))
    for (first, second), text in SCHEDULES_OF_A_BIAS.items():
        base = fit.rates * bias1**first * bias2**second
        if np.ptp(base) <= 3 * fit.long.tolerance * abs(np.median(base)):
            return text
    return ""


def _fall_like_a_bias(rates: Vector) -> bool:
    """Whether rates fall like (1 - beta) / (1 - beta^t): a bias is corrected, but the moment has no bias."""
    beta = rates[0] / rates[1] - 1
    falling = rates[0] * (1 - beta) / (1 - beta ** np.arange(1, len(rates) + 1))
    return bool(0 < beta < 1 - NO_MEMORY and np.allclose(rates, falling, rtol=1e-4, atol=0))


def _others(subject: Subject, main: Fit | None, groups: list[list[int]], short: Paths, long: Paths) -> Iterator[str]:
    """How the smaller groups of entries differ from the largest."""
    for group in groups[1:MOST_GROUPS]:
        paths = long.of(group[0])
        moved = np.diff(paths.theta, axis=0).any()
        fit = relate(main, measure(subject, moved_in(subject, group[0])), short.of(group[0]), paths) if moved else None
        yield f"{entries(group)} of {subject.size}: {_how_it_differs(main, fit) if moved else 'never updated'}"
    if len(groups) > MOST_GROUPS:
        yield f"entries follow {len(groups)} different rules"


def _how_it_differs(main: Fit | None, other: Fit | None) -> str:
    if other is None:
        return "updated by another rule than the rest, an unknown one"
    if other.candidate.mistake is not NOTHING:
        return other.candidate.mistake.finding
    if main is not None and main.candidate == other.candidate:
        times = other.rates[0] / main.rates[0]
        return f"move {times:.6g} times as far as the rest: another learning rate, or applied more than once a step"
    return f"updated by another rule than the rest, {other}"


def _unexpected(expected: str, fit: Fit | None, clip: Clip | None) -> Iterator[tuple[int, str]]:
    found = f"{clip.name} {fit.name}" if fit and clip else fit.name if fit else "no known rule"
    if found != expected:
        yield FAULT, f"expected {expected}, found {found}"
