"""``Probe``: a function and the gradient under test around theta, on the host, and how noisy both are there.

Directions are in natural units: d = 1 moves an entry by its scale, max(|theta|, scale of the tensor), to a power of
two, so that theta + h d is exact.  Noise is what a smooth function cannot do within a short distance.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import pairwise
import math
from typing import Any
import warnings

import numpy as np

from xpdl.gradcheck.report import Vector

Tensors = Mapping[str, Vector]

TINY = 2.0**-66
"""The complex step, 1e-20."""
RIPPLES = (20, 24, 28, 32, 36)
"""Noise is looked for at distances of 2^-20 to 2^-36 (in float64): kinks and waves may spoil some of them."""
FAR = (0.5, 0.125, 0.0)
"""Multiples of theta where a gradient may be larger."""
COARSE = 8.0
"""J that moves in steps of so many roundings is not merely rounded."""
STANDING = range(48, -9, -2)
"""Such steps are looked for at distances of 2^-48 to 2^8 (in float64)."""
JITTERS = 3
"""Points a few roundings away from theta."""


class NotAnalyticError(Exception):
    """Why the complex step cannot be used."""


class Probe:
    """J and the gradient under test as functions of tensors.

    value     (tensors) -> J, complex for complex tensors
    gradient  (tensors) -> the gradient under test, by name
    theta     the point, by name; ``start`` is J there
    u         the machine epsilon of J
    """

    def __init__(
        self,
        value: Callable[[Tensors], float | complex],
        gradient: Callable[[Tensors], Tensors],
        theta: Tensors,
        start: float,
        u: float,
        generator: np.random.Generator,
    ) -> None:
        self._value, self._gradient, self._generator = value, gradient, generator
        self.theta, self.start, self.u = theta, start, u
        self.scale = {name: natural_scale(tensor) for name, tensor in theta.items()}
        self.moving: dict[str, Sequence[str]] = {name: [name] for name in theta}  # what becomes complex along with it
        self.verified: set[str] = set()  # tensors whose complex step is known to be a derivative

    def distance(self, bits: int) -> float:
        """2^-bits in float64, and a distance that is as far from u in another precision."""
        return 2.0 ** round(bits * math.log2(self.u) / 52)

    def signs(self, name: str) -> Vector:
        """A random direction in which every entry counts the same, (size,)."""
        return self._generator.choice(np.array([-1.0, 1.0]), self.theta[name].size)

    def moved(self, shift: Tensors) -> dict[str, Vector]:
        """theta + shift."""
        return {
            name: tensor + shift[name].reshape(tensor.shape) * self.scale[name] if name in shift else tensor
            for name, tensor in self.theta.items()
        }

    def jittered(self) -> dict[str, Vector]:
        """theta with every entry 1 or 2 units of rounding off."""
        off = np.array([-2, -1, 1, 2]) * self.u
        return {name: tensor * (1 + self._generator.choice(off, tensor.shape)) for name, tensor in self.theta.items()}

    def real(self, shift: Tensors) -> float:
        """J(theta + shift), NaN where it is not defined."""
        with _quiet():
            try:
                value = self._value(self.moved(shift))
            except Exception:  # theta is where it must be defined, and that has been tried
                return math.nan
        return value if isinstance(value, float) else math.nan

    def imaginary(self, name: str, d: Vector, h: float = TINY, at: Tensors | None = None) -> float:
        """Im J(at + i h d) / h, at theta if not told otherwise; ``NotAnalyticError`` if there is no such number."""
        tensors = dict(self.theta if at is None else at)
        tensors |= {other: np.array(tensors[other], dtype=np.complex128) for other in self.moving[name]}
        tensors[name].imag = h * d.reshape(tensors[name].shape) * self.scale[name]
        with _quiet():
            warnings.filterwarnings("error", message=".*[Cc]omplex")  # says that the imaginary part is dropped
            try:
                value = self._value(tensors)
            except Exception as error:
                raise NotAnalyticError(f"raises {type(error).__name__}: {_first_line(error)}") from None
        if not isinstance(value, complex):
            raise NotAnalyticError("has no imaginary part")
        if not math.isfinite(value.imag):
            raise NotAnalyticError("is not finite")
        return value.imag / h

    @cached_property
    def coarse(self) -> bool:
        """Whether J has only the values of float32, whatever its dtype."""
        shifts = ({n: 1e-3 * self._generator.random(t.size) for n, t in self.theta.items()} for _ in range(4))
        answers = np.array([answer for answer in map(self.real, shifts) if math.isfinite(answer)])
        with _quiet():
            return len(set(answers)) > 2 and bool(np.all(answers.astype(np.float32) == answers))

    @cached_property
    def noise(self) -> float:
        """The noise of J; rounding to a multiple of a quantum is uniform noise, which ripples see only by chance."""
        ripples = _quantile((ripple[""] for ripple in self._ripples(lambda shift: {"": self.real(shift)})), 0.5)
        return max(ripples, self.quantum / math.sqrt(12))

    @cached_property
    def quantum(self) -> float:
        """The step in which J moves, if it stands still before and after; 0 if it does not, or if that is rounding."""
        signs = {name: self.signs(name) for name in self.theta}

        def at(t: float) -> float:
            return self.real({name: t * s for name, s in signs.items()})

        finest, *wider = (self.distance(bits) for bits in STANDING)
        ahead = next((sign for sign in (1, -1) if at(sign * finest) == self.start), 0)  # theta may be at an edge
        first = ahead * next((t for t in wider if at(ahead * t) != self.start), 0.0)
        if first == 0:
            return 0.0
        beyond = {at(first * (1 + k / 1024)) for k in range(4)}
        step = min((b - a for a, b in pairwise(sorted(beyond | {self.start, at(first / 2)}))), default=0.0)
        stands = len(beyond) < 4 and all(map(math.isfinite, beyond))
        return step if stands and step > COARSE * self.u * abs(self.start) else 0.0

    def noise_of_step(self, name: str, d: Vector) -> float:
        """The noise of the complex step along d."""
        ripples = self._ripples(lambda shift: {"": self.imaginary(name, d, at=self.moved(shift))})
        return _quantile((ripple[""] for ripple in ripples), 0.5)

    def noise_of_gradient(self, name: str, d: Vector) -> float:
        """The noise of <g, d>, for the gradient g under test: ripples, and what a few roundings of theta do to it."""
        places = np.flatnonzero(d)
        weights = d[places] * self.scale[name].ravel()[places]

        def along(g: Tensors) -> float:
            return float(np.sum(weights * g[name].ravel()[places]))

        here, beside = along(self._beside[0]), [along(g) for g in self._beside[1:]]
        moves = [abs(there - here) for there in beside if math.isfinite(there - here)]
        rounding = 4 * self.u * float(np.linalg.norm(weights * self._far[name].ravel()[places]))
        return _quantile(map(along, self._gradient_ripples), 0.75) + max(moves, default=0.0) + rounding

    @cached_property
    def _gradient_ripples(self) -> list[dict[str, Any]]:
        return self._ripples(lambda shift: self._gradient_at(self.moved(shift)))

    @cached_property
    def _beside(self) -> list[Tensors]:
        """The gradient at theta and a few roundings off: code cannot be more exact than its input."""
        return [self._gradient_at(tensors) for tensors in (self.theta, *(self.jittered() for _ in range(JITTERS)))]

    @cached_property
    def _far(self) -> Tensors:
        """The size of the gradient where theta, or one tensor of it, is smaller.

        Where a unit is saturated, p - y is as wrong as p is rounded, and only elsewhere is it as large as p.
        """
        points = [{n: c * t for n, t in self.theta.items()} for c in FAR]
        points += [{**self.theta, n: c * t} for n, t in self.theta.items() for c in FAR]
        far = [self._gradient_at(point) for point in points]
        return {n: np.max([np.where(np.isfinite(g[n]), np.abs(g[n]), 0.0) for g in far], axis=0) for n in self.theta}

    def _gradient_at(self, tensors: Tensors) -> Tensors:
        """The gradient under test, NaN where it raises: it need not be defined away from theta."""
        with _quiet():
            try:
                return self._gradient(tensors)
            except Exception:
                return {name: np.full(tensor.shape, math.nan) for name, tensor in self.theta.items()}

    def _ripples(self, function: Callable[[Tensors], Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Third differences over t, 2 t, 3 t, 4 t along a random direction for several t: noise of variance 1 if so."""
        signs = {name: self.signs(name) for name in self.theta}
        ripples = []
        for t in (self.distance(bits) * (-1) ** k for k, bits in enumerate(RIPPLES)):
            a, b, c, d = (function({name: k * t * s for name, s in signs.items()}) for k in (1, 2, 3, 4))
            ripples.append({name: (d[name] - a[name] + 3 * (b[name] - c[name])) / math.sqrt(20) for name in a})
        return ripples


def natural_scale(tensor: Vector) -> Vector:
    """max(|theta|, its lowest decile above 0) to a power of two; 1 where the tensor is 0."""
    size = np.abs(tensor)
    typical = float(np.quantile(size[size > 0], 0.1, method="lower")) if np.any(size) else 1.0
    rounded: Vector = 2.0 ** np.round(np.log2(np.maximum(size, typical)))
    return rounded


@contextmanager
def _quiet() -> Iterator[None]:
    """Points nobody asked for warn of nothing."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def _quantile(ripples: Iterable[float], q: float) -> float:
    """The q-th quantile of the sizes, of those that are finite."""
    finite = [abs(ripple) for ripple in ripples if math.isfinite(ripple)]
    return float(np.quantile(finite, q)) if finite else math.inf


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
