"""``Case``: one tensor under test, the slopes measured in it, and the verdict if these are the slopes of entries."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
import math

import numpy as np

from xpdl.gradcheck.function.causes import diagnose
from xpdl.gradcheck.function.methods import Slope, best_central, central, complex_step, relative_bar
from xpdl.gradcheck.function.probe import NotAnalyticError, Probe
from xpdl.gradcheck.function.trust import second_look, verify
from xpdl.gradcheck.report import FAIL, INCONCLUSIVE, PASS, Parameter, Vector, judge
from xpdl.progress import Reporter

SMALL = 256
"""Tensors of so many entries are checked entry by entry."""
NAMED = 8
"""Entries that are named."""
LARGE = 1e-3
"""A difference that is not left unexplained."""
HIDES = 1e-7
"""A relative bar that is worth trying other steps for."""


@dataclass(frozen=True)
class Directions:
    """The rows of ``signs`` (K, size), or if that is None every unit vector."""

    size: int
    signs: Vector | None = None

    def __len__(self) -> int:
        return self.size if self.signs is None else len(self.signs)

    def __iter__(self) -> Iterator[Vector]:
        return map(self.row, range(len(self)))

    def row(self, k: int) -> Vector:
        """Direction k, (size,)."""
        return unit(self.size, k) if self.signs is None else self.signs[k]

    def observe(self, natural: Vector) -> Vector:
        """The products of a natural gradient with every direction, (K,)."""
        with np.errstate(invalid="ignore"):
            return natural if self.signs is None else self.signs @ natural


def unit(size: int, k: int) -> Vector:
    """The unit vector of entry k."""
    vector = np.zeros(size)
    vector[k] = 1.0
    return vector


class Case:
    """One tensor under test; ``natural`` is its gradient in natural units, (size,)."""

    def __init__(self, probe: Probe, name: str, gradient: Vector, directions: Directions) -> None:
        self.probe, self.name, self.gradient, self.directions = probe, name, gradient, directions
        self.scale = probe.scale[name].ravel()
        self.natural = gradient.ravel() * self.scale
        self.method = "central"
        self.reason: str | None = None  # why it is not the complex step
        self.slopes: list[Slope] = []
        self.kinks: dict[int, str] = {}  # places, and what was accepted there
        self.jumps: list[int] = []  # places where the function jumps

    @property
    def entrywise(self) -> bool:
        """Whether directions are entries."""
        return self.directions.signs is None

    def index(self, place: int) -> tuple[int, ...]:
        """Where in the tensor a place in the flat tensor is."""
        return tuple(int(i) for i in np.unravel_index(place, self.gradient.shape))

    def claims(self) -> Vector:
        """What the gradient under test says the slopes are."""
        return self.directions.observe(self.natural)

    def columns(self) -> list[Vector]:
        """The values, bars, lower and upper ends of the slopes, each (K,)."""
        return [np.array(column) for column in zip(*(slope[:4] for slope in self.slopes), strict=True)]

    def pair(self, *, natural: bool) -> tuple[Vector, Vector]:
        """The gradients under test and by slopes, to compare their norms: by entries, or by slopes along directions."""
        weight = 1.0 if self.entrywise else 1 / math.sqrt(len(self.slopes))
        unit = 1.0 if natural else self.scale
        return self.claims() * weight / unit, self.columns()[0] * weight / unit

    # Measuring

    def measure(self, method: str, reporter: Reporter) -> None:
        """The slopes along all directions: by the complex step if it is seen to be a derivative along three of them."""
        if method != "central":
            trials = [self.probe.signs(self.name) for _ in range(3)]
            self._decide(verify(self.probe, self.name, trials), required=method == "complex")
        try:
            self._measure_all(reporter)
        except NotAnalyticError as error:
            self._decide(str(error), required=method == "complex")
            self._measure_all(reporter)

    def _decide(self, reason: str | None, *, required: bool) -> None:
        if reason is not None and required:
            raise ValueError(f"method 'complex' is not possible for {self.name}: fun of complex numbers {reason}")
        self.method, self.reason = "complex" if reason is None else "central", reason

    def _measure_all(self, reporter: Reporter) -> None:
        self.slopes = []
        for d in self.directions:
            self.slopes.append(self.slope(d))
            reporter.advance(1)
        if not self.entrywise:  # one of them may be small by chance
            least = relative_bar(self.probe) * float(np.median(np.abs(self.columns()[0])))
            self.slopes = [slope._replace(bar=max(slope.bar, least)) for slope in self.slopes]

    def slope(self, d: Vector) -> Slope:
        """The slope along d by the method of this tensor."""
        if self.method == "complex":
            return complex_step(self.probe, self.name, d)
        if self.entrywise:
            return central(self.probe, self.name, d).slope(kink=False)
        return best_central(self.probe, self.name, d)[0].slope(kink=False)

    def again(self, d: Vector, claim: float, slope: Slope) -> Slope:
        """The slope along d by all methods, before anything is accused."""
        return second_look(self.probe, self.name, d, claim, slope, self.method)

    def entry_again(self, place: int, claim: float, slope: Slope) -> Slope:
        """The slope of an entry by all methods, and a note if it is at a kink that excuses the claim."""
        slope = self.again(unit(self.natural.size, place), claim, slope)
        if slope.kink and slope.bars(claim) > 1 and not slope.misses(claim):
            low, value, high = (float(x / self.scale[place]) for x in (slope.low, claim, slope.high))
            self.kinks[place] = f"{list(self.index(place))} {value:.6g} in [{low:.6g}, {high:.6g}]"
        if slope.jumps:
            self.jumps.append(place)
        return slope

    # Judging

    def judged_entries(self) -> Parameter:
        """The verdict, after a second look at entries that miss their slope, and at those whose bar would hide much."""
        hides = HIDES if self.directions.size <= SMALL else 1.0
        for k, claim in enumerate(self.claims().tolist()):
            slope = self.slopes[k]
            wide = self.method == "central" and slope.bar > hides * max(abs(claim), abs(slope.value)) > 0
            if math.isfinite(claim) and (wide or slope.misses(claim)):
                self.slopes[k] = self.entry_again(k, claim, slope)
        value, bar, low, high = ((column / self.scale).reshape(self.gradient.shape) for column in self.columns())
        parameter = judge(self.name, self.gradient, value, bar, between=(low, high))
        if parameter.verdict != FAIL:
            return self.certain(parameter)
        wrong = [k for k, claim in enumerate(self.claims().tolist()) if self.slopes[k].misses(claim)]
        cause = diagnose(self.gradient, self.scale, self.directions.observe, self.slopes)
        return replace(parameter, diagnosis=cause or self.some(wrong))

    def certain(self, parameter: Parameter) -> Parameter:
        """The same, but inconclusive if the function jumps, at theta or in steps that hide entries."""
        jumps = any(slope.jumps for slope in self.slopes) or (self.probe.quantum and parameter.unseen)
        return replace(parameter, verdict=INCONCLUSIVE) if jumps and parameter.verdict == PASS else parameter

    def some(self, places: list[int], quantity: str = "only") -> str | None:
        """Which entries are wrong, if they are few."""
        if 2 * len(places) > self.natural.size:
            return None
        named = ", ".join(str(list(self.index(place))) for place in places[:NAMED])
        more = ", ..." if len(places) > NAMED else ""
        return f"{quantity} {len(places)} of {self.natural.size} entries wrong: {named}{more}"

    def notes(self) -> list[str]:
        """What else is to be said of this tensor."""
        notes = []
        if self.reason:
            notes.append(f"{self.name}: central differences, as fun of complex numbers {self.reason}")
        if self.kinks:
            shown = list(self.kinks.values())[:3]
            text = f"{len(self.kinks)} at a kink, accepted between one-sided derivatives: {', '.join(shown)}"
            notes.append(f"{self.name}: {text}{', ...' if len(self.kinks) > len(shown) else ''}")
        if any(slope.jumps for slope in self.slopes):
            named = ", ".join(str(list(self.index(place))) for place in self.jumps[:NAMED])
            more = ", ..." if len(self.jumps) > NAMED else ""
            notes.append(f"{self.name}: fun jumps at theta or is infinitely steep{named and ': '}{named}{more}")
        return notes

    def excuse(self, parameter: Parameter) -> list[str]:
        """Why the tensor passes although its difference is large."""
        if parameter.verdict != PASS or not parameter.difference > LARGE:
            return []
        reason = f"{parameter.unseen} of {parameter.bar.size} are below their error bars, {len(self.kinks)} at a kink"
        return [f"{self.name}: passes with a difference of {parameter.difference:.1e}: {reason}"]
