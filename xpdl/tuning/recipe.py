"""The recipe: tune the hyper-parameters one after the other, each as one would tune it by hand.

    grid     the learning rate: try the whole range in steps of a decade, then bisect the best bracket
    climb    units, layers, dropout ...: go a step further as long as the loss falls, then bisect if there are halvings
    choices  the initialiser: try each of them
    when     only if the losses of the best trial so far meet a condition: decay is tuned if they oscillate

The code is written as if every loss were known.  A loss that is not known yet ends the walk through the recipe, and its
point is the next trial.  So the trials of a study are the whole state, and any process that can read them can continue.
At its end the recipe begins again around the best point with half the steps, then with a quarter of them, and so on.

Source: Deep Learning from first principles, part 8, tips for tuning.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
import math
from typing import Any, TypeAlias

Point: TypeAlias = Mapping[str, Any]
Key: TypeAlias = tuple[tuple[str, Any], ...]

DIGITS = 3
"""Significant digits of a value.  More digits would hardly change a loss, but make command lines hard to read."""

FINEST = 5
"""How often the steps are halved before the recipe ends."""


class Untried(Exception):
    """The walk needs the loss of a point that no trial has tried."""

    def __init__(self, point: Point) -> None:
        super().__init__(point)
        self.point = point


@dataclass(frozen=True)
class Known:
    """The results of the trials: the loss of each point (infinite if it is bad or not known yet), and its curve."""

    losses: dict[Key, float] = field(default_factory=dict)
    curves: dict[Key, Sequence[float]] = field(default_factory=dict)

    def loss(self, point: Point) -> float:
        """Return the loss of a point; ``Untried`` if no trial has tried it."""
        try:
            return self.losses[key(point)]
        except KeyError:
            raise Untried(point) from None

    def best(self, points: Sequence[Point]) -> Point:
        """Return the point of the lowest loss, the first of equals; ``Untried`` if one has not been tried."""
        return min(points, key=self.loss)

    def curve(self, point: Point) -> Sequence[float]:
        """Return the losses of a point epoch by epoch, as far as they are known."""
        return self.curves.get(key(point), ())


@dataclass(frozen=True)
class Stage:
    """One hyper-parameter, and how it is tuned.

    Parameters
    ----------
    name : str
        The name of the parameter.
    distribution : optuna.distributions.BaseDistribution
        The range, or the choices, of the parameter.
    start : object
        The value of the parameter until it is tuned.
    step : float, default nan
        The step to the next value: a factor on a logarithmic scale, else a difference.  Choices have no step.
    grid : bool, default False
        Whether to try the whole range in such steps first.
    directions : tuple of int, default (1,)
        The directions in which to climb, in turn: 1 up, -1 down.
    halvings : int, default 0
        How often to bisect the best bracket after that.
    when : callable, optional
        when(curve) -> whether to tune this parameter, given the losses of the best point so far, epoch by epoch.

    Examples
    --------
    >>> from optuna.distributions import IntDistribution
    >>> from xpdl.tuning import Stage
    >>> units = Stage("units", IntDistribution(16, 512, log=True), start=128, step=2)
    >>> units.moved({"units": 128}, 1)
    {'units': 256}
    >>> units.moved({"units": 128}, 9)
    {'units': 512}
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
        """Return whether the stage has a condition that is true.

        Parameters
        ----------
        curve : sequence of float
            The losses of the best point so far, epoch by epoch.

        Returns
        -------
        bool
            Whether to tune this parameter now.

        Examples
        --------
        >>> from optuna.distributions import FloatDistribution
        >>> from xpdl.tuning import Stage
        >>> decay = Stage("decay", FloatDistribution(0.3, 1.0), start=1.0, when=lambda curve: curve[-1] > min(curve))
        >>> decay.called_for([0.9, 0.5, 0.7]), decay.called_for([0.9, 0.7, 0.5])
        (True, False)
        """
        return self.when is not None and self.when(curve)

    def search(self, point: Point, known: Known) -> Point:
        """Return the point with the best value of this parameter.

        Parameters
        ----------
        point : mapping
            The value of each parameter by name.
        known : Known
            The losses of the points that trials have had.

        Returns
        -------
        Mapping
            The best point.

        Raises
        ------
        Untried
            If the loss of a point is needed that no trial has had.

        Examples
        --------
        >>> from optuna.distributions import IntDistribution
        >>> from xpdl.tuning.recipe import Known, Stage, key
        >>> layers = Stage("layers", IntDistribution(1, 8), start=1, step=1)
        >>> known = Known({key({"layers": n}): abs(n - 3) for n in range(1, 9)})
        >>> layers.search({"layers": 1}, known)
        {'layers': 3}
        """
        if self.choices:
            return known.best([point, *(self.at(point, value) for value in self.choices)])
        point = known.best([self.at(point, value) for value in self.values]) if self.grid else self.climb(point, known)
        for halving in range(1, self.halvings + 1):
            point = self.bisect(point, known, halving)
        return point

    def climb(self, point: Point, known: Known) -> Point:
        """Go a step further in each direction as long as the loss falls.

        Parameters
        ----------
        point : mapping
            The value of each parameter by name.
        known : Known
            The losses of the points that trials have had.

        Returns
        -------
        Mapping
            The best point.

        Raises
        ------
        Untried
            If the loss of a point is needed that no trial has had.

        Examples
        --------
        >>> from optuna.distributions import IntDistribution
        >>> from xpdl.tuning.recipe import Known, Stage, key
        >>> layers = Stage("layers", IntDistribution(1, 8), start=1, step=1)
        >>> known = Known({key({"layers": 1}): 0.9, key({"layers": 2}): 0.5, key({"layers": 3}): 0.6})
        >>> layers.climb({"layers": 1}, known)
        {'layers': 2}
        """
        for direction in self.directions:
            better: Point | None = None
            while better is not point:
                point = better or point
                better = known.best([point, self.moved(point, direction)])
        return point

    def bisect(self, point: Point, known: Known, halving: int) -> Point:
        """Return the best of a point and its neighbours on both sides, ``step / 2^halving`` away.

        Parameters
        ----------
        point : mapping
            The value of each parameter by name.
        known : Known
            The losses of the points that trials have had.
        halving : int
            How often the step is halved.

        Returns
        -------
        Mapping
            The best point.

        Raises
        ------
        Untried
            If the loss of a point is needed that no trial has had.

        Examples
        --------
        >>> from optuna.distributions import IntDistribution
        >>> from xpdl.tuning.recipe import Known, Stage, key
        >>> units = Stage("units", IntDistribution(1, 9), start=1, step=4)
        >>> known = Known({key({"units": 3}): 0.4, key({"units": 5}): 0.5, key({"units": 7}): 0.6})
        >>> units.bisect({"units": 5}, known, halving=1)
        {'units': 3}
        """
        return known.best([point, *(self.moved(point, side * 2.0**-halving) for side in (-1, 1))])

    def at(self, point: Point, value: Any) -> Point:
        """Return the point with another value of this parameter.

        Parameters
        ----------
        point : mapping
            The value of each parameter by name.
        value : object
            The value.

        Returns
        -------
        Mapping
            The other point.

        Examples
        --------
        >>> from optuna.distributions import IntDistribution
        >>> from xpdl.tuning import Stage
        >>> Stage("layers", IntDistribution(1, 8), start=1, step=1).at({"layers": 1, "lr": 0.1}, 5)
        {'layers': 5, 'lr': 0.1}
        """
        return {**point, self.name: value}

    def moved(self, point: Point, steps: float) -> Point:
        """Return the point that is some steps further, within the range.

        Parameters
        ----------
        point : mapping
            The value of each parameter by name.
        steps : float
            How many steps; negative ones go down.

        Returns
        -------
        Mapping
            The other point.

        Examples
        --------
        >>> from optuna.distributions import FloatDistribution
        >>> from xpdl.tuning import Stage
        >>> Stage("lr", FloatDistribution(1e-4, 1.0, log=True), start=0.01, step=10).moved({"lr": 0.01}, -1)
        {'lr': 0.001}
        """
        return self.at(point, self.value(self.place(point[self.name]) + steps))

    def place(self, value: Any) -> float:
        """Return how many steps a value is from the lower end of the range.

        Parameters
        ----------
        value : float
            The value.

        Returns
        -------
        float
            Steps, rounded so that a step forward and a step back lead to the same value.

        Examples
        --------
        >>> from optuna.distributions import FloatDistribution
        >>> from xpdl.tuning import Stage
        >>> Stage("lr", FloatDistribution(1e-4, 1.0, log=True), start=0.01, step=10).place(0.1)
        3.0
        """
        d = self.distribution
        steps: float = math.log(value / d.low, self.step) if d.log else (value - d.low) / self.step
        return round(steps * 2.0**FINEST) / 2.0**FINEST

    def value(self, place: float) -> Any:
        """Return the value that is some steps from the lower end, within the range.

        Parameters
        ----------
        place : float
            Steps from the lower end.

        Returns
        -------
        int or float
            The value.

        Examples
        --------
        >>> from optuna.distributions import FloatDistribution
        >>> from xpdl.tuning import Stage
        >>> Stage("lr", FloatDistribution(1e-4, 1.0, log=True), start=0.01, step=10).value(3)
        0.1
        """
        d = self.distribution
        value = d.low * self.step**place if d.log else d.low + self.step * place
        within = min(max(_rounded(value, DIGITS), d.low), d.high)
        return round(within) if isinstance(d.low, int) else within

    @property
    def choices(self) -> Sequence[Any]:
        """The values of a parameter that is not a number.

        Returns
        -------
        sequence
            Empty for a parameter that is a number.

        Examples
        --------
        >>> from optuna.distributions import CategoricalDistribution
        >>> from xpdl.tuning import Stage
        >>> Stage("init", CategoricalDistribution(["he", "xavier"]), start="he").choices
        ('he', 'xavier')
        """
        return getattr(self.distribution, "choices", ())

    @property
    def values(self) -> list[Any]:
        """The whole range in steps, from the middle outwards, because the ends are the least likely.

        Returns
        -------
        list
            The values.

        Examples
        --------
        >>> from optuna.distributions import FloatDistribution
        >>> from xpdl.tuning import Stage
        >>> Stage("lr", FloatDistribution(1e-4, 1.0, log=True), start=0.01, step=10).values
        [0.01, 0.001, 0.1, 0.0001, 1.0]
        """
        last = math.floor(self.place(self.distribution.high))
        return [self.value(i) for i in sorted(range(last + 1), key=lambda i: abs(i - last / 2))]


def key(point: Point) -> Key:
    """Return the identity of a point: its values by name, with as many digits as every storage keeps."""
    return tuple(sorted((name, _rounded(value, 9)) for name, value in point.items()))


def oscillates(curve: Sequence[float]) -> bool:
    """Return whether the loss oscillates.  A smooth loss falls in each epoch by less than in the epoch before."""
    falls = [before - after for before, after in pairwise(curve)]
    return any(later > max(earlier, 0) for earlier, later in pairwise(falls)) or any(fall < 0 for fall in falls)


def next_point(stages: Sequence[Stage], known: Known) -> Point | None:
    """Return the point to try next; None at the end of the recipe."""
    try:
        walk(stages, known)
    except Untried as found:
        return found.point
    return None


def walk(stages: Sequence[Stage], known: Known) -> Point:
    """Return the best point after all stages and all finer rounds; ``Untried`` as soon as a loss is missing."""
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
    """Return a float rounded to some significant digits, and anything else unchanged."""
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value
