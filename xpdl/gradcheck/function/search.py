"""The search for wrong entries of a large tensor, behind random directions s = +-1 along which slopes are compared.

As |r + e| < |e| and |r - e| < |e| exclude each other, an entry that is wrong by e > bar escapes each direction with
probability 1/2 at most, whatever the errors r elsewhere.  Bisection along a direction that fails leads to the entries
that are wrong: half of the direction has half of the error, or more.
"""

from dataclasses import dataclass, replace
import math

import numpy as np

from xpdl.gradcheck.function.case import NAMED, Case, unit
from xpdl.gradcheck.function.causes import diagnose
from xpdl.gradcheck.function.methods import Slope
from xpdl.gradcheck.report import FAIL, Entry, Parameter, Vector, judge

ROUNDS = 24
"""Bisections at most."""


@dataclass(frozen=True)
class Finding:
    """An entry that is off: its place in the tensor when flat, and its slope in natural units."""

    place: int
    claim: float
    slope: Slope

    @property
    def wrong(self) -> bool:
        """Else it is at a kink."""
        return self.slope.misses(self.claim)


class Search:
    """What is found is put right, in ``natural``, so that the directions show whether there is more."""

    def __init__(self, case: Case) -> None:
        self.case, self.natural = case, case.natural.copy()
        self.found: list[Finding] = []
        self.cause: str | None = None
        self.sure: set[int] = set()  # directions that were looked at twice
        self.opaque: set[int] = set()  # directions whose error cannot be led back to entries

    @property
    def wrong(self) -> list[Finding]:
        """The wrong entries that were found."""
        return [finding for finding in self.found if finding.wrong]

    def run(self) -> Parameter:
        """Look for the wrong entries, and judge."""
        finite = np.isfinite(self.natural)
        if not np.all(finite):
            self.cause = self._diagnosed()
            self.found = [self._finding(int(k)) for k in np.flatnonzero(~finite)[:NAMED]]
        else:
            self._name_jump()
            self._search()
        return self._judged()

    def _diagnosed(self) -> str | None:
        return diagnose(self.case.gradient, self.case.scale, self.case.directions.observe, self.case.slopes)

    def _name_jump(self) -> None:
        """An entry in which the function jumps, by halving a direction along which it does."""
        jumping = (k for k, slope in enumerate(self.case.slopes) if slope.jumps)
        for d in map(self.case.directions.row, jumping):
            first, last = 0, d.size
            while last - first > 1:
                middle = (first + last) // 2
                left = self.case.slope(_part(d, first, middle)).jumps
                first, last = (first, middle) if left else (middle, last)
            self.case.jumps.append(first)
            return

    def _search(self) -> None:
        if self._off():
            self.cause = self._diagnosed()
        for _ in range(ROUNDS):
            off = self._off()
            if not off or len(self.wrong) >= (1 if self.cause else NAMED):
                break
            found = self._bisect(off[0])
            if not found:
                self._give_up(off[0])
            for finding in found:
                self._put_right(finding)

    def _claims(self) -> list[float]:
        claims: list[float] = self.case.directions.observe(self.natural).tolist()
        return claims

    def _off(self) -> list[int]:
        """The directions that are off, the worst first, after a second look at each."""
        claims, slopes = self._claims(), self.case.slopes
        for k in range(len(slopes)):
            if k not in self.sure and slopes[k].bars(claims[k]) > 1:
                slopes[k] = self.case.again(self.case.directions.row(k), claims[k], slopes[k])
                self.sure.add(k)
        off = {k: slope.bars(claims[k]) for k, slope in enumerate(slopes) if k not in self.opaque}
        return sorted((k for k in off if off[k] > 1), key=lambda k: -off[k])

    def _give_up(self, k: int) -> None:
        """Many entries are wrong, each by less than can be seen; or several kinks meet, and anything may be right."""
        self.opaque.add(k)
        slope = self.case.slopes[k]
        if slope.kink and slope.misses(self._claims()[k]):
            self.case.slopes[k] = slope.widened(math.inf)

    def _put_right(self, finding: Finding) -> None:
        self.found.append(finding)
        self.natural[finding.place] = finding.slope.value
        self.case.slopes = [slope._replace(bar=slope.bar + finding.slope.bar) for slope in self.case.slopes]

    def _bisect(self, k: int) -> list[Finding]:
        """Entries that explain the error along direction k, by halving ranges: first the half with more of it."""
        d, slope = self.case.directions.row(k), self.case.slopes[k]
        error = self._claims()[k] - slope.value
        ranges, found = [(0, d.size, error)], list[Finding]()
        while ranges and len(found) < NAMED and abs(error) > slope.bar:
            first, last, inside = ranges.pop()
            if last - first > 1:
                ranges += self._halves(d, first, last, inside)
                continue
            finding = self._finding(first)
            if finding.slope.bars(finding.claim) > 1:
                found.append(finding)
                error -= d[first] * (finding.claim - finding.slope.value)
        return found

    def _halves(self, d: Vector, first: int, last: int, error: float) -> list[tuple[int, int, float]]:
        """The halves of a range that hold more of its error than a bar, the one with most last."""
        middle = (first + last) // 2
        part = _part(d, first, middle)
        slope = self.case.slope(part)
        left = float(np.sum(part * self.natural)) - slope.value
        halves = [(first, middle, left), (middle, last, error - left)]
        return sorted((half for half in halves if abs(half[2]) > slope.bar), key=lambda half: abs(half[2]))

    def _finding(self, place: int) -> Finding:
        """One entry, looked at twice before it is called wrong."""
        claim, slope = float(self.natural[place]), self.case.slope(unit(self.natural.size, place))
        if math.isfinite(claim) and slope.bars(claim) > 1:
            slope = self.case.entry_again(place, claim, slope)
        return Finding(place, claim, slope)

    def _judged(self) -> Parameter:
        """The verdict on the directions, or on the worst of the wrong entries."""
        case = self.case
        value, bar, low, high = case.columns()
        claims = np.array(case.claims() if self.wrong else self._claims())
        parameter = judge(case.name, claims, value, bar, between=(low, high))
        parameter = replace(parameter, shape=case.gradient.shape, worst=replace(parameter.worst, index=()))
        if not self.wrong:
            return case.certain(replace(parameter, diagnosis=self.cause))
        worst = max(self.wrong, key=lambda finding: finding.slope.bars(finding.claim))
        scale, slope = float(case.scale[worst.place]), worst.slope
        places = [finding.place for finding in self.wrong]
        return replace(
            parameter,
            verdict=FAIL,
            worst=Entry(case.index(worst.place), worst.claim / scale, slope.value / scale, slope.bar / scale),
            failing=len(places),
            unseen=0,
            diagnosis=self.cause or case.some(places, "at least" if self._off() or self.opaque else "only"),
        )


def _part(d: Vector, first: int, last: int) -> Vector:
    """A direction, 0 outside a range."""
    part = np.zeros(d.size)
    part[first:last] = d[first:last]
    return part
