"""Clipping: a gradient longer than some norm does the same as the gradient scaled to it, with any rule behind it.

So no rule is needed to see it.  ``find_clip`` looks for the length from which on a longer gradient changes nothing, and
then compares the optimizer with itself: its path with long gradients, and its path with gradients clipped beforehand.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from xpdl.gradcheck.report import Vector
from xpdl.gradcheck.update.coupling import layers_of
from xpdl.gradcheck.update.measure import quotient
from xpdl.gradcheck.update.report import entries
from xpdl.gradcheck.update.rules import DOUBT, FAULT, FORM
from xpdl.gradcheck.update.subject import HUGE_GRADIENT, Subject, scale_of, tolerance_of

Norm: TypeAlias = Callable[[Vector], Any]
Layers: TypeAlias = Sequence[tuple[Vector, Vector]]  # in each, the entries that count and those that are scaled
SAME = 1e-4
"""Paths that differ by less than this part of their longest step are the same where a threshold is looked for: more
than the 1e-6 of c / (norm + 1e-6) where c > 0.02, and less than the thousandth part of what half a gradient changes."""
COARSE = 16 * SAME
"""The same for a threshold so short that its epsilon matters more: c > 0.001."""
TINY = 1e-10


def _length(g: Vector) -> Any:
    return np.sqrt(np.sum(g * g, axis=-1))


NORMS: tuple[tuple[Norm, int, str], ...] = (
    (_length, FORM, ""),
    (lambda g: np.sum(np.abs(g), axis=-1), DOUBT, "the norm is the sum of absolute values, not the root of squares"),
    (lambda g: np.max(np.abs(g), axis=-1), DOUBT, "the norm is the largest absolute value, not the root of squares"),
    (lambda g: np.abs(np.sum(g, axis=-1)), FAULT, "the norm is the sum of the entries, which are not squared"),
)
"""What may stand in the place of the norm, and what is said of it."""


class Clip(NamedTuple):
    """How gradients are clipped: in each layer, some entries count in the norm, and some are scaled."""

    name: str  # what is put before the name of the rule
    length: float  # c, to which longer gradients are scaled by c / (norm + eps); 0 if the rest cannot be seen
    eps: float
    norm: Norm
    layers: Layers
    findings: list[tuple[int, str]]

    @property
    def largest(self) -> float:
        """A gradient of all entries that is not clipped."""
        return 0.99 * self.length / max(float(self.norm(np.ones(len(counted)))) for counted, _ in self.layers)

    @property
    def hyperparameters(self) -> dict[str, float]:
        """The norm to which gradients are clipped, and epsilon."""
        return {"clip": self.length} | ({"clip_eps": self.eps} if self.eps else {})

    def __call__(self, grads: Vector) -> Vector:
        """The clipped gradients (T, P)."""
        clipped = grads.copy()
        for counted, scaled in self.layers:
            norm = self.norm(grads[:, counted])
            clipped[:, scaled] *= np.minimum(1.0, self.length / np.maximum(norm + self.eps, 1e-300))[:, None]
        return clipped


def find_clip(subject: Subject, links: Vector, rng: np.random.Generator) -> Clip | None:
    """How gradients are clipped; None if they are not, or in an unknown way.  ``links`` is the influence of entries."""
    found = (_found(subject, links, rng, same) for same in (SAME, COARSE))
    return next(filter(None, found), None)


def _found(subject: Subject, links: Vector, rng: np.random.Generator, same: float) -> Clip | None:
    """The same, if paths that differ by this part of their longest step are the same."""
    layers = _parts(links)
    counted, scaled = layers[0]
    seen = []
    for _ in range(3):
        directions = np.zeros((3, subject.size))
        directions[:, counted] = rng.standard_normal((3, len(counted)))
        found = _thresholds(_ends(subject, directions, scaled), subject.u, same)
        if found is None or isinstance(found, Clip):
            return found
        seen.append((directions[1, counted], *found))
    several = [layer for layer in layers if len(layer[0]) > 1]
    for row in NORMS:
        lengths = [float(row[0](along)) * length for along, length, _ in seen]
        if np.ptp(lengths) <= same * lengths[0]:
            eps = float(row[0](seen[0][0])) * seen[0][2]
            clips = (_clip(parts, row, lengths[0], eps, subject.size) for parts in (layers, several) if parts)
            return next((clip for clip in clips if _does(subject, clip, rng)), None)
    return None


def _thresholds(end: Callable[..., Vector], u: float, same: float) -> tuple[float, float] | Clip | None:
    """The size of the second gradient from which on it is clipped, and eps; or what is wrong with clipping."""
    far = end(HUGE_GRADIENT)
    if not far.any():
        return _seen(*DROPPED) if end(TINY).any() else None
    if _apart(end(2 * HUGE_GRADIENT), far) > same or _apart(end(2 * HUGE_GRADIENT, 2 * HUGE_GRADIENT), far) > same:
        return _scaling_up(end)
    low, high = _threshold(lambda size: _apart(end(size), far) <= same, same**1.5)
    if high < 2 * TINY:
        return None if _apart(end(TINY, TINY), far) > same else _seen(FAULT, NORMALISED)
    if _apart(end(low), far) > 2 * same:
        return _seen(*(DROPPED if _apart(end(0.0), far) <= same else JUMPS))
    length, eps = _refined(end, low, same, far, u)
    return _refined(end, length, same / 10 + 4 * eps / length, far, u)


NORMALISED = "every gradient is scaled to one norm, also if it is shorter: normalised, not clipped"
SCALED_UP = "gradients that are too short are scaled up to a norm, and longer ones are left: max where min is meant"
DROPPED = DOUBT, "gradients longer than some norm are taken for 0, and not scaled to it"
JUMPS = FAULT, "gradients longer than some norm are scaled to another: steps jump there"


def _seen(kind: int, text: str) -> Clip:
    return Clip("", 0.0, 0.0, _length, (), [(kind, text)])


def _ends(subject: Subject, directions: Vector, scaled: Vector) -> Callable[..., Vector]:
    """end(size, around) -> the last two steps of three, for a gradient of this size between two huge ones."""

    def end(size: float, around: float = HUGE_GRADIENT) -> Vector:
        grads = directions * np.array([[around], [size], [around]])
        return np.diff(subject.run(0.0, grads)[1:, scaled], axis=0).ravel()

    return end


def _apart(one: Vector, other: Vector) -> float:
    """The difference, relative to what is larger; infinite if it is not a number."""
    apart = np.max(np.abs(one - other)) / max(float(np.max(np.abs([one, other]))), 1e-300)
    return float(apart) if np.isfinite(apart) else np.inf


def _scaling_up(end: Callable[..., Vector]) -> Clip | None:
    """What is said of an optimizer to which short gradients are all the same."""
    near = end(TINY, TINY)
    same = _apart(end(2 * TINY, TINY), near) <= SAME and _apart(end(2 * TINY, 2 * TINY), near) <= SAME
    return _seen(FAULT, SCALED_UP) if same and near.any() else None


def _threshold(same: Callable[[float], bool], gap: float) -> tuple[float, float]:
    """The sizes, below the huge one and close to each other, between which paths cease to be the same."""
    high = HUGE_GRADIENT
    while high > TINY and same(high / 2):
        high /= 2
    low = high / 2
    while high - low > gap * high:
        middle = (low + high) / 2
        low, high = (low, middle) if same(middle) else (middle, high)
    return low, high


def _refined(end: Callable[..., Vector], low: float, gap: float, far: Vector, u: float) -> tuple[float, float]:
    """c by a secant just below the threshold, and eps from a gradient twice as long."""
    sizes = low * (1 - 2 * gap), low * (1 - gap)
    along = end(sizes[0]) - far
    missing = [float((end(size) - far) @ along) for size in (*sizes, 2 * low)]
    rate = quotient(sizes[1] - sizes[0], missing[0] - missing[1])
    length = sizes[1] + missing[1] * rate
    eps = 2 * length * (quotient(length, length - missing[2] * rate) - 1)
    return length, eps if eps > u**0.75 * length else 0.0


def _parts(links: Vector) -> list[tuple[Vector, Vector]]:
    """The entries of each layer that count and those that are scaled, the largest layer first; both, if it is one."""
    layers = sorted(layers_of(links), key=len, reverse=True)
    return [(one, one) if len(one) == 1 else (one[links[one].any(1)], one[links[:, one].any(0)]) for one in layers]


def _does(subject: Subject, clip: Clip, rng: np.random.Generator) -> bool:
    """Whether the optimizer makes the same steps if gradients, from short to long, are clipped beforehand."""
    if any(len(np.setdiff1d(counted, scaled)) for counted, scaled in clip.layers):
        return True  # what is clipped is too long still
    grads = rng.standard_normal((12, subject.size))
    for counted, _ in clip.layers:
        sizes = clip.length * 10 ** rng.uniform(-1, 1.5, 12)
        grads[:, counted] *= (sizes / clip.norm(grads[:, counted]))[:, None]
    one, other = (subject.run(0.0, g) for g in (grads, clip(grads)))
    bar = tolerance_of(subject.u) + len(grads) * clip.eps / clip.length  # what is clipped, is clipped again by eps
    return bool(np.all(np.abs(one - other) <= bar * scale_of(one, subject.u)))


def _clip(
    layers: Sequence[tuple[Vector, Vector]], row: tuple[Norm, int, str], length: float, eps: float, size: int
) -> Clip:
    several = len(layers[0][0]) > 1
    name = ("layer-clipped" if len(layers) > 1 else "clipped") if several else "value-clipped"
    kind, what = KINDS[name]
    findings = [(kind, what.format(length, entries(layers[0][1]), len(layers)))]
    norm, kind, text = row
    findings += [(kind, text)] if text else []
    for counted, scaled in layers:
        for lost, words in ((np.setdiff1d(scaled, counted), UNCOUNTED), (np.setdiff1d(counted, scaled), UNSCALED)):
            findings += [(FAULT, words.format(entries(lost)))] if len(lost) else []
    left = np.setdiff1d(np.arange(size), np.concatenate([one for layer in layers for one in layer]))
    findings += [(DOUBT, f"{entries(left)}: not clipped, and do not count in the norm")] if len(left) else []
    return Clip(name, length, eps, norm, layers, findings)


UNCOUNTED = "{}: scaled with the norm of other entries, and do not count in it"
UNSCALED = "{}: count in the norm of the gradient, but are not scaled"
KINDS = {
    "value-clipped": (FORM, "gradients are clipped by value, to {0:.6g}"),
    "clipped": (FORM, "gradients are clipped by their global norm: scaled to {0:.6g} if it is larger"),
    "layer-clipped": (
        FORM,
        "gradients are clipped by the norm of each of {2} layers, as {1}, and not by the global norm (Keras: clipnorm)",
    ),
}
"""What is said of clipping, by the name that is put before that of the rule."""
