"""``Probe``: a function around theta, on the host, and how noisy it is there.

Directions are in natural units: d = 1 moves an entry by its scale.  The scale is max(|theta|, scale of the tensor),
rounded to a power of two, so that theta + h d is exact.  Noise is the change within a short distance that a smooth
function cannot have.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import pairwise
import math
from typing import TypeAlias
import warnings

import numpy as np

from xpdl.backends.shared import FILTERS
from xpdl.gradcheck.report import Vector

Tensors = Mapping[str, Vector]

COMPLEX_STEP = float(np.sqrt(np.finfo(np.float32).tiny))
"""h of the complex step, 1e-19: the square root of the least normal number of complex64, so that h^2 is one, too."""
UNDERFLOW = 2.0**10 / COMPLEX_STEP
"""A scale is at least this many times the least normal number: then h times it has a rounding of 2^-10 at most."""
SPREAD = 8.0
"""A bar is this many times the noise that was seen, which is the median of a few samples."""
RIPPLES = (20, 24, 28, 32, 36)
"""Noise is measured at distances of 2^-20 to 2^-36 (in float64): kinks and waves may spoil some of them."""
ROOM = 13
"""A function must be defined 2^-13 (in float64) away from theta, 1e-4: tests for symmetry allow for less, 1e-5."""
FAR = (0.5, 0.0)
"""Multiples of theta at which the gradient may be larger: 0, and another, because J may be undefined at 0."""
ROUNDINGS = 64.0
"""Answers to the same question may differ by so many roundings: sums of 10^4 terms in another order do by up to 40."""
QUANTA = 4
"""If J is rounded, the quantum is looked for along so many more directions."""
QUANTUM_BITS = range(48, -9, -2)
"""Such steps are looked for at distances of 2^-48 to 2^8 (in float64)."""


Path: TypeAlias = Callable[[Vector, Vector], Vector]
"""(random signs, theta in natural units) -> a direction."""


def _anywhere(signs: Vector, theta: Vector) -> Vector:
    return signs


def _within(signs: Vector, theta: Vector) -> Vector:
    """Entries that are 0 stay so, and tiny ones move little: the way for functions that allow for one sign only."""
    return signs * np.abs(theta)


def _outward(signs: Vector, theta: Vector) -> Vector:
    return np.where(theta < 0, -1.0, 1.0)


PATHS: tuple[Path, ...] = (_anywhere, _within, _outward)
"""The ways away from theta, of which the first is taken on which J is defined."""


class NotAnalyticError(Exception):
    """Raised where the complex step cannot be used; the message says why."""


class Probe:
    """J as a function of tensors.

    value      (tensors) -> J, complex for complex tensors
    theta      the point, by name; ``start`` is J there
    u          the machine epsilon of J
    generator  draws the directions
    """

    def __init__(
        self,
        value: Callable[[Tensors], float | complex],
        theta: Tensors,
        start: float,
        u: float,
        generator: np.random.Generator,
    ) -> None:
        self._value, self._generator = value, generator
        self.theta, self.start, self.u = theta, start, u
        self.single = u > np.finfo(np.float64).eps  # whether J is in float32
        self.tiny = float(np.finfo(np.float32 if self.single else np.float64).tiny)  # J is 0 or less exact below
        self.scale = {name: natural_scale(tensor, UNDERFLOW * self.tiny) for name, tensor in theta.items()}
        self.moving: dict[str, Sequence[str]] = {name: [name] for name in theta}  # which tensors become complex with it
        self._ways: dict[str, Vector] = {}  # which way entries may go, where theta is at the edges of a box
        self.verified: set[str] = set()  # tensors whose complex step is known to be a derivative

    def distance(self, bits: int) -> float:
        """2^-bits in float64; in another precision, the distance that is the same power of its u."""
        return 2.0 ** round(bits * math.log2(self.u) / 52)

    def signs(self, name: str) -> Vector:
        """A random direction of signs, in which every entry counts the same, (size,)."""
        return self._generator.choice(np.array([-1.0, 1.0]), self.theta[name].size)

    def inward(self, name: str, signs: Vector, *, all_at_once: bool = False) -> Vector:
        """A direction in which J is defined, where theta is at the edges of a box.

        An entry at an edge moves away from it, or stays with probability 1/2: errors of two such entries that cancel
        when both move do not cancel then.
        """
        if name not in self._ways:
            self._ways[name] = np.zeros(signs.size)
            self._find_ways(name, 0, signs.size)
        ways = self._ways[name]
        stays = 0.0 if all_at_once else self._generator.random(signs.size) < 0.5
        return np.where(ways == 0, signs, ways * (1.0 - stays))

    def _find_ways(self, name: str, first: int, last: int) -> None:
        """Find which way entries may go: 0 both ways, 1 or -1 one way, by halving what can go no way together."""
        inside = np.zeros(self._ways[name].size)
        inside[first:last] = 1.0
        signs = self.signs(name)
        if all(self.has_room(name, sign * signs * inside) for sign in (1.0, -1.0)):
            return
        way = next((way for way in (1.0, -1.0) if self.has_room(name, way * inside)), 0.0)
        self._ways[name][first:last] = way
        if way == 0 and last - first > 1:
            middle = (first + last) // 2
            self._find_ways(name, first, middle)
            self._find_ways(name, middle, last)

    def has_room(self, name: str, d: Vector) -> bool:
        """Whether J is defined at ROOM d.

        If it is not, shorter steps slip under a tolerance, as that of a test for symmetry, and mean nothing.
        """
        return math.isfinite(self.real({name: self.distance(ROOM) * d}))

    def random_direction(self, path: Path) -> dict[str, Vector]:
        """A random direction through all entries, away from theta by one of the ``PATHS``."""
        return {name: path(self.signs(name), (t / self.scale[name]).ravel()) for name, t in self.theta.items()}

    def moved(self, shift: Tensors) -> dict[str, Vector]:
        """theta + shift."""
        return {
            name: tensor + shift[name].reshape(tensor.shape) * self.scale[name] if name in shift else tensor
            for name, tensor in self.theta.items()
        }

    def jittered(self) -> dict[str, Vector]:
        """theta with every entry changed by 1 or 2 roundings."""
        change = np.array([-2, -1, 1, 2]) * self.u
        draw = self._generator.integers
        return {name: tensor * (1 + change[draw(0, 4, tensor.shape)]) for name, tensor in self.theta.items()}

    def real(self, shift: Tensors) -> float:
        """J(theta + shift), NaN where it is not defined."""
        with quiet():
            try:
                value = self._value(self.moved(shift))
            except Exception:  # J must be defined at theta only
                return math.nan
        return value if isinstance(value, float) else math.nan

    def imaginary(self, name: str, d: Vector, h: float = COMPLEX_STEP, at: Tensors | None = None) -> float:
        """Im J(at + i h d) / h for a direction in one tensor."""
        return self.imaginary_along({name: d}, h, at)

    def imaginary_along(self, direction: Tensors, h: float = COMPLEX_STEP, at: Tensors | None = None) -> float:
        """Im J(at + i h d) / h, by default at theta; ``NotAnalyticError`` if there is no such number."""
        tensors = dict(self.theta if at is None else at)
        moving = {other for name in direction for other in self.moving[name]}
        tensors |= {other: np.array(tensors[other], dtype=np.complex128) for other in moving}
        for name, d in direction.items():
            tensors[name].imag = h * d.reshape(tensors[name].shape) * self.scale[name]
        with quiet() as warned:
            try:
                value = self._value(tensors)
            except Exception as error:
                raise NotAnalyticError(f"raises {type(error).__name__}: {_first_line(error)}") from None
        for warning in warned:
            if "complex" in str(warning.message).lower():  # it says that the imaginary part is dropped
                raise NotAnalyticError(f"raises {warning.category.__name__}: {_first_line(warning.message)}")
        if not isinstance(value, complex):
            raise NotAnalyticError("has no imaginary part")
        if not math.isfinite(value.imag):
            raise NotAnalyticError("is not finite")
        return value.imag / h

    @cached_property
    def coarse(self) -> bool:
        """Whether all values of J are float32 numbers, even if its dtype is float64."""
        away, draw = self.distance(ROOM), self._generator.random
        shifts = ({n: away * draw(t.size) for n, t in self.theta.items()} for _ in range(4))
        answers = np.array([answer for answer in map(self.real, shifts) if math.isfinite(answer)])
        with quiet():
            return len(set(answers)) > 2 and bool(np.all(answers.astype(np.float32) == answers))

    @cached_property
    def noise(self) -> float:
        """The noise of J.  Rounding to multiples of a quantum is uniform noise, which ripples see only by chance."""
        found = [self._ripples(self.real, PATHS[0])]
        while not np.all(np.isfinite(found[-1])) and len(found) < len(PATHS):
            found.append(self._ripples(self.real, PATHS[len(found)]))
        if not np.any(np.isfinite(found)):
            ways = {name: self.inward(name, self.signs(name), all_at_once=True) for name in self.theta}
            found.append(self._ripples(self.real, ways=ways))
        least_undefined = min(found, key=lambda ripples: np.count_nonzero(~np.isfinite(ripples)))
        return max(_quantile(least_undefined, 0.5), self.quantum / math.sqrt(12))

    @cached_property
    def quantum(self) -> float:
        """The quantum q if J is rounded to multiples of q; 0 if it is not, or if q is no more than rounding.

        Where theta is rounded, each entry has its own q, so the largest along several directions counts.
        """
        first = self._quantum_along(self.random_direction(_anywhere))
        others = (self._quantum_along(self.random_direction(_anywhere)) for _ in range(QUANTA if first else 0))
        return max(first, *others, 0.0)

    def _quantum_along(self, signs: Tensors) -> float:
        def at(t: float) -> float:
            return self.real({name: t * s for name, s in signs.items()})

        finest, *wider = (self.distance(bits) for bits in QUANTUM_BITS)
        ahead = next((sign for sign in (1, -1) if at(sign * finest) == self.start), 0)  # theta may be at an edge
        first = next((t for t in wider if at(ahead * t) != self.start), 0.0) * ahead if ahead else 0.0
        if first == 0:
            return 0.0
        beyond = {at(first * (1 + k / 1024)) for k in range(4)}
        step = min((b - a for a, b in pairwise(sorted(beyond | {self.start, at(first / 2)}))), default=0.0)
        stands = len(beyond) < 4 and all(map(math.isfinite, beyond))
        return step if stands and step > ROUNDINGS * self.u * abs(self.start) else 0.0

    def noise_of_step(self, name: str, d: Vector) -> float:
        """The noise of the complex step along d."""
        return _quantile(self._ripples(lambda shift: self.imaginary(name, d, at=self.moved(shift))), 0.5)

    @property
    def noise_of_claims(self) -> float:
        """How far a right <g, d> may be off by what J is noisy, beyond rounding."""
        return self.noise if self.noise > ROUNDINGS * self.u * abs(self.start) else 0.0

    def rounding_of_claims(self, name: str, d: Vector) -> float:
        """How far a right <g, d> may be off by the rounding of its terms.

        Only fun is asked, never the gradient under test: a claim must not widen the bar that judges it.
        """
        return self.rounding_along({name: d})

    def vanishes(self, name: str, d: Vector, value: float, bar: float) -> bool:
        """Whether a complex step is 0 but for its own rounding."""
        return abs(value) <= bar or abs(value) <= SPREAD * self.noise_of_step(name, d)

    @cached_property
    def size(self) -> float:
        """The size of J at theta, and where theta is smaller: what a derivative of 0 is small beside."""
        shifts = ({n: (c - 1) * (t / self.scale[n]).ravel() for n, t in self.theta.items()} for c in (1.0, *FAR))
        return max(abs(value) for value in map(self.real, shifts) if math.isfinite(value))

    def rounding_along(self, direction: Tensors) -> float:
        """The rounding of the terms of <g, d>, which are as large as differences where theta, or a tensor, is smaller.

        If a unit is saturated, p - y is small but has the rounding error of p.  At other points p - y is as large as p.
        """
        points = [{n: c * t for n, t in self.theta.items()} for c in FAR]
        points += [{**self.theta, n: c * t} for n, t in self.theta.items() for c in FAR] * (len(self.theta) > 1)
        return ROUNDINGS * self.u * max(self._slope(direction, point) for point in points)

    def _slope(self, direction: Tensors, point: Tensors) -> float:
        """|J'| at a point; 0 at the edge of where J is defined, as that of log t and sqrt t at 0 is infinite."""
        shift = {n: ((tensor - self.theta[n]) / self.scale[n]).ravel() for n, tensor in point.items()}
        h = self.distance(17)
        moves = ({n: shift[n] + k * h * d for n, d in direction.items()} for k in (-1, 0, 1))
        behind, here, ahead = (self.real(shift | move) for move in moves)
        return abs(ahead - behind) / (2 * h) if math.isfinite(ahead - behind + here) else 0.0

    def _ripples(
        self, function: Callable[[Tensors], float], path: Path = _anywhere, ways: Tensors | None = None
    ) -> list[float]:
        """Third differences over t, 2 t, 3 t, 4 t along a random direction, for several t; they vary as noise does."""
        signs, ripples = ways or self.random_direction(path), []
        for t in (self.distance(bits) * (-1) ** k for k, bits in enumerate(RIPPLES)):
            a, b, c, d = (function({name: k * t * s for name, s in signs.items()}) for k in (1, 2, 3, 4))
            ripples.append((d - a + 3 * (b - c)) / math.sqrt(20))
        return ripples


def natural_scale(tensor: Vector, least: float = 0.0) -> Vector:
    """max(|theta|, the lowest decile of its entries above 0, least), as a power of two; 1 if the tensor is 0."""
    size = np.abs(tensor)
    typical = float(np.quantile(size[size > 0], 0.1, method="lower")) if np.any(size) else 1.0
    rounded: Vector = 2.0 ** np.round(np.log2(np.maximum(size, max(typical, least))))
    return rounded


@contextmanager
def quiet() -> Iterator[list[warnings.WarningMessage]]:
    """Keep warnings from the user, who did not choose these points; the block gets a list of them."""
    with FILTERS, warnings.catch_warnings(record=True) as warned, np.errstate(all="ignore"):
        warnings.simplefilter("always")
        yield warned


def _quantile(ripples: Iterable[float], q: float) -> float:
    """The q-th quantile of the absolute values that are finite."""
    finite = [abs(ripple) for ripple in ripples if math.isfinite(ripple)]
    return float(np.quantile(finite, q)) if finite else math.inf


def _first_line(error: Exception | Warning | str) -> str:
    return str(error).partition("\n")[0]
