"""Layer-wise rules: LAMB and LARS, which scale the step of each layer by the norm of its weights.

All entries of a layer share one unknown rate a step.  So a layer is fitted as the histories of one entry are, with its
entries in their place, by the rule behind the ratio.  Then the rates must be those of a trust ratio.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from xpdl.gradcheck.report import Vector
from xpdl.gradcheck.update.coupling import layers_of
from xpdl.gradcheck.update.fit import Candidate, Fit, compare, fit
from xpdl.gradcheck.update.histories import long_histories, short_histories
from xpdl.gradcheck.update.measure import Measurements, Moved, measure, quotient
from xpdl.gradcheck.update.report import entries
from xpdl.gradcheck.update.rules import DECAYS, DOUBT, FAULT, FORM, NOTHING, RULES, Change
from xpdl.gradcheck.update.subject import EntryPaths, Subject

LEAST = 4
"""The entries of a layer that is analysed: fewer do not fix the rates and the parameters."""
EXACT = 1e-4
"""How much the learning rate behind a ratio may vary: more than the 1e-6 that is often added to a norm."""
SCALES = (1.0, 100.0, 0.01)
"""Sizes of the weights."""


class Norms(NamedTuple):
    """The norms in a layer at each step (T,)."""

    p: Any  # of the weights
    g: Any  # of the gradient
    r: Any  # of the update before the ratio
    a: Any  # of the update without weight decay
    decay: float


class Ratio(NamedTuple):
    """A row of the table: a trust ratio, the rule that it makes, and the finding if it is recognised."""

    name: str
    of: Callable[[Norms], Any]
    kind: int
    finding: str


def _both(of: Callable[[Norms], Any], kind: int, finding: str) -> list[Ratio]:
    return [Ratio(name, of, kind, finding) for name in ("lamb", "lars")]


RATIOS = (
    Ratio("lamb", lambda n: n.p / n.r, FORM, "the trust ratio is |theta| / |update|"),
    Ratio("lars", lambda n: n.p / (n.g + n.decay * n.p), FORM, "the trust ratio is |theta| / (|g| + decay |theta|)"),
    Ratio("lars", lambda n: n.p / n.r, FORM, "the trust ratio is |theta| / |g + decay theta|"),
    *_both(lambda n: n.p / n.a, DOUBT, "weight decay is missing in the trust ratio"),
    Ratio("lamb", lambda n: n.p / n.g, FAULT, "the trust ratio has the norm of the gradient, not of the update"),
    *_both(lambda n: n.r / n.p, FAULT, "the trust ratio is inverted: |update| / |theta|"),
    *_both(lambda n: n.p * n.p / (n.r * n.r), FAULT, "the norms of the trust ratio are squared: their root is missing"),
    *_both(lambda n: (n.p / n.r) ** 0.5, FAULT, "the trust ratio is the root of what it should be"),
    *_both(lambda n: n.p * n.r, FAULT, "the trust ratio multiplies by the norm of the update, and should divide"),
    *_both(lambda n: n.p, FAULT, "the trust ratio is not divided by the norm of the update"),
    *_both(lambda n: 1 / n.r, FAULT, "the norm of theta is missing in the trust ratio"),
)
BEHIND = {"lamb": ("adam",), "lars": ("sgd", "momentum", "nesterov")}
"""The rules that a trust ratio scales."""
OUTSIDE = "weight decay stands outside of the trust ratio"
STUCK = "weights that are all 0 never move: their norm makes the trust ratio 0, where it should be 1"
LIMITED = "the trust ratio is another for weights {:g} times as large: their norm is limited in it"


def trust(
    subject: Subject, links: Vector, steps: int, rng: np.random.Generator
) -> tuple[Fit, list[tuple[int, str]]] | None:
    """The layer-wise rule, and what is to be said of it; None if none is known."""
    layers = sorted(layers_of(links), key=len, reverse=True)
    if len(layers[0]) < LEAST:
        return None
    measured = measure(subject, _beside(subject, layers[0]))
    short = _observe(subject, layers, short_histories(measured))
    runs = [_observe(subject, layers, long_histories(measured, steps, rng), scale) for scale in SCALES]
    best = _best(measured, short[0], runs[0][0])
    if best is None:
        return None
    found, ratio, lr = best
    findings = [*_said(found.candidate, ratio), *_elsewhere(found, ratio, lr, layers, runs)]
    if not np.diff(subject.run(0.0, [min(1.0, measured.largest / 4)]), axis=0)[:, layers[0]].any():
        findings.append((FAULT, STUCK))
    named = found.candidate._replace(rule=found.candidate.rule._replace(name=ratio.name))
    return found._replace(candidate=named, rates=np.full(steps, lr)), findings


def _beside(subject: Subject, layer: Vector) -> Moved:
    """The last step of one entry, relative to that of another entry of its layer, with the gradient 1 and from 0."""
    unit = min(1.0, subject.largest / 4)

    def moved(start: float, *grads: float) -> float:
        theta, gradients = np.ones(subject.size), np.full((len(grads), subject.size), unit)
        theta[layer[:2]], gradients[:, layer[0]] = (start, 0.0), grads
        path = subject.run(theta, gradients)
        step = path[-2] - path[-1]
        return quotient(float(step[layer[0]]), float(step[layer[1]])) * unit

    return moved


def _observe(subject: Subject, layers: list[Vector], histories: list[Any], scale: float = 1.0) -> list[EntryPaths]:
    """The paths in each layer, in one run: its entries get one history after the other, and two of them a weight."""
    start, grads = np.zeros(subject.size), np.zeros((len(histories[0][1]), subject.size))
    for layer in layers:
        for i, entry in enumerate(layer):
            start[entry], grads[:, entry] = histories[i % len(histories)]
        start[layer[-2:]] = 1.0
    theta = subject.run(scale * start, grads)
    return [EntryPaths(grads[:, layer], theta[:, layer], (), subject.u) for layer in layers]


def _best(measured: Measurements, short: EntryPaths, long: EntryPaths) -> tuple[Fit, Ratio, float] | None:
    """The fit, the ratio that explains its rates, and the learning rate: what is least wrong."""
    best: list[tuple[Fit, Ratio, float]] = []
    for candidate in _candidates(measured):
        found = fit(candidate, measured, short, long)
        explained = _explained(found) if found and found.exact else None
        if found and explained:
            best.append((found, *explained))
            if _kind(best[-1]) == FORM:
                break
    return min(best, key=_kind, default=None)


def _kind(found: tuple[Fit, Ratio, float]) -> int:
    return max(found[1].kind, *(part.kind for part in found[0].candidate))


def _candidates(measured: Measurements) -> Iterator[Candidate]:
    """The rules behind a ratio, those without a mistake first; of plain SGD, decay may be added to gradient or step."""
    names = BEHIND["lamb"] if measured.power == 0 else BEHIND["lars"]
    for rule in sorted((rule for rule in RULES if rule.name in names), key=lambda rule: rule.kind):
        for decay in _decays(rule.name) if measured.decay else (NOTHING,):
            yield Candidate(rule, decay, NOTHING)


def _decays(name: str) -> tuple[Change, ...]:
    inside, coupled, outside = DECAYS
    within = (inside, coupled) if name in BEHIND["lamb"] else (coupled,)
    return (*(change._replace(kind=FORM) for change in within), outside._replace(kind=FAULT, finding=OUTSIDE))


def _norms(found: Fit) -> Norms:
    p, g, decay = found.long.theta[:-1], found.long.grads, found.values["weight_decay"]
    where = found.candidate.decay.finding
    r = g + decay * p
    if found.candidate.rule.name in BEHIND["lamb"]:
        r = (p - found.reference - decay * p * (where == OUTSIDE)) / found.rates[:, None]
    elif where == OUTSIDE:
        r = g
    a = r - decay * p * (where != OUTSIDE)
    return Norms(*(np.sqrt(np.sum(x * x, axis=1)) for x in (p, g, r, a)), decay * (where != OUTSIDE))


def _explained(found: Fit, ratios: tuple[Ratio, ...] = RATIOS) -> tuple[Ratio, float] | None:
    """The ratio behind which the learning rate varies least, the first among equals, and that rate."""
    name = next(name for name, behind in BEHIND.items() if found.candidate.rule.name in behind)
    norms, bar = _norms(found), max(EXACT, 3 * found.long.tolerance)
    rates = [(ratio, found.rates / ratio.of(norms)) for ratio in ratios if ratio.name == name]
    spreads = [(float(np.ptp(rate) / abs(np.median(rate))), ratio, float(np.median(rate))) for ratio, rate in rates]
    least = min(spread for spread, _, _ in spreads if np.isfinite(spread))
    return next(
        ((ratio, lr) for spread, ratio, lr in spreads if spread <= min(bar, 2 * least + found.long.u**0.5)), None
    )


def _said(candidate: Candidate, ratio: Ratio) -> Iterator[tuple[int, str]]:
    yield ratio.kind, ratio.finding
    yield from ((part.kind, part.finding) for part in candidate if part.finding)


def _elsewhere(
    found: Fit, ratio: Ratio, lr: float, layers: list[Vector], runs: list[list[EntryPaths]]
) -> Iterator[tuple[int, str]]:
    """What is different in other layers, and with larger and smaller weights."""
    bar = max(EXACT, 3 * found.long.tolerance)

    def rate(long: EntryPaths) -> float:
        """The learning rate behind the ratio, relative to the expected one; NaN if another rule is followed."""
        other = compare(found.candidate, found.values, long)
        explained = _explained(other, (ratio,)) if other.exact else None
        return explained[1] / lr if explained else np.nan

    for layer, long in zip(layers[1:], runs[0][1:], strict=True):
        if not abs(rate(long) - 1) <= bar:
            plain = [compare(found.candidate._replace(decay=decay), found.values, long) for decay in (NOTHING, *DECAYS)]
            free = any(one.constant for one in plain)
            kind, text = (
                (FORM, "no trust ratio") if free else (DOUBT, f"move by another rule, at {rate(long):.6g} times")
            )
            yield kind, f"{entries(layer)}: {text}"
    for scale, (long, *_) in zip(SCALES[1:], runs[1:], strict=True):
        if abs(rate(long) - 1) > bar:
            yield FORM, LIMITED.format(scale)
