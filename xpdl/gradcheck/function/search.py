"""The search for wrong entries of a large tensor, along random directions s = +-1.

Let one entry be wrong by e > bar, and let r be the error of all others along the direction.  |r + e| < |e| and
|r - e| < |e| cannot both hold, so the entry escapes each direction with probability 1/2 at most, for any r.  Bisection
along a direction that fails leads to the wrong entries: one half of it has at least half of the error.
"""

from dataclasses import dataclass, replace
import math

import numpy as np

from xpdl.gradcheck.function.causes import block_only
from xpdl.gradcheck.function.directional import DirectionalDerivative
from xpdl.gradcheck.function.tensor import NAMED, TensorCheck, unit
from xpdl.gradcheck.report import FAIL, INCONCLUSIVE, Entry, Parameter, Vector, judge

EXCUSED = 16
"""If kinks excuse more entries than this, directions are no way to tell entries apart."""


@dataclass(frozen=True)
class Suspect:
    """An entry whose claim and derivative differ, both in natural units."""

    position: int  # in the flat tensor
    claim: float
    derivative: DirectionalDerivative

    @property
    def wrong(self) -> bool:
        """Whether the claim is wrong.  If not, a kink excuses it."""
        return self.derivative.misses(self.claim)


class Search:
    """The search in one tensor.

    Each wrong entry that is found is corrected in ``natural``; then the directions show whether there are more.
    """

    def __init__(self, tensor: TensorCheck) -> None:
        self.tensor, self.natural = tensor, tensor.natural.copy()
        self.found: list[Suspect] = []
        self.cause: str | None = None
        self.sure: set[int] = set()  # directions that were looked at twice
        self.tangled = False  # whether kinks of many entries keep their errors from being told apart along directions
        self.opaque: set[int] = set()  # directions whose error cannot be led back to entries

    @property
    def wrong(self) -> list[Suspect]:
        """The wrong entries that were found."""
        return [suspect for suspect in self.found if suspect.wrong]

    def run(self) -> Parameter:
        """Look for the wrong entries, and judge."""
        finite = np.isfinite(self.natural)
        if not np.all(finite):
            self.cause = self.tensor.cause()
            self.found = [self._suspect(int(k)) for k in np.flatnonzero(~finite)[:NAMED]]
        else:
            self._name_jump()
            self._search()
        return self._judged()

    def _name_jump(self) -> None:
        """Find an entry in which the function jumps, by halving a direction along which it does."""
        jumping = (k for k, found in enumerate(self.tensor.derivatives) if found.jumps)
        for d in map(self.tensor.directions.row, jumping):
            first, last = 0, d.size
            while last - first > 1:
                middle = (first + last) // 2
                left = self.tensor.along(_part(d, first, middle)).jumps
                first, last = (first, middle) if left else (middle, last)
            self.tensor.jumps.append(first)
            return

    def _search(self) -> None:
        """Bisect the worst direction until none is wrong, or until enough entries are named."""
        if self._missed():
            self.cause = self.tensor.cause()
        named = 1 if self.cause else NAMED
        while len(self.wrong) < named and len(self.found) - len(self.wrong) <= EXCUSED:
            missed = self._missed()
            if not missed:
                break
            found = self._bisect(missed[0])
            if not found:
                self._give_up(missed[0])
            for suspect in found:
                self._correct(suspect)
        self.tangled = bool(self.found and not self.wrong and (self._missed() or self.opaque))

    def _claims(self) -> list[float]:
        claims: list[float] = self.tensor.directions.project(self.natural).tolist()
        return claims

    def _missed(self) -> list[int]:
        """The directions whose claim is more than a bar away, the worst first, after a second look at each."""
        claims, derivatives = self._claims(), self.tensor.derivatives
        for k in range(len(derivatives)):
            if k not in self.sure and derivatives[k].bars(claims[k]) > 1:
                derivatives[k] = self.tensor.again(self.tensor.directions.row(k), claims[k], derivatives[k])
                self.sure.add(k)
        bars = {k: found.bars(claims[k]) for k, found in enumerate(derivatives) if k not in self.opaque}
        return sorted((k for k in bars if bars[k] > 1), key=lambda k: -bars[k])

    def _give_up(self, k: int) -> None:
        """Give up on a direction: many entries are each wrong by too little, or several kinks excuse any claim."""
        self.opaque.add(k)
        found = self.tensor.derivatives[k]
        if found.kink and found.misses(self._claims()[k]):
            self.tensor.derivatives[k] = found.widened(math.inf)

    def _correct(self, suspect: Suspect) -> None:
        """Replace the claim by the derivative.  The error of the derivative then adds to that of every direction."""
        self.found.append(suspect)
        self.natural[suspect.position] = suspect.derivative.value
        error = suspect.derivative.bar
        self.tensor.derivatives = [found._replace(bar=found.bar + error) for found in self.tensor.derivatives]

    def _bisect(self, k: int) -> list[Suspect]:
        """Entries that explain the error along direction k.  Ranges are halved, the half with more error first."""
        d, along = self.tensor.directions.row(k), self.tensor.derivatives[k]
        error = self._claims()[k] - along.value
        ranges, found = [(0, d.size, error)], list[Suspect]()
        while ranges and len(found) < NAMED and abs(error) > along.bar:
            first, last, inside = ranges.pop()
            if last - first > 1:
                ranges += self._halves(d, first, last, inside)
                continue
            suspect = self._suspect(first)
            if suspect.derivative.bars(suspect.claim) > 1:
                found.append(suspect)
                error -= d[first] * (suspect.claim - suspect.derivative.value)
        return found

    def _halves(self, d: Vector, first: int, last: int, error: float) -> list[tuple[int, int, float]]:
        """The halves of a range that hold more than a bar of its error, the one with most last."""
        middle = (first + last) // 2
        part = _part(d, first, middle)
        along = self.tensor.along(part)
        left = float(np.sum(part * self.natural)) - along.value
        halves = [(first, middle, left), (middle, last, error - left)]
        return sorted((half for half in halves if abs(half[2]) > along.bar), key=lambda half: abs(half[2]))

    def _suspect(self, position: int) -> Suspect:
        """One entry, looked at twice before it is called wrong."""
        claim, found = float(self.natural[position]), self.tensor.along(unit(self.natural.size, position))
        if math.isfinite(claim) and found.bars(claim) > 1:
            found = self.tensor.entry_again(position, claim, found)
        return Suspect(position, claim, found)

    def _judged(self) -> Parameter:
        """The verdict on the directions, or on the wrong entries."""
        tensor = self.tensor
        value, bar, low, high = tensor.columns()
        claims = np.array(tensor.claims() if self.wrong else self._claims())
        parameter = judge(tensor.name, claims, value, bar, between=(low, high))
        parameter = replace(parameter, shape=tensor.gradient.shape, worst=replace(parameter.worst, index=()))
        if self.tangled and not self.wrong:
            return replace(parameter, verdict=INCONCLUSIVE, failing=0)
        if not self.wrong:
            return tensor.certain(replace(parameter, diagnosis=self.cause))
        return self._failed(parameter)

    def _failed(self, parameter: Parameter) -> Parameter:
        """The verdict with the wrong entries in it."""
        worst = max(self.wrong, key=lambda suspect: suspect.derivative.bars(suspect.claim))
        scale, found = float(self.tensor.scale[worst.position]), worst.derivative
        positions = [suspect.position for suspect in self.wrong]
        index = self.tensor.index(worst.position)
        return replace(
            parameter,
            verdict=FAIL,
            worst=Entry(index, worst.claim / scale, found.value / scale, found.bar / scale),
            failing=len(positions),
            unseen=0,
            diagnosis=self.cause or self._where(positions),
        )

    def _where(self, positions: list[int]) -> str | None:
        """Which entries are wrong; if they are many, in which rows, columns or blocks they are."""
        if not (self._missed() or self.opaque):
            return self.tensor.some(positions)
        return block_only(self.tensor.evidence()) or self.tensor.some(positions, "at least")


def _part(d: Vector, first: int, last: int) -> Vector:
    """A direction that is 0 outside a range."""
    part = np.zeros(d.size)
    part[first:last] = d[first:last]
    return part
