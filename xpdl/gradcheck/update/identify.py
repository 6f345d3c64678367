"""Identify the rule of rules.py that makes the steps of an entry of theta.

First the rules of textbooks and libraries are fitted, then rules with a mistake.  If two rules make the same steps, as
a heavy ball and an average of gradients do, the state tells them apart.
"""

from collections.abc import Iterator, Sequence
import math

from xpdl.gradcheck.update.fit import Candidate, Fit, compare, fit
from xpdl.gradcheck.update.measure import Measurements
from xpdl.gradcheck.update.rules import CLIPPED, COUNTED, DECAYS, FORM, LOST, NOTHING, REPEATED, RULES, Change
from xpdl.gradcheck.update.subject import EntryPaths


def identify(measured: Measurements, short: EntryPaths, long: EntryPaths) -> Fit | None:
    """The fit with a constant learning rate, perhaps with a mistake; if there is none, any fit that is exact."""
    fits = [found for c in _candidates(measured) if (found := fit(c, measured, short, long)) and found.exact]
    if not any(found.constant for found in fits):
        mistakes = LOST + COUNTED if fits else LOST + (CLIPPED,) * (measured.power == 0) + COUNTED + REPEATED
        tries = (fit(c, measured, short, long) for c in _mistaken(measured, mistakes))
        fits += [found for found in [next((found for found in tries if found and found.constant), None)] if found]
    return max(fits, key=lambda found: (found.constant, found.alike), default=None)


def _candidates(measured: Measurements) -> Iterator[Candidate]:
    """The rules of textbooks and libraries."""
    for rule in RULES.get(measured.power, ()):
        for decay in DECAYS if measured.decay else (NOTHING,):
            yield Candidate(rule, decay, NOTHING)


def _mistaken(measured: Measurements, mistakes: Sequence[Change]) -> Iterator[Candidate]:
    """Rules with a mistake, one rule for each name; a rule that clips gradients is linear for small ones."""
    decays = DECAYS[:2] if measured.decay else (NOTHING,)
    for mistake in mistakes:
        rules = RULES.get(1.0 if mistake is CLIPPED else measured.power, ())
        textbook = {rule.name: rule for rule in reversed(rules) if rule.kind == FORM}
        for rule in rules if mistake in LOST else reversed(textbook.values()):
            if mistake.needs in (*rule.parameters, ""):
                yield from (Candidate(rule, decay, mistake) for decay in decays)


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
