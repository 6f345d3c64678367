"""Layer-wise rules: LAMB and LARS, which scale the step of each layer by the norm of its weights.

All entries of a layer share one unknown rate a step.  So a layer is fitted as the histories of one entry are, with its
entries in their place, by the rule behind the ratio.  Then the rates must be those of a trust ratio.
"""

from collections.abc import Callable, Iterator, Sequence
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


SHAPES: tuple[tuple[Callable[[Any, Any], Any], int, str], ...] = (
    (lambda p, r: p / r, FORM, "the trust ratio is |theta| / {}"),
    (lambda p, r: r / p, FAULT, "the trust ratio is inverted: {} / |theta|"),
    (lambda p, r: (p / r) ** 2, FAULT, "the norms of the trust ratio |theta| / {} are squared: their root is missing"),
    (lambda p, r: (p / r) ** 0.5, FAULT, "the trust ratio is the root of |theta| / {}"),
    (lambda p, r: p * r, FAULT, "the trust ratio is |theta| times {}, which should divide it"),
    (lambda p, r: p, FAULT, "the trust ratio is |theta|, which is not divided by {}"),
    (lambda p, r: 1 / r, FAULT, "the trust ratio is 1 / {}: |theta| is missing"),
)
DIVISORS: tuple[tuple[str, Callable[[Norms], Any], int, str], ...] = (
    ("lamb", lambda n: n.r, FORM, "|update|"),
    ("lars", lambda n: n.g + n.decay * n.p, FORM, "(|g| + weight_decay |theta|)"),
    ("lars", lambda n: n.r, FORM, "|g + weight_decay theta|"),
    ("lamb", lambda n: n.a, DOUBT, "|update|, without its weight decay"),
    ("lars", lambda n: n.a, DOUBT, "|g|, without weight decay"),
    ("lamb", lambda n: n.g, FAULT, "|g|, the gradient and not the update"),
)


def _ratio(shape: Any, divisor: Any) -> Ratio:
    (of, kind, text), (name, norm, other, words) = shape, divisor
    return Ratio(name, lambda n: of(n.p, norm(n)), max(kind, other), text.format(words))


RATIOS = tuple(_ratio(shape, divisor) for shape in SHAPES for divisor in DIVISORS)
BEHIND = {"lamb": ("adam",), "lars": ("sgd", "momentum", "nesterov")}
"""The rules that a trust ratio scales."""
INSIDE = "weight decay is added to the {}, inside of the trust ratio"
OUTSIDE = "weight decay stands outside of the trust ratio"
FREE = "no trust ratio"
FASTER = "move {:.6g} times as far as the rest: another learning rate, or applied more than once a step"
UNKNOWN = "updated by another rule than the rest, an unknown one"
STUCK = "weights that are all 0 never move: their norm makes the trust ratio 0, where it should be 1"
LIMITED = "the trust ratio is another for weights {:g} times as large: their norm is limited in it"


class Layerwise(NamedTuple):
    """A fit of the largest layer, and the ratio and the learning rate that explain its rates."""

    fit: Fit
    ratio: Ratio
    lr: float
    limited: tuple[float, ...]  # sizes of weights at which they do not

    @property
    def kind(self) -> int:
        """The worst of what there is to say."""
        return max(self.ratio.kind, *(part.kind for part in self.fit.candidate))

    def findings(self) -> Iterator[tuple[int, str]]:
        """Yield what there is to say."""
        yield self.ratio.kind, self.ratio.finding
        yield from ((part.kind, part.finding) for part in self.fit.candidate if part.finding)
        yield from ((FORM, LIMITED.format(scale)) for scale in self.limited)


def trust(
    subject: Subject, links: Vector, steps: int, rng: np.random.Generator
) -> tuple[Fit, list[tuple[int, str]]] | None:
    """The layer-wise rule, and what is to be said of it; None if none is known."""
    layers = sorted(layers_of(links), key=len, reverse=True)
    if len(layers[0]) < LEAST:
        return None
    measured = measure(subject, _beside(subject, layers[0]), relative=True)
    short = _observe(subject, layers, short_histories(measured))[0]
    runs = [_observe(subject, layers, long_histories(measured, steps, rng), scale) for scale in SCALES]
    main = _best(measured, short, [run[0] for run in runs])
    if main is None:
        return None
    findings = [*main.findings(), *_elsewhere(main, layers, runs[0])]
    if not np.diff(subject.run(0.0, [min(1.0, subject.largest / 4)]), axis=0)[:, layers[0]].any():
        findings.append((DOUBT, STUCK))
    named = main.fit.candidate._replace(rule=main.fit.candidate.rule._replace(name=main.ratio.name))
    return main.fit._replace(candidate=named, rates=np.full(steps, main.lr)), findings


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


def _best(measured: Measurements, short: EntryPaths, runs: list[EntryPaths]) -> Layerwise | None:
    """What explains the layer with the least to be said against it."""
    best: list[Layerwise] = []
    for candidate in _candidates(measured):
        found = fit(candidate, measured, short, runs[0])
        fits = [found, *(compare(candidate, found.values, run) for run in runs[1:])] if found else []
        sets = ((fits, ()), (fits[:2], SCALES[2:]), (fits[::2], SCALES[1:2])) if fits else ()
        explained = ((_explained(some), limited) for some, limited in sets)
        best += [Layerwise(fits[0], *one, limited) for one, limited in explained if one][:1]
        if best and best[-1].kind == FORM:
            break
    return min(best, key=lambda one: one.kind, default=None)


def _candidates(measured: Measurements) -> Iterator[Candidate]:
    """The rules behind a ratio, those without a mistake first; of plain SGD, decay may be added to gradient or step."""
    names = BEHIND["lamb"] if measured.power == 0 else BEHIND["lars"]
    for rule in sorted((rule for rule in RULES if rule.name in names), key=lambda rule: rule.kind):
        for decay in _decays(rule.name) if measured.decay else (NOTHING,):
            yield Candidate(rule, decay, NOTHING)


def _decays(name: str) -> tuple[Change, ...]:
    """How weights may decay: inside of the ratio, with LAMB also through the moments, or outside of it."""
    inside, coupled, outside = DECAYS
    outside = outside._replace(kind=FAULT, finding=OUTSIDE)
    if name in BEHIND["lamb"]:
        return inside._replace(finding=INSIDE.format("update")), coupled, outside
    return coupled._replace(kind=FORM, finding=INSIDE.format("gradient")), outside


def _norms(found: Fit) -> Norms:
    p, g, decay = found.long.theta[:-1], found.long.grads, found.values["weight_decay"]
    where = found.candidate.decay.finding
    r = g + decay * p
    if found.candidate.rule.name in BEHIND["lamb"]:
        r = (p - found.reference - decay * p * (where == OUTSIDE)) / found.rates[:, None]
    elif where == OUTSIDE:
        r = g
    a = r - decay * p * (where != OUTSIDE)
    p, g, r, a = (np.sqrt(np.sum(x * x, axis=1)) for x in (p, g, r, a))
    return Norms(p, g, r, a, decay * (where != OUTSIDE))


def _explained(fits: Sequence[Fit], ratios: Sequence[Ratio] = RATIOS) -> tuple[Ratio, float] | None:
    """The ratio behind which the learning rate varies least, the first among equals, and that rate."""
    if not all(found.error <= found.long.tolerance for found in fits):
        return None
    rates = []
    for ratio in ratios:
        if fits[0].candidate.rule.name in BEHIND[ratio.name]:
            rates.append((ratio, np.concatenate([found.rates / ratio.of(_norms(found)) for found in fits])))
    spreads = [(float(np.ptp(rate) / abs(np.median(rate))), ratio, float(np.median(rate))) for ratio, rate in rates]
    least = min((spread for spread, _, _ in spreads if np.isfinite(spread)), default=np.inf)
    bar = min(_bar(fits[0]), 2 * least + fits[0].long.u ** 0.5)
    return next(((ratio, lr) for spread, ratio, lr in spreads if spread <= bar), None)


def _bar(found: Fit) -> float:
    """How much a learning rate may vary."""
    return max(EXACT, 3 * found.long.tolerance)


def _elsewhere(main: Layerwise, layers: list[Vector], paths: list[EntryPaths]) -> Iterator[tuple[int, str]]:
    """What is different in other layers."""
    candidate, values = main.fit.candidate, main.fit.values
    others: dict[tuple[int, str], list[int]] = {}
    for layer, long in zip(layers[1:], paths[1:], strict=True):
        explained = _explained([compare(candidate, values, long)], (main.ratio,))
        times = explained[1] / main.lr if explained else np.nan
        if not abs(times - 1) <= _bar(main.fit):
            free = (compare(candidate._replace(decay=decay), values, long).steady for decay in (NOTHING, *DECAYS))
            other = (FAULT, FASTER.format(times)) if explained else (DOUBT, UNKNOWN)
            others.setdefault((FORM, FREE) if any(free) else other, []).extend(layer)
    yield from ((kind, f"{entries(np.sort(group))}: {text}") for (kind, text), group in others.items())
