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

from xpdl.gradcheck.update.fit import FRACTIONS, Candidate, Fit, compare, fit, search
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

CLOSER = 30
"""A rule that fits so many times closer is preferred: in float32, AMSGrad with a slow second moment is almost Adam."""
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
    closer = [found for found in fits if best and _rank(found) == _rank(best) and CLOSER * found.error < best.error]
    best = min(closer, key=lambda found: found.error, default=best)
    if best is None or best.candidate.rule.kind == FAULT or _is_all(best):
        return best
    rivals = (one.name for one in fits if one.constant and one.candidate.rule.kind == FORM and one.error < best.error)
    return best._replace(rival=next((name for name in rivals if name != best.name), ""))


def _rank(found: Fit) -> tuple[bool, int, int]:
    return found.constant, found.alike, -found.candidate.rule.kind


def _by_name(
    find: Find, rules: Sequence[Rule], measured: Measurements, short: EntryPaths, long: EntryPaths
) -> list[Fit]:
    """What fits exactly, up to the first name that leaves nothing to explain."""
    fits: list[Fit] = []
    for _, alike in groupby(rules, lambda rule: rule.name):
        found = (find(candidate, measured, short, long) for candidate in _candidates(alike, measured))
        fits += [one for one in found if one and one.exact and one.rates.any()]
        if any(map(_is_all, fits)):
            break
    return fits


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
    return measured.largest < HUGE_GRADIENT or not _shows_its_betas(rule)


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
