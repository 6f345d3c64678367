"""Mistakes in a forward or backward pass, and the wrong dz and x of a layer that follow from each of them.

    da = dz_{l+1} w_{l+1}^T * mask,   dz_l = da f'(z_l),   dw_l = x_l^T dz_l,   db_l = sum of dz_l over the samples

A mistake may be in one layer or in all.  The layers below a wrong dz are wrong because of it.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple, TypeAlias

import numpy as np

from xpdl.activations import ACTIVATIONS
from xpdl.gradcheck.network.perturbation import Point, cost_derivative
from xpdl.gradcheck.report import Parameter, Vector


class WrongTensor(NamedTuple):
    """A tensor of the gradient that fails, and what is known about it."""

    at: Point  # on the host
    dz: Sequence[Vector]  # the numeric ones, (n, n_l)
    remasked: Mapping[str, Point]  # a mistake with all masks -> the point that follows from it
    l: int  # its layer, from 0
    found: Parameter
    value: Vector  # the tensor of theta

    @property
    def is_weight(self) -> bool:
        """Whether it is a matrix of weights, not a bias."""
        return self.found.numeric.ndim == 2

    @property
    def n(self) -> float:
        """The number of samples, each counted by its weight."""
        return float(self.at.count)

    @property
    def bad(self) -> Vector:
        """Which entries are wrong."""
        return np.asarray(~(np.abs(self.found.analytic - self.found.numeric) <= self.found.bar))

    def matches(self, guess: Vector) -> bool:
        """Whether a guess agrees with the gradient under test, and clearly better than the numeric gradient does."""
        analytic, numeric = self.found.analytic, self.found.numeric
        if guess.shape != analytic.shape or not np.isfinite(guess).all():
            return False
        scale = np.max(np.abs(guess)) / max(np.max(np.abs(numeric)), 1e-300)
        slack = 64 * max(1.0, scale) * self.found.bar + 1e-10 * np.max(np.abs(guess))
        error = np.abs(analytic - guess)
        return bool(np.all(error <= slack) and np.max(error) <= np.max(np.abs(analytic - numeric)) / 4)


class Prediction(NamedTuple):
    """A mistake, and the dz and the x from which the tensor is then computed."""

    cause: Hashable
    text: str
    dz: Vector  # (n, n_l)
    x: Vector | None = None  # (n, n_in); None: the layer's own
    n: float | None = None  # the divisor of the L2 term; None: the number of samples


def _wrong_inputs(tensor: WrongTensor) -> Iterator[Prediction]:
    """The layer's input x was mistaken for another array."""
    at, l = tensor.at, tensor.l
    if l == 0 or not tensor.is_weight:
        return
    below, mask = at.layers[l - 1], at.masks[l - 1]
    inputs = [(f"z of layer {l} instead of its activations", below.z), ("the activations before dropout", below.a)]
    if mask is not None:
        inputs.append(("activations whose mask is not scaled", below.a * (mask > 0)))
        inputs.append(("pre-activations with the mask on them", below.z * mask))
    for other, layer in enumerate(at.layers):
        if other != l and layer.x.shape == at.layers[l].x.shape:
            inputs.append((f"the input of layer {other + 1}", layer.x))
    yield from (Prediction(("input", text), f"is computed from {text}", tensor.dz[l], x) for text, x in inputs)


def _wrong_samples(tensor: WrongTensor) -> Iterator[Prediction]:
    """Samples are left out or taken alone.  If the sum is divided by their number, the L2 term may be, too."""
    dz, n = tensor.dz[tensor.l], tensor.n
    weight = np.ones(len(dz)) if tensor.at.weight is None else tensor.at.weight
    weight = weight.mean(axis=1) if weight.ndim == 2 else weight
    for text, choose in SUBSETS.items():
        chosen = choose(np.arange(len(dz)), len(dz))
        m = float(weight[chosen].sum())
        if not 0 < m < n:
            continue
        part = np.where(chosen[:, None], dz, 0)
        yield Prediction((text, n), text, part)
        divided = f"{text}, not divided by n" if m == 1 else f"{text}, divided by {m:g} instead of n = {n:g}"
        for penalised in (n, m):
            yield Prediction((text, m, penalised), divided, n / m * part, n=penalised)


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


def _wrong_masks(tensor: WrongTensor) -> Iterator[Prediction]:
    """The gradient belongs to another cost, with other dropout masks."""
    for text, at in tensor.remasked.items():
        top = len(at.layers) - 1
        dz = np.asarray(cost_derivative(at, at.layers[top].z)) * at.share
        yield Prediction(text, text, _backpropagated(at, dz, top, tensor.l), at.layers[tensor.l].x)


def remasked(at: Point) -> dict[str, Point]:
    """The point that follows from each mistake with all masks; empty if there are no masks."""
    if all(mask is None for mask in at.masks):
        return {}
    none = [None] * len(at.masks)
    unscaled = [mask if mask is None else np.asarray(mask > 0, np.float64) for mask in at.masks]
    return {
        "is that of the cost without its dropout masks": _with_masks(at, none, none),
        "is that of the cost with dropout masks that are not scaled": _with_masks(at, unscaled, unscaled),
        "leaves the dropout masks out of its forward pass": _with_masks(at, none, at.masks),
    }


def _with_masks(at: Point, forward: Sequence[Vector | None], backward: Sequence[Vector | None]) -> Point:
    """The point with some masks in its forward pass, and others for the backward pass."""
    theta = at.net.pack([(layer.w, b) for layer, b in zip(at.layers, at.biases, strict=True)])
    layers = replace(at.net, inputs=None).forward(theta, at.layers[0].x, forward)  # this x is scaled already
    return at._replace(layers=layers, masks=backward)


def _wrong_deltas(tensor: WrongTensor) -> Iterator[Prediction]:
    """The dz of the loss was mistaken for another array."""
    at, top = tensor.at, len(tensor.at.layers) - 1
    p, derivative = (np.asarray(f(at.layers[-1].z)) for f in (at.net.head.predict, partial(cost_derivative, at)))
    deltas = {
        "lacks the weights of the samples": derivative / len(p),
        "has (p - y) / n, which is not the derivative of this cost": (p - at.y) * at.each,
        "lacks the labels: p / n instead of (p - y) / n": p * at.each,
        "has the derivative of the output twice: p (1 - p) (p - y) / n": p * (1 - p) * tensor.dz[top],
        "has the derivative of the output instead of the cost's: p (1 - p) / n": p * (1 - p) * at.each,
    }
    for text, dz in deltas.items():
        for n in {tensor.n, float(len(p))}:
            yield Prediction((text, n), _with_layer(text, top, tensor.l), _backpropagated(at, dz, top, tensor.l), n=n)


def _wrong_hidden(tensor: WrongTensor) -> Iterator[Prediction]:
    """The backward pass has a mistake in the tensor's layer, in one layer above it, or in all of these."""
    at, l, top = tensor.at, tensor.l, len(tensor.at.layers) - 1
    for text, mistake in _hidden_mistakes(at):
        for k in range(l, top):
            yield Prediction(
                (text, k), _with_layer(text, k, l), _backpropagated(at, mistake(at, k, tensor.dz[k + 1]), k, l)
            )
        wrong = tensor.dz[top]
        for k in reversed(range(l, top)):
            wrong = mistake(at, k, wrong)
        yield Prediction((text, "all"), f"{text}, in every layer", wrong)


def _with_layer(text: str, k: int, l: int) -> str:
    return f"{text}, in layer {k + 1}" if k == l else f"follows from a wrong dz of layer {k + 1}, where it {text}"


# Steps of the backward pass, and mistakes in them

Mistake: TypeAlias = Callable[[Point, int, Vector], Vector]
"""(point, hidden layer m, dz of the layer after it) -> dz of layer m"""


def _backpropagated(at: Point, dz: Vector, k: int, l: int) -> Vector:
    """dz of layer l that follows from dz of layer k >= l."""
    for m in reversed(range(l, k)):
        dz = _da(at, m, dz) * _fprime(at, m)
    return dz


def _da(at: Point, m: int, dz: Vector) -> Vector:
    return _da_without_mask(at, m, dz) * _mask(at, m)


def _da_without_mask(at: Point, m: int, dz: Vector) -> Vector:
    """da without its mask."""
    return np.asarray(dz @ at.layers[m + 1].w.T)


def _mask(at: Point, m: int) -> Vector:
    return np.asarray(np.ones_like(at.layers[m].z) if at.masks[m] is None else at.masks[m])


def _fprime(at: Point, m: int) -> Vector:
    return np.asarray(at.fprime(m).at(at.layers[m].z))


def _square(at: Point, m: int, dz: Vector) -> Vector:
    """dz w instead of dz w^T, which is possible only if w is square."""
    w = at.layers[m + 1].w
    return dz @ w * _mask(at, m) if w.shape[0] == w.shape[1] else np.full_like(at.layers[m].z, np.nan)


def _other(name: str, of_itself: bool) -> Mistake:
    """The backward step of another activation, with its own a or with that of the right activation."""
    activation = ACTIVATIONS[name]

    def mistake(at: Point, m: int, dz: Vector) -> Vector:
        z, a = at.layers[m].z, at.layers[m].a
        return np.asarray(activation.backward(_da(at, m, dz), z, activation.forward(z) if of_itself else a))

    return mistake


def _hidden_mistakes(at: Point) -> Iterator[tuple[str, Mistake]]:
    """The mistakes that are possible in the hidden layers of this network."""
    own = at.net.hidden if isinstance(at.net.hidden, str) else "the activation"
    yield f"lacks the derivative of {own}", _da
    for name in ACTIVATIONS:
        if name not in (own, "identity"):
            yield from ((f"has the derivative of {name} instead of {own}", _other(name, i)) for i in (True, False))
    yield from ((text.format(own), mistake) for text, mistake in DERIVATIVE_MISTAKES)
    yield from MASK_MISTAKES if any(mask is not None for mask in at.masks) else ()
    yield "has w not transposed", lambda at, m, dz: _square(at, m, dz) * _fprime(at, m)


DERIVATIVE_MISTAKES: list[tuple[str, Mistake]] = [
    ("has the derivative of {} at a instead of z", lambda at, m, dz: _da(at, m, dz) * at.fprime(m).at(at.layers[m].a)),
    ("has the derivative of {} twice", lambda at, m, dz: _da(at, m, dz) * _fprime(at, m) ** 2),
    ("has the branches of {} swapped", lambda at, m, dz: _da(at, m, dz) * at.fprime(m).at(-at.layers[m].z)),
]

MASK_MISTAKES: list[tuple[str, Mistake]] = [
    ("lacks the dropout mask", lambda at, m, dz: _da_without_mask(at, m, dz) * _fprime(at, m)),
    (
        "has a dropout mask that is not scaled",
        lambda at, m, dz: _da_without_mask(at, m, dz) * (_mask(at, m) > 0) * _fprime(at, m),
    ),
    ("has the dropout mask twice", lambda at, m, dz: _da(at, m, dz) * _mask(at, m) * _fprime(at, m)),
    (
        "has the dropout mask inverted",
        lambda at, m, dz: _da_without_mask(at, m, dz) * (_mask(at, m) == 0) * _mask(at, m).max() * _fprime(at, m),
    ),
]

PASS_MISTAKES: list[Callable[[WrongTensor], Iterator[Prediction]]] = [
    _wrong_inputs,
    _wrong_samples,
    _wrong_masks,
    _wrong_deltas,
    _wrong_hidden,
]
