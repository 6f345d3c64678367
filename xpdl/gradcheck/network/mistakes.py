"""Mistakes in a forward or backward pass: what dz and x of a layer they lead to, from the right dz.

    da = dz_{l+1} w_{l+1}^T * mask,   dz_l = da f'(z_l),   dw_l = x_l^T dz_l,   db_l = sum of dz_l over the samples

A mistake may be in one layer or in all; the layers below a wrong dz are wrong because of it.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

import numpy as np

from xpdl.activations import ACTIVATIONS
from xpdl.gradcheck.network.perturbation import Point, cost_slope
from xpdl.gradcheck.report import Parameter, Vector


class Case(NamedTuple):
    """A wrong tensor, and what is known about it."""

    at: Point  # on the host
    dz: Sequence[Vector]  # numeric, (n, n_l)
    remasked: Mapping[str, Point]  # what was done to the masks, and the point it leads to
    l: int  # its layer
    wrong: Parameter
    value: Vector  # the tensor of theta

    @property
    def is_weight(self) -> bool:
        """Whether it is a W."""
        return self.wrong.numeric.ndim == 2

    @property
    def n(self) -> float:
        """The number of samples, each counted by its weight."""
        return float(self.at.count)

    @property
    def bad(self) -> Vector:
        """Which entries are wrong."""
        return np.asarray(~(np.abs(self.wrong.analytic - self.wrong.numeric) <= self.wrong.bar))

    def predicts(self, guess: Vector) -> bool:
        """Whether the guess is what the code under test says, and clearly more so than the numeric gradient."""
        analytic, numeric = self.wrong.analytic, self.wrong.numeric
        if guess.shape != analytic.shape or not np.isfinite(guess).all():
            return False
        scale = np.max(np.abs(guess)) / max(np.max(np.abs(numeric)), 1e-300)
        slack = 64 * max(1.0, scale) * self.wrong.bar + 1e-10 * np.max(np.abs(guess))
        off = np.abs(analytic - guess)
        return bool(np.all(off <= slack) and np.max(off) <= np.max(np.abs(analytic - numeric)) / 4)


class Guess(NamedTuple):
    """A mistake in a backward pass: what was done, and the dz and the x that the tensor is made of after it."""

    cause: Hashable
    text: str
    dz: Vector  # (n, n_l)
    x: Vector | None = None  # (n, n_in), if it is not the layer's own
    n: float | None = None  # by which the L2 term is divided, if it is not the number of samples


def _wrong_inputs(case: Case) -> Iterator[Guess]:
    """What may have stood for the layer's input x."""
    at, l = case.at, case.l
    if l == 0 or not case.is_weight:
        return
    below, mask = at.layers[l - 1], at.masks[l - 1]
    inputs = [(f"z of layer {l} instead of its activations", below.z), ("the activations before dropout", below.a)]
    if mask is not None:
        inputs.append(("activations whose mask is not scaled", below.a * (mask > 0)))
        inputs.append(("pre-activations with the mask on them", below.z * mask))
    for other, layer in enumerate(at.layers):
        if other != l and layer.x.shape == at.layers[l].x.shape:
            inputs.append((f"the input of layer {other + 1}", layer.x))
    yield from (Guess(("input", text), f"is computed from {text}", case.dz[l], x) for text, x in inputs)


def _wrong_samples(case: Case) -> Iterator[Guess]:
    """Samples that are left out, or taken alone; divided by their number, the L2 term may be so too."""
    dz, n = case.dz[case.l], case.n
    weight = np.ones(len(dz)) if case.at.weight is None else case.at.weight
    for text, choose in SUBSETS.items():
        chosen = choose(np.arange(len(dz)), len(dz))
        m = float(weight[chosen].sum())
        if not 0 < m < n:
            continue
        part = np.where(chosen[:, None], dz, 0)
        yield Guess((text, n), text, part)
        divided = f"{text}, not divided by n" if m == 1 else f"{text}, divided by {m:g} instead of n = {n:g}"
        for penalised in (n, m):
            yield Guess((text, m, penalised), divided, n / m * part, n=penalised)


SUBSETS: dict[str, Callable[[Vector, int], Vector]] = {
    "leaves out the last sample": lambda rows, n: rows < n - 1,
    "leaves out the first sample": lambda rows, n: rows > 0,
    "is that of the first sample alone": lambda rows, n: rows == 0,
    "is that of the last sample alone": lambda rows, n: rows == n - 1,
    "is that of the first half of the samples": lambda rows, n: rows < n // 2,
    "is that of the first half of the samples, rounded up": lambda rows, n: rows < (n + 1) // 2,
    "is that of the second half of the samples": lambda rows, n: rows >= n // 2,
    "is that of the second half of the samples, rounded down": lambda rows, n: rows >= (n + 1) // 2,
    "is that of every other sample": lambda rows, n: rows % 2 == 0,
    "is that of every other sample, from the second on": lambda rows, n: rows % 2 == 1,
}


def _wrong_masks(case: Case) -> Iterator[Guess]:
    """Another cost: that of other dropout masks."""
    for text, at in case.remasked.items():
        top = len(at.layers) - 1
        dz = np.asarray(cost_slope(at, at.layers[top].z)) * at.share
        yield Guess(text, text, _down(at, dz, top, case.l), at.layers[case.l].x)


def remasked(at: Point) -> dict[str, Point]:
    """The point after a mistake with all masks, if there are any."""
    if all(mask is None for mask in at.masks):
        return {}
    none = [None] * len(at.masks)
    unscaled = [mask if mask is None else np.asarray(mask > 0, np.float64) for mask in at.masks]
    return {
        "is that of the cost without its dropout masks": _again(at, none, none),
        "is that of the cost with dropout masks that are not scaled": _again(at, unscaled, unscaled),
        "leaves the dropout masks out of its forward pass": _again(at, none, at.masks),
    }


def _again(at: Point, forward: Sequence[Vector | None], backward: Sequence[Vector | None]) -> Point:
    """The point with these masks in the forward pass, and those for the backward pass."""
    theta = at.net.pack([(layer.w, b) for layer, b in zip(at.layers, at.biases, strict=True)])
    return at._replace(layers=at.net.forward(theta, at.layers[0].x, forward), masks=backward)


def _wrong_deltas(case: Case) -> Iterator[Guess]:
    """What may have stood for the dz of the loss."""
    at, top = case.at, len(case.at.layers) - 1
    p, slope = (np.asarray(f(at.layers[-1].z)) for f in (at.net.head.predict, partial(cost_slope, at)))
    deltas = {
        "lacks the weights of the samples": slope / len(p),
        "has (p - y) / n, which is not the derivative of this cost": (p - at.y) * at.share,
        "lacks the labels: p / n instead of (p - y) / n": p * at.share,
        "has the derivative of the output twice: p (1 - p) (p - y) / n": p * (1 - p) * case.dz[top],
        "has the derivative of the output instead of the cost's: p (1 - p) / n": p * (1 - p) * at.share,
    }
    for text, dz in deltas.items():
        for n in {case.n, float(len(p))}:
            yield Guess((text, n), _place(text, top, case.l), _down(at, dz, top, case.l), n=n)


def _wrong_hidden(case: Case) -> Iterator[Guess]:
    """dz of the tensor's layer, after a mistake in it, in a layer above, or in all of them."""
    at, l, top = case.at, case.l, len(case.at.layers) - 1
    for text, mistake in _mistakes(at):
        for k in range(l, top):
            yield Guess((text, k), _place(text, k, l), _down(at, mistake(at, k, case.dz[k + 1]), k, l))
        wrong = case.dz[top]
        for k in reversed(range(l, top)):
            wrong = mistake(at, k, wrong)
        yield Guess((text, "all"), f"{text}, in every layer", wrong)


def _place(text: str, k: int, l: int) -> str:
    return f"{text}, in layer {k + 1}" if k == l else f"follows from a wrong dz of layer {k + 1}, where it {text}"


# --- steps of the backward pass, and mistakes in them: of the point, the hidden layer m, and dz of the layer after it

Mistake: TypeAlias = Callable[[Point, int, Vector], Vector]


def _down(at: Point, dz: Vector, k: int, l: int) -> Vector:
    """dz of layer l that follows from that of layer k >= l."""
    for m in reversed(range(l, k)):
        dz = _da(at, m, dz) * _fprime(at, m)
    return dz


def _da(at: Point, m: int, dz: Vector) -> Vector:
    return _bare(at, m, dz) * _mask(at, m)


def _bare(at: Point, m: int, dz: Vector) -> Vector:
    """da without its mask."""
    return np.asarray(dz @ at.layers[m + 1].w.T)


def _mask(at: Point, m: int) -> Vector:
    return np.asarray(np.ones_like(at.layers[m].z) if at.masks[m] is None else at.masks[m])


def _fprime(at: Point, m: int) -> Vector:
    return np.asarray(at.slope.at(at.layers[m].z))


def _square(at: Point, m: int, dz: Vector) -> Vector:
    """dz w instead of dz w^T, which only a square w allows."""
    w = at.layers[m + 1].w
    return dz @ w * _mask(at, m) if w.shape[0] == w.shape[1] else np.full_like(at.layers[m].z, np.nan)


def _other(name: str, of_itself: bool) -> Mistake:
    """Another activation's backward step, with a of that activation or of the right one."""
    activation = ACTIVATIONS[name]

    def mistake(at: Point, m: int, dz: Vector) -> Vector:
        z, a = at.layers[m].z, at.layers[m].a
        return np.asarray(activation.backward(_da(at, m, dz), z, activation.forward(z) if of_itself else a))

    return mistake


def _mistakes(at: Point) -> Iterator[tuple[str, Mistake]]:
    """Mistakes in a hidden layer that are possible here."""
    own = at.net.hidden if isinstance(at.net.hidden, str) else "the activation"
    yield f"lacks the derivative of {own}", _da
    for name in ACTIVATIONS:
        if name not in (own, "identity"):
            yield from ((f"has the derivative of {name} instead of {own}", _other(name, i)) for i in (True, False))
    yield from ((text.format(own), mistake) for text, mistake in SLOPE_MISTAKES)
    yield from MASK_MISTAKES if any(mask is not None for mask in at.masks) else ()
    yield "has w not transposed", lambda at, m, dz: _square(at, m, dz) * _fprime(at, m)


SLOPE_MISTAKES: list[tuple[str, Mistake]] = [
    ("has the derivative of {} at a instead of z", lambda at, m, dz: _da(at, m, dz) * at.slope.at(at.layers[m].a)),
    ("has the derivative of {} twice", lambda at, m, dz: _da(at, m, dz) * _fprime(at, m) ** 2),
    ("has the branches of {} swapped", lambda at, m, dz: _da(at, m, dz) * at.slope.at(-at.layers[m].z)),
]

MASK_MISTAKES: list[tuple[str, Mistake]] = [
    ("lacks the dropout mask", lambda at, m, dz: _bare(at, m, dz) * _fprime(at, m)),
    (
        "has a dropout mask that is not scaled",
        lambda at, m, dz: _bare(at, m, dz) * (_mask(at, m) > 0) * _fprime(at, m),
    ),
    ("has the dropout mask twice", lambda at, m, dz: _da(at, m, dz) * _mask(at, m) * _fprime(at, m)),
    (
        "has the dropout mask inverted",
        lambda at, m, dz: _bare(at, m, dz) * (_mask(at, m) == 0) * _mask(at, m).max() * _fprime(at, m),
    ),
]

PASSES: list[Callable[[Case], Iterator[Guess]]] = [
    _wrong_inputs,
    _wrong_samples,
    _wrong_masks,
    _wrong_deltas,
    _wrong_hidden,
]
