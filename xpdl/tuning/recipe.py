"""The recipe: hyper-parameters one after the other, each as one would tune it by hand.

    grid     the learning rate: the whole range in steps of a decade, then bisection inside the best bracket
    climb    units, layers, dropout ...: a step further as long as that helps, then bisection if there are halvings
    choices  the initialiser: each of them
    when     only if the losses of the best trial so far look like that, such as decay when they oscillate

It is written as if every loss were known.  A loss that is not yet known ends the walk, and its point is the next
trial: so the trials of a study are all the state there is, and whoever can read them can go on.  When the recipe is
through, it begins again around the best point in half the steps, then in a quarter of them, and so on.
Source: Deep Learning from first principles, part 8, its tips for tuning.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
import math
from typing import Any, TypeAlias

Point: TypeAlias = Mapping[str, Any]
Key: TypeAlias = tuple[tuple[str, Any], ...]

DIGITS = 3
"""Significant digits of a value: more would not be seen in a loss, and make command lines hard to read."""

FINEST = 5
"""How often the steps are halved before the recipe has nothing more to say."""


class Untried(Exception):
    """Raised by a walk that needs the loss of a point which no trial has had."""

    def __init__(self, point: Point) -> None:
        super().__init__(point)
        self.point = point


@dataclass(frozen=True)
class Known:
    """What the trials have shown: the loss of each point, infinite where it is bad or not there yet, and its curve."""

    losses: dict[Key, float] = field(default_factory=dict)
    curves: dict[Key, Sequence[float]] = field(default_factory=dict)

    def loss(self, point: Point) -> float:
        """The loss of a point; ``Untried`` if no trial has had it."""
        try:
            return self.losses[key(point)]
        except KeyError:
            raise Untried(point) from None

    def best(self, points: Sequence[Point]) -> Point:
        """The point of the lowest loss, the first of equals; all must have been tried."""
        return min(points, key=self.loss)

    def curve(self, point: Point) -> Sequence[float]:
        """The losses of a point epoch by epoch, as far as they are there."""
        return self.curves.get(key(point), ())


@dataclass(frozen=True)
class Stage:
    """One hyper-parameter, and how it is tuned.

    name          of the parameter
    distribution  of Optuna: where it may lie
    start         its value until its turn comes
    step          to the next value: a factor on a logarithmic scale, else a difference
    grid          try the whole range in such steps first
    directions    in which to climb: 1 up, -1 down
    halvings      how often to bisect the bracket then
    when          a condition on the curve of the best point so far
    """

    name: str
    distribution: Any
    start: Any
    step: float = math.nan
    grid: bool = False
    directions: tuple[int, ...] = (1,)
    halvings: int = 0
    when: Callable[[Sequence[float]], bool] | None = None

    def called_for(self, curve: Sequence[float]) -> bool:
        """Whether its condition is true."""
        return self.when is not None and self.when(curve)

    def search(self, point: Point, known: Known) -> Point:
        """The point with the best value of this parameter."""
        if self.choices:
            return known.best([point, *(self.at(point, value) for value in self.choices)])
        point = known.best([self.at(point, value) for value in self.values]) if self.grid else self.climb(point, known)
        for halving in range(1, self.halvings + 1):
            point = self.bisect(point, known, halving)
        return point

    def climb(self, point: Point, known: Known) -> Point:
        """One step further, in each direction, as long as it helps."""
        for direction in self.directions:
            better: Point | None = None
            while better is not point:
                point = better or point
                better = known.best([point, self.moved(point, direction)])
        return point

    def bisect(self, point: Point, known: Known, halving: int) -> Point:
        """The best of a point and its neighbours on both sides, ``step / 2^halving`` away."""
        return known.best([point, *(self.moved(point, side * 2.0**-halving) for side in (-1, 1))])

    def at(self, point: Point, value: Any) -> Point:
        """The point with another value."""
        return {**point, self.name: value}

    def moved(self, point: Point, steps: float) -> Point:
        """The point so many steps further, within the range."""
        return self.at(point, self.value(self.place(point[self.name]) + steps))

    def place(self, value: Any) -> float:
        """How many steps a value is from the lower end; rounded so that steps back and forth lead to the same value."""
        d = self.distribution
        steps: float = math.log(value / d.low, self.step) if d.log else (value - d.low) / self.step
        return round(steps * 2.0**FINEST) / 2.0**FINEST

    def value(self, place: float) -> Any:
        """The value so many steps from the lower end, but within the range."""
        d = self.distribution
        value = d.low * self.step**place if d.log else d.low + self.step * place
        within = min(max(_rounded(value, DIGITS), d.low), d.high)
        return round(within) if isinstance(d.low, int) else within

    @property
    def choices(self) -> Sequence[Any]:
        """The values of a parameter that is no number."""
        return getattr(self.distribution, "choices", ())

    @property
    def values(self) -> list[Any]:
        """The whole range in steps, from the middle outwards: the ends are the least likely."""
        last = math.floor(self.place(self.distribution.high))
        return [self.value(i) for i in sorted(range(last + 1), key=lambda i: abs(i - last / 2))]


def key(point: Point) -> Key:
    """What makes two points the same: the values by name, numbers to the digits that every storage keeps."""
    return tuple(sorted((name, _rounded(value, 9)) for name, value in point.items()))


def oscillates(curve: Sequence[float]) -> bool:
    """Whether the loss falls unevenly: one that settles down falls by less in each epoch than in the one before."""
    falls = [before - after for before, after in pairwise(curve)]
    return any(later > max(earlier, 0) for earlier, later in pairwise(falls)) or any(fall < 0 for fall in falls)


def next_point(stages: Sequence[Stage], known: Known) -> Point | None:
    """The point to try next; None when the recipe is at its end."""
    try:
        walk(stages, known)
    except Untried as found:
        return found.point
    return None


def walk(stages: Sequence[Stage], known: Known) -> Point:
    """The best point after all stages, and after all finer rounds; ``Untried`` as soon as a loss is missing."""
    point: Point = {stage.name: stage.start for stage in stages}
    remedies = [stage for stage in stages if stage.when]
    for stage in stages:
        if not stage.when:
            point = stage.search(point, known)
        for remedy in [other for other in remedies if other.called_for(known.curve(point))]:
            point = remedy.search(point, known)
            remedies.remove(remedy)
    for halving in range(1, FINEST + 1):
        for stage in stages:
            point = known.best([point, *_around(stage, point, halving)])
    return point


def _around(stage: Stage, point: Point, halving: int) -> list[Point]:
    if stage.choices:
        return [stage.at(point, value) for value in stage.choices]
    return [stage.moved(point, side * 2.0**-halving) for side in (1, -1)]


def _rounded(value: Any, digits: int) -> Any:
    """A float with so many significant digits; anything else as it is."""
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value
