"""Identify the rule of rules.py that makes the steps of an entry of theta.

First the rules of textbooks and libraries are fitted, then rules with a mistake.  If two rules make the same steps, as
a heavy ball and an average of gradients do, the state tells them apart.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import groupby
import math
from typing import Any, TypeAlias

import numpy as np

from xpdl.gradcheck.update.fit import (
    FINE,
    FRACTIONS,
    Candidate,
    Fit,
    compare,
    first_error,
    fit,
    makes_the_steps_of,
    search,
)
from xpdl.gradcheck.update.measure import Measurements, betas_of, power, quotient
from xpdl.gradcheck.update.rules import (
    COMMON,
    COUNTED,
    DECAYS,
    DOUBT,
    FAULT,
    FORM,
    LOST,
    NOTHING,
    REPEATED,
    RULES,
    WELL_KNOWN,
    Change,
    Rule,
)
from xpdl.gradcheck.update.subject import HUGE_GRADIENT, EntryPaths

CLOSER = 10.0
"""A rule that is so many times as far away as the closest one is not the rule: what rounding leaves of two fits of one
rule differs by 3 times at most (150 rules in float32).  AMSGrad with a slow second moment is almost Adam there."""
Find: TypeAlias = Callable[[Candidate, Measurements, EntryPaths, EntryPaths], Fit | None]


def identify(measured: Measurements, short: EntryPaths, long: EntryPaths) -> Fit | None:
    """What fits with a constant learning rate, even with a mistake; if nothing does, what fits at all."""
    rules = rules_of(measured.power)
    textbook = [rule for rule in rules if rule.kind in (FORM, DOUBT)]
    fits = _by_name(fit, textbook, measured, short, long)
    if not any(map(_is_all, fits)):
        fits += _by_name(fit, [rule for rule in rules if rule not in textbook], measured, short, long)
    if not measured.memoryless and all(
        found.candidate.rule.kind == FAULT or not found.explains_the_state for found in fits
    ):
        fits += _by_name(search, [rule for rule in rules if _is_searched(rule, measured)], measured, short, long)
    if not any(found.constant for found in fits):
        mistakes = LOST + COUNTED if fits else LOST + COUNTED + REPEATED
        tries = (fit(c, measured, short, long) for c in _mistaken(measured, mistakes))
        fits += [found for found in [next((found for found in tries if found and found.constant), None)] if found]
    best = max(fits, key=_rank, default=None)
    if best is None or not best.constant or best.candidate.mistake is not NOTHING:
        return best
    if long.tolerance > FINE:
        untried = [rule for rule in rules if rule not in {found.candidate.rule for found in fits}]
        fits += _near(best, untried, measured, short, long)
    return _told_apart([found for found in fits if found.constant], short)


def _near(best: Fit, rules: Sequence[Rule], measured: Measurements, short: EntryPaths, long: EntryPaths) -> list[Fit]:
    """The fits of further rules that make almost the same first steps."""
    candidates = [Candidate(rule, best.candidate.decay, NOTHING) for rule in rules]
    fits = (fit(one, measured, short, long) for one in candidates if _is_near(one, best, measured, short))
    return [found for found in fits if found and found.constant]


def _is_near(one: Candidate, best: Fit, measured: Measurements, short: EntryPaths) -> bool:
    """Whether a rule makes almost the same steps, with the parameters of the best one or those measured."""
    return any(first_error(one, known, measured, short) <= 10 * short.tolerance for known in (best.values, {}))


def _told_apart(fits: Sequence[Fit], short: EntryPaths) -> Fit:
    """The best of those that fit as closely as any, and another rule that is among them, by the steps and the state."""
    closest = min(found.distance for found in fits)
    close = [found for found in fits if found.distance <= max(CLOSER * closest, FINE)]
    best = max(close, key=_rank)
    if best.candidate.rule.kind == FAULT:
        return best
    others = (one for one in close if _differs(one, best) and _holds_as_much(one, best))
    rival = next((one for one in others if not makes_the_steps_of(one, best, short)), None)
    return best if rival is None else best._replace(rival=_described(rival))


def _described(found: Fit) -> str:
    """The name of a rule, and what would be said of it."""
    text = found.candidate.rule.finding
    return f"{found.name} ({text})" if text else found.name


def _differs(one: Fit, best: Fit) -> bool:
    """Whether something else would be said of it."""
    return one.name != best.name or one.candidate.rule.kind in (DOUBT, FAULT)


def _rank(found: Fit) -> tuple[bool, int, int]:
    return found.constant, found.alike, -found.candidate.rule.kind


def _holds_as_much(one: Fit, best: Fit) -> bool:
    """Whether the state speaks for it as much: it holds as many of its numbers, and all, if all of the best."""
    return one.alike >= best.alike and (one.missing == 0 or best.missing > 0)


def _by_name(
    find: Find, rules: Sequence[Rule], measured: Measurements, short: EntryPaths, long: EntryPaths
) -> list[Fit]:
    """What fits exactly, up to the first name that leaves nothing to explain."""
    fits: list[Fit] = []
    for _, alike in groupby(rules, lambda rule: rule.name):
        found = (find(candidate, measured, short, long) for candidate in _candidates(alike, measured))
        fits += [one for one in found if one and _explains(one)]
        if any(map(_is_all, fits)):
            break
    return fits


def _explains(found: Fit) -> bool:
    """Whether the steps are those of the rule; if its learning rate is free, it may look like that of another one."""
    return found.constant if found.candidate.rule.late else found.exact and bool(found.rates.any())


def _is_all(found: Fit) -> bool:
    """Whether a rule of the textbook explains the steps and the state."""
    return found.constant and found.candidate.rule.kind in (FORM, DOUBT) and found.explains_the_state


def _candidates(rules: Iterable[Rule], measured: Measurements) -> Iterator[Candidate]:
    """The rules as they are in textbooks and libraries."""
    for rule in rules:
        for decay in DECAYS if measured.decay else (NOTHING,):
            yield Candidate(rule, decay, NOTHING)


def _mistaken(measured: Measurements, mistakes: Sequence[Change]) -> Iterator[Candidate]:
    """Rules with a mistake, one rule for each name."""
    decays = DECAYS[:2] if measured.decay else (NOTHING,)
    for mistake in mistakes:
        rules = rules_of(measured.power)
        textbook = {rule.name: rule for rule in reversed(rules) if rule.kind == FORM}
        for rule in rules if mistake in LOST else reversed(textbook.values()):
            if mistake.needs in (*rule.parameters, "") and (rule.name in WELL_KNOWN or mistake in COMMON):
                yield from (Candidate(rule, decay, mistake) for decay in decays)


@cache
def rules_of(exponent: float) -> tuple[Rule, ...]:
    """The rules whose first step is proportional to this power of a large gradient."""
    return tuple(rule for rule in RULES if np.array_equal(_power_of(rule), exponent, equal_nan=True))


@cache
def _power_of(rule: Rule) -> float:
    values = defaultdict(lambda: 0.5, eps=1e-8, eps_root=1e-8)
    with np.errstate(all="ignore"):
        one, two = (
            float(rule.recurrence(0.0, np.float64(g), defaultdict(np.float64), 1, 1.0, values))
            for g in (HUGE_GRADIENT, 2 * HUGE_GRADIENT)
        )
    return power(quotient(two, one))


def _is_searched(rule: Rule, measured: Measurements) -> bool:
    """Whether the betas of a rule may not be those measured: it is another function of them, or gradients are small."""
    return not rule.late and (measured.largest < HUGE_GRADIENT or not _shows_its_betas(rule))


@cache
def _shows_its_betas(rule: Rule) -> bool:
    given = {"beta": 0.7, "beta1": 0.7, "beta2": 0.9, "decay": 0.9}
    values = defaultdict(lambda: 0.0, given)
    seconds = []
    with np.errstate(all="ignore"):
        for past in (1e-6, 1.0, -1.0):
            memory: Any = defaultdict(np.float64)
            p = rule.recurrence(0.0, np.float64(past), memory, 1, 1.0, values)
            seconds.append(float(p - rule.recurrence(p, np.float64(1.0), memory, 2, 1.0, values)))
    shown = zip((("beta", "beta1"), ("decay", "beta2")), betas_of(*seconds), strict=True)
    right = [name for names, beta in shown for name in names if math.isclose(given[name], beta, rel_tol=1e-3)]
    return {name for name in rule.parameters if name in FRACTIONS} <= set(right)


def relate(main: Fit | None, measured: Measurements, short: EntryPaths, long: EntryPaths) -> Fit | None:
    """The fit of another entry: the main rule at another rate, the main rule with a mistake, or another rule."""
    if main is None:
        return identify(measured, short, long)
    for mistake in (main.candidate.mistake, *REPEATED, *COUNTED):
        found = compare(main.candidate._replace(mistake=mistake), main.values, long)
        alike = mistake is main.candidate.mistake or math.isclose(found.rates[0], main.rates[0], rel_tol=1e-3)
        if found.constant and alike:
            return found
    return identify(measured, short, long)
