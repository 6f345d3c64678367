"""``TensorCheck``: one tensor under test, its directional derivatives, and the verdict on each of its entries."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
import math
from types import MappingProxyType

import numpy as np

from xpdl.gradcheck.function.causes import Evidence, diagnose
from xpdl.gradcheck.function.directional import (
    NOWHERE,
    DirectionalDerivative,
    best_difference,
    central,
    complex_step,
    has_room,
    relative_bar,
)
from xpdl.gradcheck.function.nearby import Nearby
from xpdl.gradcheck.function.probe import ROUNDINGS, SPREAD, NotAnalyticError, Probe, Tensors
from xpdl.gradcheck.function.together import Contradiction
from xpdl.gradcheck.function.tolerance import Tolerance
from xpdl.gradcheck.function.trust import second_look, verify
from xpdl.gradcheck.report import FAIL, INCONCLUSIVE, PASS, Parameter, Vector, judge
from xpdl.progress import Reporter

SMALL = 256
"""Tensors of up to this many entries are checked entry by entry."""
NAMED = 8
"""The largest number of entries that a message names."""
LARGE = 1e-3
"""If a tensor passes with a larger difference than this, a note explains why."""
HIDES = 1e-7
"""If the bar is a larger part of the value than this, other steps are tried."""


@dataclass(frozen=True)
class Directions:
    """The rows of ``signs`` (K, size), or every unit vector if that is None."""

    size: int
    signs: Vector | None = None

    def __len__(self) -> int:
        return self.size if self.signs is None else len(self.signs)

    def __iter__(self) -> Iterator[Vector]:
        return map(self.row, range(len(self)))

    def row(self, k: int) -> Vector:
        """Direction k, (size,)."""
        return unit(self.size, k) if self.signs is None else self.signs[k]

    def project(self, natural: Vector) -> Vector:
        """The products of a gradient in natural units with every direction, (K,)."""
        with np.errstate(invalid="ignore"):
            return natural if self.signs is None else self.signs @ natural


def unit(size: int, k: int) -> Vector:
    """The unit vector of entry k."""
    vector = np.zeros(size)
    vector[k] = 1.0
    return vector


class TensorCheck:
    """One tensor under test; ``natural`` is its gradient in natural units, (size,).

    A position is the place of an entry in the flat tensor.  ``spread`` is how far the gradient differs from call to
    call, which is rounding at most.  ``gradients`` are those of all tensors: one may have been taken for another.
    """

    def __init__(
        self,
        probe: Probe,
        name: str,
        gradient: Vector,
        directions: Directions,
        spread: Vector | float = 0.0,
        gradients: Tensors = MappingProxyType({}),
    ) -> None:
        self.probe, self.name, self.gradient, self.directions = probe, name, gradient, directions
        self.scale = probe.scale[name].ravel()
        self.natural = gradient.ravel() * self.scale
        self.spread = np.ravel(spread) * self.scale
        self.others = {other: g for other, g in gradients.items() if other != name}
        self.varies = bool(np.any(self.spread))
        self.method = "central"
        self.narrow = False  # whether theta is at the edge of where the function is defined
        self.reason: str | None = None  # why it is not the complex step
        self.derivatives: list[DirectionalDerivative] = []  # along each direction
        self.first: list[DirectionalDerivative] = []  # the same at the first look
        self.tolerance: Tolerance | None = None
        self.kinks: dict[int, str] = {}  # position -> what was accepted there
        self.unsettled = False  # whether a claim is neither a derivative at a kink nor clearly none
        self.jumps: list[int] = []  # positions where the function jumps
        self.hidden: int | None = None  # a direction of which nothing is known, in a tensor that would pass

    @property
    def entrywise(self) -> bool:
        """Whether each direction is an entry."""
        return self.directions.signs is None

    def index(self, position: int) -> tuple[int, ...]:
        """The index of a position."""
        return tuple(int(i) for i in np.unravel_index(position, self.gradient.shape))

    def claims(self) -> Vector:
        """The directional derivatives according to the gradient under test."""
        return self.directions.project(self.natural)

    def columns(self) -> list[Vector]:
        """The values, bars, lower and upper ends of the directional derivatives, each (K,)."""
        rows = (derivative[:4] for derivative in self.derivatives)
        return [np.array(column) for column in zip(*rows, strict=True)]

    def for_norms(self, *, natural: bool) -> tuple[Vector, Vector]:
        """The gradient under test and the numeric one, whose norms are compared: by entries or along directions."""
        directions = 1 if self.entrywise else len(self.derivatives)
        unit = math.sqrt(directions) if natural else self.scale
        return self.claims() / unit, self.columns()[0] / unit

    # Measuring

    def measure(self, method: str, reporter: Reporter) -> None:
        """Find the derivatives along all directions.

        The complex step is used if it proves to be a derivative along three random directions.
        """
        fixed = np.random.default_rng(0).choice(np.array([-1.0, 1.0]), (3, self.natural.size))
        self.narrow = not all(has_room(self.probe, self.name, d) for d in fixed)
        if self.narrow and not self.entrywise:
            rows = [self.probe.inward(self.name, row, all_at_once=k == 0) for k, row in enumerate(self.directions)]
            self.directions = Directions(self.natural.size, np.stack(rows))
        if method != "central":
            trials = [self.probe.signs(self.name) for _ in range(3)]
            if self.narrow:
                trials = [self.probe.inward(self.name, d) for d in trials]
            self._decide(verify(self.probe, self.name, trials), required=method == "complex")
        try:
            self._measure_all(reporter)
        except NotAnalyticError as error:
            self._decide(str(error), required=method == "complex")
            self._measure_all(reporter)

    def _decide(self, reason: str | None, *, required: bool) -> None:
        if reason is not None and required:
            raise ValueError(f"method 'complex' is not possible for {self.name}: for complex numbers fun {reason}")
        self.method, self.reason = "complex" if reason is None else "central", reason

    def _measure_all(self, reporter: Reporter) -> None:
        self.derivatives = []
        for d in self.directions:
            self.derivatives.append(self.along(d))
            reporter.advance(1)
        if not self.entrywise:  # one of them may be small by chance
            least = relative_bar(self.probe) * float(np.median(np.abs(self.columns()[0])))
            self.derivatives = [found._replace(bar=max(found.bar, least)) for found in self.derivatives]
        self.first = list(self.derivatives)

    def along(self, d: Vector) -> DirectionalDerivative:
        """The derivative along d by the method of this tensor."""
        found = self._along(d)
        return self.allowed(d, found.widened(self._spread_along(d)) if self.varies else found)

    def allowed(self, d: Vector, found: DirectionalDerivative) -> DirectionalDerivative:
        """The same derivative, with the tolerance in its bar."""
        extra = self.tolerance.along(d, found.value) if self.tolerance else 0.0
        return found._replace(bar=found.bar + extra)

    def _spread_along(self, d: Vector) -> float:
        return float(np.sum(np.abs(d * self.spread)))

    def _along(self, d: Vector) -> DirectionalDerivative:
        if not np.any(d):  # the part of a direction in which no entry moves
            return DirectionalDerivative(0.0, 0.0, 0.0, 0.0)
        if self.narrow and not has_room(self.probe, self.name, d):
            return NOWHERE.derivative(kink=False)
        if self.method == "complex":
            return complex_step(self.probe, self.name, d)
        if self.entrywise:
            found = central(self.probe, self.name, d)
            finer = found.noise * (16 if self.probe.noise_of_claims else 1)  # it may seem to contradict this step
            return found.derivative(kink=False)._replace(other_steps=found.jump + finer)
        found, kink = best_difference(self.probe, self.name, d)
        return found.derivative(kink=False)._replace(other_steps=found.jump if kink else 0.0)

    def granted(self, position: int) -> float:
        """What the tolerance grants to one claim."""
        d = unit(self.natural.size, position)
        return self.tolerance.along(d, float(self.natural[position])) if self.tolerance else 0.0

    def again(self, d: Vector, claim: float, found: DirectionalDerivative) -> DirectionalDerivative:
        """The derivative along d by all methods, before anything is called wrong."""
        if self.narrow and not has_room(self.probe, self.name, d):
            return found
        found = second_look(self.probe, self.name, d, claim, found, self.method)
        return self.allowed(d, found.widened(self._spread_along(d)))

    def entry_again(self, position: int, claim: float, found: DirectionalDerivative) -> DirectionalDerivative:
        """The derivative of an entry by all methods.  A kink that excuses the claim is noted, and so is a jump."""
        found = self.finally_along(unit(self.natural.size, position), claim, found)
        if found.kink and found.bars(claim) > 1 and not found.misses(claim):
            low, value, high = (float(x / self.scale[position]) for x in (found.low, claim, found.high))
            self.kinks[position] = f"{list(self.index(position))} {value:.6g} in [{low:.6g}, {high:.6g}]"
        if found.jumps:
            self.jumps.append(position)
        return found

    def finally_along(self, d: Vector, claim: float, found: DirectionalDerivative) -> DirectionalDerivative:
        """The derivative of an entry along d after all looks."""
        found = self.again(d, claim, found)
        return self.beside(d, claim, found) if found.misses(claim) else found

    def beside(self, d: Vector, claim: float, found: DirectionalDerivative) -> DirectionalDerivative:
        """The derivative along d with all that fun has near theta, if the line through theta does not show it."""
        near = self.nearby.along({self.name: d}) if self.nearby.kinked else None
        if near is None:
            return found
        more = near.low < found.low - near.slack or near.high > found.high + near.slack
        if not more and not (near.between and self.mixed):
            return found
        if more and near.holds(claim):
            return found._replace(low=min(near.low, found.low, claim), high=max(near.high, found.high, claim))
        self.unsettled = self.unsettled or near.may_hold(claim)
        return found._replace(bar=math.inf) if near.may_hold(claim) else found

    @cached_property
    def nearby(self) -> Nearby:
        """Derivatives near theta."""
        return Nearby(self.probe)

    @cached_property
    def mixed(self) -> bool:
        """Whether fun is neither convex nor concave around theta."""
        return self.nearby.mixed()

    # Judging

    def judged_entries(self) -> Parameter:
        """The verdict, after a second look at the entries that need one."""
        self._look_again()
        return self._verdict()

    def judged_with(self, tolerance: Tolerance) -> Parameter:
        """The verdict on each entry, after all looks, with a tolerance."""
        self.tolerance = tolerance
        self.derivatives = [self.allowed(d, found) for d, found in zip(self.directions, self.derivatives, strict=True)]
        return self._verdict()

    def _verdict(self) -> Parameter:
        value, bar, low, high = ((column / self.scale).reshape(self.gradient.shape) for column in self.columns())
        parameter = judge(self.name, self.gradient, value, bar, between=(low, high))
        if parameter.verdict != FAIL:
            return self.certain(parameter)
        wrong = [k for k, claim in enumerate(self.claims().tolist()) if self.derivatives[k].misses(claim)]
        return replace(parameter, diagnosis=self.cause() or self.some(wrong))

    def failed_together(self, parameter: Parameter, places: list[int], found: Contradiction) -> Parameter:
        """FAIL, because entries at a kink cannot be right together; INCONCLUSIVE if that is not certain."""
        if not found.certain:
            self.unsettled = True
            return replace(parameter, verdict=INCONCLUSIVE)
        fails = np.array(parameter.fails)
        if self.entrywise:
            fails.flat[places] = True
        why = f"along a direction through them {found.claim:.6g}, which is not in [{found.low:.6g}, {found.high:.6g}]"
        text = f"at a kink, no choice of derivatives explains {self._named(places)} together: {why}"
        failing = int(fails.sum()) or len(places)
        return replace(parameter, verdict=FAIL, fails=fails, failing=failing, diagnosis=parameter.diagnosis or text)

    def _look_again(self) -> None:
        """Look twice at entries that need it: also at a derivative of 0 that only rounding may make 0."""
        small = self._small() if self.method == "central" else np.ones(len(self.derivatives), bool)
        for k, claim in enumerate(self.claims().tolist()):
            found = self.derivatives[k]
            if self.doubtful(claim, found) or (claim == found.value == 0 and not small[k]):
                self.derivatives[k] = self.entry_again(k, claim, found)

    def doubtful(self, claim: float, found: DirectionalDerivative) -> bool:
        """Whether a claim misses its derivative, or the bar of an entry would hide a large error."""
        if not self.entrywise:
            return found.bars(claim) > 1
        hides = HIDES if self.directions.size <= SMALL else 1.0
        size = max(abs(claim), abs(found.value))
        wide = self.method == "central" and (found.bar > hides * size > 0 or found.bar == math.inf)
        return math.isfinite(claim) and (wide or found.misses(claim))

    def cause(self) -> str | None:
        """The probable cause of what is wrong, if one fits."""
        return diagnose(self.evidence())

    def evidence(self) -> Evidence:
        """What is known of the tensor."""
        values, scale = self.probe.theta, self.probe.scale[self.name]
        signs, others = self.directions.signs, self.others
        return Evidence(self.gradient, values[self.name], scale, self.derivatives, signs, others, values, self.misses)

    def misses(self, d: Vector) -> bool:
        """Whether the gradient under test is wrong along d, after a second look."""
        claim, found = float(np.sum(d * self.natural)), self.along(d)
        return found.misses(claim) and self.again(d, claim, found).misses(claim)

    def certain(self, parameter: Parameter) -> Parameter:
        """The same verdict, but inconclusive if the function jumps, in steps that hide entries, or is undefined."""
        if parameter.verdict != PASS:
            return parameter
        jumps = any(found.jumps for found in self.derivatives) or (self.probe.quantum and parameter.unseen)
        self.hidden = None if jumps else self.unjudged()
        return replace(parameter, verdict=INCONCLUSIVE) if jumps or self.hidden is not None else parameter

    def unjudged(self) -> int | None:
        """The first direction of which nothing is known: its bar is larger than the derivative and the claim.

        A claim of 0 is judged if the bar is small beside the largest derivative.
        """
        value, bar, low, high = self.columns()
        claims = np.abs(self.claims())
        known = ((bar <= np.maximum(np.abs(value), claims)) | (low < high)) & (bar < math.inf)
        if np.all(known):
            return None
        hidden, small = np.flatnonzero(~known).tolist(), self._small()
        return next((k for k in hidden if not (small[k] and self._may_be_small(k, claims[k]))), None)

    def _small(self) -> Vector:
        """Whether bars are small beside the largest derivative, in natural units and in those of theta."""
        value, bar, _, _ = self.columns()

        def largest(unit: Vector | float) -> Vector:
            return np.asarray(np.max(np.abs(value) / unit, where=bar < math.inf, initial=0.0) * unit)

        if not np.any(value):
            return np.asarray(bar < math.inf)
        limit = np.minimum(largest(1.0), largest(self.scale)) if self.entrywise else largest(1.0)
        return np.asarray(bar <= self.probe.u**0.25 * limit)

    def _may_be_small(self, k: int, claim: float) -> bool:
        """Whether a claim is 0 but for the rounding of its terms, as trust.py grants it.

        Along a random direction it may be small by chance, and other directions judge the same entries.
        """
        if not self.entrywise or claim == 0:
            return True
        if self.method == "complex" and claim <= ROUNDINGS * self.probe.u * self.probe.size:
            return True
        rounding = self.probe.rounding_of_claims(self.name, self.directions.row(k))
        return claim <= SPREAD * (self.probe.noise_of_claims + rounding)

    def some(self, positions: list[int], quantity: str = "only") -> str | None:
        """Which entries are wrong, if they are few."""
        if 2 * len(positions) > self.natural.size:
            return None
        return f"{quantity} {len(positions)} of {self.natural.size} entries wrong: {self._named(positions)}"

    def _named(self, positions: Sequence[int]) -> str:
        """The indices of the first positions."""
        named = ", ".join(str(list(self.index(position))) for position in positions[:NAMED])
        return named + (", ..." if len(positions) > NAMED else "")

    def notes(self) -> list[str]:
        """The notes of the report on this tensor."""
        notes = []
        if self.reason:
            notes.append(f"central differences, because for complex numbers fun {self.reason}")
        if self.varies:
            notes.append(f"grad differs by up to {np.max(self.spread / self.scale):.1e} from call to call")
        if self.kinks:
            shown = list(self.kinks.values())[:3]
            text = f"{len(self.kinks)} at a kink, accepted between one-sided derivatives: {', '.join(shown)}"
            notes.append(f"{text}{', ...' if len(self.kinks) > len(shown) else ''}")
        if self.unsettled:
            notes.append(
                "at a kink of several entries some claims are not derivatives that were found nearby, but may be"
            )
        elif any(found.bar == math.inf and not (found.jumps or found.kink) for found in self.derivatives):
            named = self._named([k for k, found in enumerate(self.derivatives) if found.bar == math.inf])
            notes.append(f"fun is not defined on either side of theta{f': {named}' if self.entrywise else ''}")
        elif self.hidden is not None:
            place = list(self.index(self.hidden)) if self.entrywise else "a direction"
            notes.append(f"the error bar of {place} is larger than its derivative, so nothing is known about it")
        if any(found.jumps for found in self.derivatives):
            named = self._named(self.jumps)
            notes.append(f"fun jumps at theta or is infinitely steep{named and ': '}{named}")
        return [f"{self.name}: {note}" for note in notes]

    def excuse(self, parameter: Parameter) -> list[str]:
        """Why the tensor does not fail although its difference is large."""
        if parameter.verdict == FAIL or not parameter.difference > LARGE:
            return []
        reason = f"{parameter.unseen} of {parameter.bar.size} are below their error bars, {len(self.kinks)} at a kink"
        does = "passes" if parameter.verdict == PASS else "is inconclusive"
        return [f"{self.name}: {does} with a difference of {parameter.difference:.1e}: {reason}"]
