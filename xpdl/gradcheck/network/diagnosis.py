"""Diagnosis: the probable cause of a wrong gradient, found by making the same mistake on purpose.

Each mistake that is often made predicts a gradient; the one that predicts what the code under test says is named.  Some
are made to the numeric gradient itself (a factor, a sign, a transpose), some to the L2 term, and some to a step of the
backward pass, which is then gone through from the numeric dz_l:

    da = dz_{l+1} w_{l+1}^T * mask,   dz_l = da f'(z_l),   dw_l = x_l^T dz_l,   db_l = sum of dz_l over the samples

The mistake may be in one layer or in all; the layers below a wrong dz are wrong because of it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import math
from typing import NamedTuple, TypeAlias

import numpy as np

from xpdl.activations import ACTIVATIONS
from xpdl.gradcheck.network.perturbation import Point
from xpdl.gradcheck.report import FAIL, Parameter, Vector, ratio

Guess: TypeAlias = tuple[str, Vector]  # what was done, and the tensor it gives


class Case(NamedTuple):
    """A wrong tensor, and what is known about it."""

    at: Point  # on the host
    dz: Sequence[Vector]  # numeric, (n, n_l)
    l: int  # its layer
    wrong: Parameter
    value: Vector  # the tensor of theta

    @property
    def is_weight(self) -> bool:
        """Whether it is a W."""
        return self.wrong.numeric.ndim == 2

    @property
    def n(self) -> int:
        """The number of samples."""
        return int(self.dz[0].shape[0])

    def predicts(self, guess: Vector) -> bool:
        """Whether the guess is what the code under test says."""
        guess = np.asarray(guess)
        if guess.shape != self.wrong.analytic.shape or not np.isfinite(guess).all():
            return False
        scale = np.max(np.abs(guess)) / max(np.max(np.abs(self.wrong.numeric)), 1e-300)
        slack = 64 * max(1.0, scale) * self.wrong.bar + 1e-10 * np.max(np.abs(guess))
        return bool(np.all(np.abs(self.wrong.analytic - guess) <= slack))


def diagnose(at: Point, dz: Sequence[Vector], parameters: Mapping[str, Parameter]) -> dict[str, str]:
    """The probable cause for each tensor that fails and for which one fits."""
    depth = len(at.layers)
    values = [*(layer.w for layer in at.layers), *at.biases]
    causes = {}
    for index, (name, parameter) in enumerate(parameters.items()):
        if parameter.verdict == FAIL:
            case = Case(at, dz, index % depth, parameter, np.asarray(values[index]))
            cause = next((found for look in LOOKS if (found := look(case))), None)
            if cause is not None:
                causes[name] = f"d{name} {cause}"
    return causes


def _not_finite(case: Case) -> str | None:
    bad = ~np.isfinite(case.wrong.analytic)
    return f"has {int(bad.sum())} entries that are NaN or infinite" if bad.any() else None


def _all_zero(case: Case) -> str | None:
    return "is 0 everywhere" if not case.wrong.analytic.any() else None


def _few_entries(case: Case) -> str | None:
    """Where most of a tensor is right, the mistake is in single entries."""
    a, n = case.wrong.analytic, case.wrong.numeric
    bad = np.argwhere(~(np.abs(a - n) <= case.wrong.bar))
    seen = int(np.sum(np.abs(n) > case.wrong.bar))
    if not 0 < len(bad) <= max(1, 0.1 * seen) or seen < 2:
        return None
    places = ", ".join(str(list(map(int, index))) for index in bad[:4])
    return f"is right but for {len(bad)} of {a.size} entries: {places}{', ...' if len(bad) > 4 else ''}"


def _factor(case: Case) -> str | None:
    """A multiple of the numeric gradient, L2 apart, with a name for the factor if there is one."""
    penalty = case.at.net.l2 / case.n * case.value if case.is_weight else np.zeros_like(case.value)
    for part in (np.zeros_like(penalty), penalty):
        data = case.wrong.numeric - part
        c = ratio(case.wrong.analytic - part, data)
        if math.isfinite(c) and case.predicts(c * data + part):
            return _named_factor(case, c) + (", its L2 term apart" if part.any() else "")
    return None


def _named_factor(case: Case, c: float) -> str:
    if math.isclose(c, -1, rel_tol=1e-6):
        return "has the wrong sign"
    names = [text for value, text in _factors(case) if math.isclose(c, value, rel_tol=1e-6 + 4 * _relative_bar(case))]
    return f"is {c:.6g} x the numeric gradient" + (f": {names[0]}" if names else "")


def _relative_bar(case: Case) -> float:
    numeric = case.wrong.numeric
    return float(np.linalg.norm(case.wrong.bar) / np.linalg.norm(numeric))


def _factors(case: Case) -> Iterator[tuple[float, str]]:
    """Factors that have a meaning here."""
    n, k = case.n, case.at.y.shape[1]
    yield from ((n, f"n = {n}; the mean over samples is missing"), (1 / n, f"1/n with n = {n}; divided by n twice"))
    yield from ((2, "as from the derivative of a square without the 1/2"), (0.5, "a 1/2 too many"))
    if k > 1:
        yield from ((k, f"the number of outputs, {k}"), (1 / k, f"1 / the number of outputs, {k}; a mean over outputs"))
    for drop in sorted(set(case.at.net.drops) - {0.0}):
        keep = 1 - drop
        yield from (
            (keep, f"1 - dropout = {keep:g}; a mask is not scaled"),
            (1 / keep, f"1 / (1 - dropout) = {1 / keep:g}"),
        )


def _l2_term(case: Case) -> str | None:
    """A multiple of theta itself, added or missing."""
    residual, value = case.wrong.analytic - case.wrong.numeric, case.value
    if not value.any():
        return None
    c, t = float(np.sum(residual * value) / np.sum(value * value)), case.at.net.l2 / case.n
    if not case.predicts(case.wrong.numeric + c * value):
        return None
    name = "w" if case.is_weight else "b"
    meanings = [
        (-t, "lacks the L2 term l2/n w"),
        (-t / 2, "has half the L2 term: l2/(2 n) w"),
        (t * (case.n - 1), "has the L2 term without the mean: l2 w"),
        (t, "has the L2 term twice" if case.is_weight else "has an L2 term l2/n b; biases are not decayed"),
    ]
    named = [text for value, text in meanings if t and math.isclose(c, value, rel_tol=1e-4)]
    return named[0] if named else f"has {c:.6g} {name} too much: an L2 term that the loss does not have"


def _transposed(case: Case) -> str | None:
    numeric = case.wrong.numeric
    return "is transposed" if case.is_weight and case.predicts(numeric.T.reshape(numeric.shape)) else None


def _permuted(case: Case) -> str | None:
    """The right numbers in the wrong places."""
    a, n = case.wrong.analytic, case.wrong.numeric
    slack = 64 * float(np.max(case.wrong.bar))
    if not np.all(np.abs(np.sort(a, axis=None) - np.sort(n, axis=None)) <= slack):
        return None
    for axis, name in enumerate(("rows", "columns")[: a.ndim]):
        if case.predicts(np.flip(n, axis=axis)):
            return f"has its {name if a.ndim == 2 else 'entries'} in reverse order"
    return "has the right numbers in the wrong places"


def _backward_step(case: Case) -> str | None:
    """A mistake in the backward pass."""
    return next((text for text, guess in _wrong_tensors(case) if case.predicts(guess)), None)


LOOKS: list[Callable[[Case], str | None]] = [
    _not_finite,
    _all_zero,
    _factor,
    _l2_term,
    _transposed,
    _backward_step,
    _few_entries,
    _permuted,
]
"""In this order: a simple cause before a complicated one."""


def _wrong_tensors(case: Case) -> Iterator[Guess]:
    """What the tensor would be for each mistake in a backward pass."""
    dz = case.dz[case.l]
    for text, x in _wrong_inputs(case) if case.is_weight else ():
        yield f"is computed from {text}", _tensor(case, dz, x)
    for text, wrong in (*_wrong_samples(dz), *_wrong_dz(case)):
        yield text, _tensor(case, wrong)


def _tensor(case: Case, dz: Vector, x: Vector | None = None) -> Vector:
    """dW with its L2 term, or db, from dz (n, n_l) and the layer's input x (n, n_in)."""
    if not case.is_weight:
        return np.asarray(dz.sum(axis=0))
    layer = case.at.layers[case.l]
    return np.asarray((layer.x if x is None else x).T @ dz + case.at.net.l2 / case.n * layer.w)


def _wrong_inputs(case: Case) -> Iterator[tuple[str, Vector]]:
    """What may have stood for the layer's input x."""
    at, l = case.at, case.l
    if l == 0:
        return
    below, mask = at.layers[l - 1], at.masks[l - 1]
    yield from ((f"z of layer {l} instead of its activations", below.z), ("the activations before dropout", below.a))
    if mask is not None:
        yield "activations whose mask is not scaled", below.a * (mask > 0)
        yield "pre-activations with the mask on them", below.z * mask
    for other, layer in enumerate(at.layers):
        if other != l and layer.x.shape == at.layers[l].x.shape:
            yield f"the input of layer {other + 1}", layer.x


def _wrong_samples(dz: Vector) -> Iterator[Guess]:
    """Samples that are left out, or taken alone."""
    n = len(dz)
    rows = np.arange(n)[:, None]
    yield "leaves out the last sample", np.where(rows < n - 1, dz, 0)
    yield "leaves out the first sample", np.where(rows > 0, dz, 0)
    yield "is that of the first sample alone", np.where(rows == 0, dz, 0)
    yield "is that of the last sample alone", np.where(rows == n - 1, dz, 0)
    yield "is that of the first sample alone, not divided by n", np.where(rows == 0, n * dz, 0)
    yield "is that of the last sample alone, not divided by n", np.where(rows == n - 1, n * dz, 0)


def _wrong_dz(case: Case) -> Iterator[Guess]:
    """dz of the tensor's layer, after a mistake in it or in a layer above."""
    at, l = case.at, case.l
    top = len(at.layers) - 1
    for text, dz in _wrong_deltas(at, case.dz[top]):
        yield _place(text, top, l), _down(at, dz, top, l)
    for text, mistake in _mistakes(at):
        for k in range(l, top):
            yield _place(text, k, l), _down(at, mistake(k, case.dz[k + 1]), k, l)
        wrong = case.dz[top]
        for k in reversed(range(l, top)):
            wrong = mistake(k, wrong)
        yield f"{text}, in every layer", wrong


def _place(text: str, k: int, l: int) -> str:
    return f"{text}, in layer {k + 1}" if k == l else f"follows from a wrong dz of layer {k + 1}, where it {text}"


def _down(at: Point, dz: Vector, k: int, l: int) -> Vector:
    """dz of layer l that follows from that of layer k >= l."""
    for m in reversed(range(l, k)):
        dz = _da(at, m, dz) * at.slope.at(at.layers[m].z)
    return dz


def _da(at: Point, m: int, dz: Vector) -> Vector:
    """da of hidden layer m, from dz of the layer after it."""
    da = dz @ at.layers[m + 1].w.T
    return np.asarray(da if at.masks[m] is None else da * at.masks[m])


def _wrong_deltas(at: Point, dz: Vector) -> Iterator[Guess]:
    """What may have stood for (p - y) / n."""
    p = np.asarray(at.net.head.predict(at.layers[-1].z))
    yield "lacks the labels: p / n instead of (p - y) / n", p / len(p)
    yield "has the derivative of the output twice: p (1 - p) (p - y) / n", p * (1 - p) * dz
    yield "has the derivative of the output instead of the cost's: p (1 - p) / n", p * (1 - p) / len(p)


def _mistakes(at: Point) -> Iterator[tuple[str, Callable[[int, Vector], Vector]]]:
    """Mistakes in a hidden layer: (layer, dz of the layer after it) -> its dz."""
    own = at.net.hidden if isinstance(at.net.hidden, str) else "the activation"

    def fprime(m: int) -> Vector:
        return np.asarray(at.slope.at(at.layers[m].z))

    def bare(m: int, dz: Vector) -> Vector:
        return np.asarray(dz @ at.layers[m + 1].w.T)

    def other(name: str, of_itself: bool) -> Callable[[int, Vector], Vector]:
        activation = ACTIVATIONS[name]

        def mistake(m: int, dz: Vector) -> Vector:
            z, a = at.layers[m].z, at.layers[m].a
            return np.asarray(activation.backward(_da(at, m, dz), z, activation.forward(z) if of_itself else a))

        return mistake

    yield f"lacks the derivative of {own}", other("identity", True)
    for name in ACTIVATIONS:
        if name not in (own, "identity"):
            for of_itself in (True, False):
                yield f"has the derivative of {name} instead of {own}", other(name, of_itself)
    yield f"has the derivative of {own} at a instead of z", lambda m, dz: _da(at, m, dz) * at.slope.at(at.layers[m].a)
    yield f"has the derivative of {own} twice", lambda m, dz: _da(at, m, dz) * fprime(m) ** 2
    yield f"has the branches of {own} swapped", lambda m, dz: _da(at, m, dz) * at.slope.at(-at.layers[m].z)
    if any(mask is not None for mask in at.masks):
        yield "lacks the dropout mask", lambda m, dz: bare(m, dz) * fprime(m)
        yield "has a dropout mask that is not scaled", lambda m, dz: bare(m, dz) * (_mask(at, m) > 0) * fprime(m)
        yield "has the dropout mask twice", lambda m, dz: _da(at, m, dz) * _mask(at, m) * fprime(m)
        yield (
            "has the dropout mask inverted",
            lambda m, dz: bare(m, dz) * (_mask(at, m) == 0) * _mask(at, m).max() * fprime(m),
        )
    yield "has w not transposed", lambda m, dz: _square(at, m, dz) * fprime(m)


def _mask(at: Point, m: int) -> Vector:
    return np.asarray(np.ones_like(at.layers[m].z) if at.masks[m] is None else at.masks[m])


def _square(at: Point, m: int, dz: Vector) -> Vector:
    """dz w instead of dz w^T, which only a square w allows."""
    w = at.layers[m + 1].w
    return dz @ w * _mask(at, m) if w.shape[0] == w.shape[1] else np.full_like(at.layers[m].z, np.nan)
