"""``diagnose``: the simplest causes of a wrong tensor that its derivatives bear out."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import numpy as np

from xpdl.gradcheck.function.causes.blocks import block
from xpdl.gradcheck.function.causes.evidence import Evidence, Hypothesis
from xpdl.gradcheck.function.causes.lines import moved, own_factors, own_multiples, own_offsets, spread
from xpdl.gradcheck.function.causes.orders import orders, permuted
from xpdl.gradcheck.function.causes.parts import part, place_only
from xpdl.gradcheck.function.causes.places import place_of
from xpdl.gradcheck.function.causes.wholes import (
    EXACT,
    FREE,
    Family,
    factor,
    factor_meanings,
    factor_text,
    functions_of_theta,
    lengths,
    products,
    same_as_another,
    summed,
)

ALTERNATIVES = 3
"""The most causes that are named beside each other because they fit equally well."""


def diagnose(evidence: Evidence) -> str | None:
    """What is wrong; or None."""
    with np.errstate(all="ignore"):
        plain = _plain(evidence)
        if plain is not None or _hidden(evidence):
            return plain
        return next(filter(None, (level(evidence) for level in LEVELS)), None)


def _plain(evidence: Evidence) -> str | None:
    """What the claim shows alone."""
    bad = ~np.isfinite(evidence.claim)
    if np.any(bad):
        place = place_of(bad, np.ones_like(bad), evidence.theta, np.zeros_like(evidence.claim))
        return "not finite" if place is None or "[" in place else f"not finite in {place}"
    return None if np.any(evidence.claim) else "all zero"


def _hidden(evidence: Evidence) -> bool:
    """Whether nothing is seen of the gradient but that it is small: 0 has no factor, and no order."""
    value, bar, *_ = evidence.columns
    return bool(np.all(np.abs(value) <= bar))


def _fitting(*families: Family) -> Callable[[Evidence], str | None]:
    """All hypotheses of some families that are borne out; they fit equally well."""

    def level(evidence: Evidence) -> str | None:
        hypotheses = chain.from_iterable(family(evidence) for family in families)
        texts = list(dict.fromkeys(filter(None, map(evidence.explains, hypotheses))))
        return ", or ".join(texts[:ALTERNATIVES]) or None

    return level


def _first(*families: Family) -> Callable[[Evidence], str | None]:
    """The first hypothesis that is borne out."""

    def level(evidence: Evidence) -> str | None:
        hypotheses = chain.from_iterable(family(evidence) for family in families)
        return next(filter(None, map(evidence.explains, hypotheses)), None)

    return level


LEVELS: Sequence[Callable[[Evidence], str | None]] = (
    _fitting(*EXACT, orders),
    _fitting(*FREE),
    part,
    block,
    spread,
    moved,
    _first(summed, products, functions_of_theta),
    _first(own_factors, own_offsets, own_multiples),
    same_as_another,
    _first(permuted),
    place_only,
)
"""From simple to complex: what is left to chance grows from level to level."""


# All tensors


def common_factor(tensors: Sequence[Evidence]) -> str | None:
    """The factor of all these tensors, if it is the same."""
    finite = all(np.all(np.isfinite(evidence.claim)) for evidence in tensors)
    if len(tensors) < 2 or not finite or any(_hidden(evidence) for evidence in tensors):
        return None
    with np.errstate(all="ignore"):
        joint = _joint(tensors)
        named = (Hypothesis(factor_text(c, text), joint.claim / c) for c, text in _shared_meanings(tensors))
        return next(filter(None, map(joint.explains, chain(named, factor(joint)))), None)


def _shared_meanings(tensors: Sequence[Evidence]) -> Iterator[tuple[float, str]]:
    """Factors that have a meaning for each of the tensors."""
    shared = set.intersection(*(set(lengths(evidence)) for evidence in tensors))
    return factor_meanings(dict.fromkeys(sorted(shared), "the length of an axis"))


def _joint(tensors: Sequence[Evidence]) -> Evidence:
    """The derivatives of all tensors as those of one vector."""
    claims = np.concatenate([evidence.along(evidence.claim) for evidence in tensors])
    derivatives = [found for evidence in tensors for found in evidence.derivatives]
    return Evidence(claims, np.zeros_like(claims), np.ones_like(claims), derivatives)
