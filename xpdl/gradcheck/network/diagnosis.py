"""Diagnosis: the probable cause of a wrong gradient, found by making the same mistake on purpose.

Each common mistake predicts a gradient.  If the prediction agrees with the gradient under test, the report names the
mistake.  Some mistakes are made with the numeric gradient itself (a factor, a sign, a transpose), some with the L2
term, and some in a forward or backward pass (mistakes.py).  A wrong dz makes all layers below it wrong.  So the cause
that explains the most tensors is named first, and of several such causes the simplest.  If none fits, the report says
so.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
import math
from typing import TypeAlias

import numpy as np

from xpdl.gradcheck.network.mistakes import PASS_MISTAKES, Prediction, WrongTensor, remasked
from xpdl.gradcheck.network.perturbation import Point
from xpdl.gradcheck.report import FAIL, Parameter, Vector, ratio

Explanation: TypeAlias = tuple[Hashable, str]
"""The cause, which is the same for every tensor that it explains, and the text for this tensor."""
Explanations: TypeAlias = dict[Hashable, dict[str, str]]
"""Cause -> tensor -> text."""

VAGUE = 1e-2
"""A factor gets a meaning only if its relative difference from the factor with that meaning is below this."""

BLURRED = 0.25
"""If the bars are a larger part of the gradient than this, no factor is looked for: any factor would fit noise."""

WORST = 3
"""How many wrong entries are shown if no cause fits."""


def diagnose(at: Point, dz: Sequence[Vector], parameters: Mapping[str, Parameter]) -> dict[str, str]:
    """The probable cause for each tensor that fails, or its worst entries if none fits."""
    values = [*(layer.w for layer in at.layers), *at.biases]
    without = remasked(at)
    tensors = {
        name: WrongTensor(at, dz, without, index % len(at.layers), parameter, np.asarray(values[index]))
        for index, (name, parameter) in enumerate(parameters.items())
        if parameter.verdict == FAIL
    }
    named = _fewest_causes(_explanations(tensors))
    return {name: f"d{name} {named[name]}" if name in named else _unknown(tensor) for name, tensor in tensors.items()}


def _explanations(tensors: Mapping[str, WrongTensor]) -> Explanations:
    """Every cause that fits, simple causes before complicated ones."""
    found: Explanations = {}
    for cause_of in CAUSES:
        for name, tensor in tensors.items():
            for cause, text in cause_of(tensor):
                found.setdefault(cause, {}).setdefault(name, text)
    for name, tensor in tensors.items():
        for _, cause, text in _multiples(tensor):  # one entry is a multiple of any: it counts if it is that of others
            if cause in found:
                found[cause].setdefault(name, text)
    return found


def _fewest_causes(found: Explanations) -> dict[str, str]:
    """Tensor -> text.  The cause that explains the most tensors is taken first (of equals, the simplest); and so on."""
    named: dict[str, str] = {}
    while found:
        cause = max(found, key=lambda cause: len(found[cause]))
        named |= found.pop(cause)
        left = {cause: {t: text for t, text in texts.items() if t not in named} for cause, texts in found.items()}
        found = {cause: texts for cause, texts in left.items() if texts}
    return named


# Mistakes that can be seen in the tensor alone


def _not_finite(tensor: WrongTensor) -> Iterator[Explanation]:
    bad = ~np.isfinite(tensor.found.analytic)
    if bad.any():
        yield "not finite", f"has {int(bad.sum())} entries that are NaN or infinite"


def _all_zero(tensor: WrongTensor) -> Iterator[Explanation]:
    if not tensor.found.analytic.any():
        yield "zero", "is 0 everywhere"


def _transposed(tensor: WrongTensor) -> Iterator[Explanation]:
    numeric = tensor.found.numeric
    if tensor.is_weight and tensor.matches(numeric.T.reshape(numeric.shape)):
        yield "transposed", "is transposed"


def _permuted(tensor: WrongTensor) -> Iterator[Explanation]:
    """The numbers are right but in the wrong places."""
    a, n = tensor.found.analytic, tensor.found.numeric
    slack = min(64 * float(np.max(tensor.found.bar)), float(np.max(np.abs(a - n))) / 4)
    if not np.all(np.abs(np.sort(a, axis=None) - np.sort(n, axis=None)) <= slack):
        return
    for axis, name in enumerate(_axes(tensor)):
        if tensor.matches(np.flip(n, axis=axis)):
            yield (tensor.found.name, "reversed", axis), f"has its {name} in reverse order"
    yield (tensor.found.name, "permuted"), "has the right numbers in the wrong places"


# Factors


def _factor(tensor: WrongTensor) -> Iterator[Explanation]:
    """A multiple of the numeric gradient, L2 term excepted.  For a single entry, only factors with a meaning count."""
    yield from ((cause, text) for noted, cause, text in _multiples(tensor) if noted or tensor.value.size > 1)


def _multiples(tensor: WrongTensor) -> Iterator[tuple[bool, Hashable, str]]:
    """Yield a factor that fits: whether it has a meaning, the cause and the text."""
    penalty = tensor.at.net.l2 / tensor.n * tensor.value if tensor.is_weight else np.zeros_like(tensor.value)
    for part in (np.zeros_like(penalty), penalty):
        data = tensor.found.numeric - part
        if np.linalg.norm(tensor.found.bar) > BLURRED * np.linalg.norm(data):
            continue
        c = ratio(tensor.found.analytic - part, data)
        if math.isfinite(c) and tensor.matches(c * data + part):
            noted, text = _named_factor(tensor, c, data)
            yield noted, ("factor", text), text + (", its L2 term apart" if part.any() else "")
            return


def _named_factor(tensor: WrongTensor, c: float, data: Vector) -> tuple[bool, str]:
    """Whether the factor has a meaning, and the text."""
    if math.isclose(c, -1, rel_tol=1e-6):
        return True, "has the wrong sign"
    blur = float(np.linalg.norm(tensor.found.bar) / np.linalg.norm(data))
    tolerance = min(1e-6 + 4 * blur, VAGUE)
    names = [text for value, text in _factors(tensor) if math.isclose(c, value, rel_tol=tolerance)]
    return bool(names), f"is {_times(c)} the numeric gradient" + (f": {names[0]}" if names else "")


def _times(c: float) -> str:
    """The factor as "3 x", or as "1 + 2.0e-09 times" if six digits do not tell it from 1."""
    return f"1 {'-' if c < 1 else '+'} {abs(c - 1):.1e} times" if abs(c - 1) < 1e-4 else f"{c:.6g} x"


def _factors(tensor: WrongTensor) -> Iterator[tuple[float, str]]:
    """Factors that have a meaning here."""
    n, k = tensor.n, tensor.at.y.shape[1]
    if n > 1:
        yield n, f"n = {n:g}; the mean over samples is missing"
        yield 1 / n, f"1/n with n = {n:g}; divided by n twice"
    if tensor.at.weight is not None:
        yield n / len(tensor.at.y), "divided by the number of samples, not by the sum of their weights"
    yield from ((2, "as from the derivative of a square without the 1/2"), (0.5, "a 1/2 too many"))
    if k > 1:
        yield from ((k, f"the number of outputs, {k}"), (1 / k, f"1 / the number of outputs, {k}; a mean over outputs"))
    for drop in sorted(set(tensor.at.net.drops) - {0.0}):
        keep = 1 - drop
        yield from (
            (keep, f"1 - dropout = {keep:g}; a mask is not scaled"),
            (1 / keep, f"1 / (1 - dropout) = {1 / keep:g}"),
        )


# L2


def _l2_term(tensor: WrongTensor) -> Iterator[Explanation]:
    """A multiple of theta itself is added or missing."""
    residual, value = tensor.found.analytic - tensor.found.numeric, tensor.value
    if not value.any():
        return
    c, t = float(np.sum(residual * value) / np.sum(value * value)), tensor.at.net.l2 / tensor.n
    if not tensor.matches(tensor.found.numeric + c * value):
        return
    named = [text for factor, text in _l2_meanings(tensor) if t and math.isclose(c, factor * t, rel_tol=1e-4)]
    name = "w" if tensor.is_weight else "b"
    if named:
        yield ("L2", named[0]), named[0]
    elif value.size > 1:
        yield ("L2", f"{c:.6g}"), f"has {c:.6g} {name} too much: an L2 term that the loss does not have"


def _l2_meanings(tensor: WrongTensor) -> list[tuple[float, str]]:
    """How many times l2/n theta is too much, and what that means."""
    return [
        (-1, "lacks the L2 term l2/n w"),
        (-1 / 2, "has half the L2 term: l2/(2 n) w"),
        (tensor.n - 1, "has the L2 term without the mean: l2 w"),
        (1, "has the L2 term twice" if tensor.is_weight else "has an L2 term l2/n b; biases are not decayed"),
    ]


# Single entries, rows and columns


def _lines(tensor: WrongTensor) -> Iterator[Explanation]:
    """Some rows, columns, or entries of b are wrong, and the rest is right."""
    bad = tensor.bad
    if not 1 < bad.sum() <= bad.size / 2:
        return
    seen = bad | (np.abs(tensor.found.numeric) > tensor.found.bar)
    for axis, name in enumerate(_axes(tensor)):
        others = tuple(range(axis)) + tuple(range(axis + 1, bad.ndim))
        lines = np.asarray(bad.any(axis=others))
        filled = bad.sum(axis=others)[lines] > 0.9 * seen.sum(axis=others)[lines]
        runs = _runs(np.flatnonzero(lines).tolist())
        if filled.all() and 2 * lines.sum() <= len(lines) and len(runs) <= WORST + 1:
            zero = not np.compress(lines, tensor.found.analytic, axis=axis).any()
            state = "0" if zero else "wrong"
            name = name.removesuffix("s") if lines.sum() == 1 else name
            yield (tensor.found.name, "lines", axis), f"is {state} in {name} {', '.join(runs)}, and right elsewhere"


def _axes(tensor: WrongTensor) -> tuple[str, ...]:
    return ("rows", "columns") if tensor.is_weight else ("entries",)


def _runs(numbers: Sequence[int]) -> list[str]:
    """[1, 3, 4, 5] -> ["1", "3 to 5"]."""
    starts = [i for i in numbers if i - 1 not in numbers]
    stops = [i for i in numbers if i + 1 not in numbers]
    return [f"{start}" if start == stop else f"{start} to {stop}" for start, stop in zip(starts, stops, strict=True)]


def _few_entries(tensor: WrongTensor) -> Iterator[Explanation]:
    """Single entries are wrong, if most of the tensor is right."""
    bad = np.argwhere(tensor.bad)
    seen = int(np.sum(np.abs(tensor.found.numeric) > tensor.found.bar))
    if 0 < len(bad) <= max(1, 0.1 * seen) and seen > 1:
        places = ", ".join(str(list(map(int, index))) for index in bad[:4]) + ", ..." * (len(bad) > 4)
        yield (tensor.found.name, "entries"), f"is right but for {len(bad)} of {tensor.value.size} entries: {places}"


def _unknown(tensor: WrongTensor) -> str:
    """The text for a tensor without a known cause: its worst entries."""
    a, n = tensor.found.analytic, tensor.found.numeric
    order = np.argsort(-np.where(tensor.bad, np.abs(a - n) / tensor.found.bar, 0), axis=None)
    places = [np.unravel_index(int(i), a.shape) for i in order[: min(WORST, int(tensor.bad.sum()))]]
    worst = "; ".join(f"{list(map(int, place))} is {_apart(a[place], n[place])}" for place in places)
    return f"no known cause; {int(tensor.bad.sum()):,} of {a.size:,} entries wrong, the worst: {worst}"


def _apart(a: float, n: float) -> str:
    """Two numbers, with enough digits to tell them apart."""
    digits = next((d for d in (6, 9, 12) if f"{a:.{d}g}" != f"{n:.{d}g}"), 17)
    return f"{a:.{digits}g}, not {n:.{digits}g}"


# Mistakes in the forward or backward pass


def _passes(tensor: WrongTensor) -> Iterator[Explanation]:
    """The tensor is what a forward or backward pass with a mistake computes."""
    yield from (
        (prediction.cause, prediction.text)
        for predictions in PASS_MISTAKES
        for prediction in predictions(tensor)
        if _fits(tensor, prediction)
    )


def _fits(tensor: WrongTensor, prediction: Prediction) -> bool:
    """Whether the tensor is as predicted, dW with its L2 term or db; the worst entry is compared first."""
    worst = tensor.found.worst.index
    analytic, numeric = tensor.found.analytic[worst], tensor.found.numeric[worst]
    first = _predicted(tensor, prediction, tuple(slice(i, i + 1) for i in worst))
    if not abs(analytic - float(first.reshape(()))) <= abs(analytic - numeric) / 4:
        return False
    return tensor.matches(_predicted(tensor, prediction, (slice(None),) * len(worst)))


def _predicted(tensor: WrongTensor, prediction: Prediction, part: tuple[slice, ...]) -> Vector:
    """A part of the predicted tensor."""
    dz = prediction.dz[:, part[-1]]
    if not tensor.is_weight:
        return np.asarray(dz.sum(axis=0))
    layer = tensor.at.layers[tensor.l]
    x = layer.x if prediction.x is None else prediction.x
    return np.asarray(x[:, part[0]].T @ dz + tensor.at.net.l2 / (prediction.n or tensor.n) * layer.w[part])


CAUSES: list[Callable[[WrongTensor], Iterator[Explanation]]] = [
    _not_finite,
    _all_zero,
    _factor,
    _l2_term,
    _transposed,
    _passes,
    _lines,
    _few_entries,
    _permuted,
]
"""Functions that yield the causes of one kind.  Simple causes come first; those that may fit by accident come last."""
