"""One mistake in the whole tensor: a factor, a term, a symmetry, another tensor, another function of theta."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations, permutations
import math

import numpy as np

from xpdl.gradcheck.function.causes.evidence import DIGITS, Evidence, Hypothesis, Number
from xpdl.gradcheck.function.causes.orders import axes_named
from xpdl.gradcheck.report import Vector

# Factors


def named_factors(evidence: Evidence) -> Iterator[Hypothesis]:
    """Factors that have a meaning."""
    for factor, meaning in factor_meanings(lengths(evidence)):
        yield Hypothesis(factor_text(factor, meaning), evidence.claim / factor)


def factor_text(factor: float, meaning: str) -> str:
    """A factor and its meaning."""
    return f"{factor:.{DIGITS}g} x the numeric gradient: {meaning}"


def factor_meanings(counted: Mapping[int, str]) -> Iterator[tuple[float, str]]:
    """Each factor once, with those that follow from {length: what it counts}."""
    yield from MEANINGS
    found = {length: text for length, text in counted.items() if length > 2}
    for length, text in found.items():
        yield from ((float(length), f"{text} is {length}"), (1 / length, f"1 / {length}, {text} is {length}"))
    for length, text in found.items():
        root = math.sqrt(length)
        if root not in found:
            yield from ((root, f"the root of {length}, {text}"), (1 / root, f"1 / the root of {length}, {text}"))


MEANINGS = [(-1.0, "the sign is wrong"), (2.0, "counted twice"), (0.5, "half of it is missing")]


def lengths(evidence: Evidence) -> dict[int, str]:
    """Numbers of entries that a mean may divide by, and what they count."""
    shape, names = evidence.claim.shape, dict[int, list[str]]()
    for count in range(1, len(shape)):
        for axes in combinations(range(len(shape)), count):
            names.setdefault(math.prod(shape[axis] for axis in axes), []).append(axes_named(axes))
    for other, tensor in evidence.others.items():
        for axis, length in enumerate(tensor.shape):
            names.setdefault(length, []).append(f"axis {axis} of {other}")
    counted = {length: f"the length of {' or '.join(axes[:NAMED])}" for length, axes in names.items()}
    return counted | {evidence.claim.size: "the number of entries"}


NAMED = 3
"""A text names so many axes of the same length."""


def factor(evidence: Evidence) -> Iterator[Hypothesis]:
    """Any factor."""
    yield Hypothesis(lambda p: times(inverse(p[0])), 0.0, [evidence.claim])


def inverse(number: Number) -> Number:
    """1 / the number."""
    if number.value == 0:
        return Number(math.inf, 0.0)
    return Number(1 / number.value, number.error / abs(number.value) / abs(number.value))


def times(c: Number) -> str:
    """A factor, with enough digits to tell it from 1."""
    apart = abs(c.value - 1)
    if 0 < apart < 0.5 * 10.0 ** (1 - DIGITS):
        return f"1 {'-' if c.value < 1 else '+'} {apart:.1e} times the numeric gradient"
    return f"{c} x the numeric gradient{_of_a_mean(c)}"


def _of_a_mean(c: Number) -> str:
    """A guess, if the factor is a whole number or 1 / such a number."""
    for number, text in ((c, ": a sum instead of a mean over {}?"), (inverse(c), ": divided by {} once too often?")):
        whole = round(abs(number.value)) if abs(number.value) < 1e6 else 0
        if whole > 2 and number.is_at(whole) and number.error < 1e-5 * whole:
            return text.format(whole)
    return ""


# Terms


def offset(evidence: Evidence) -> Iterator[Hypothesis]:
    """The same number too much in every entry."""
    yield Hypothesis(
        lambda p: f"the numeric gradient + {opposite(p[0])} in every entry",
        evidence.claim,
        [np.ones_like(evidence.claim)],
    )


def multiple_of_theta(evidence: Evidence) -> Iterator[Hypothesis]:
    """As from a penalty: a multiple of theta or of its signs too much."""
    for name, term in (("theta", evidence.theta), ("sign(theta)", np.sign(evidence.theta))):
        if np.ptp(term) > 0:
            yield Hypothesis(partial(_with_penalty, name), evidence.claim, [term])


def _with_penalty(name: str, p: Sequence[Number]) -> str:
    return f"the numeric gradient + {opposite(p[0])} {name}: a penalty that differs from fun's"


def opposite(number: Number) -> Number:
    """- the number."""
    return Number(-number.value, number.error)


def centred(evidence: Evidence) -> Iterator[Hypothesis]:
    """A mean is not taken away, as behind a norm or softmax; of images a batch norm takes it over three axes."""
    ndim = evidence.claim.ndim
    for axes in (axes for count in range(1, ndim + 1) for axes in combinations(range(ndim), count)):
        mean = evidence.claim.mean(axes, keepdims=True)
        text = f"the numeric gradient without its mean along {axes_named(axes)} taken away"
        yield Hypothesis(text, evidence.claim - mean)


def summed(evidence: Evidence) -> Iterator[Hypothesis]:
    """Running sums: a carry."""
    for axis in range(evidence.claim.ndim):
        for text, carry in CARRIES.items():
            yield Hypothesis(text.format(axis=axis), carry(evidence.claim, axis))


def _later(g: Vector, axis: int) -> Vector:
    return np.flip(np.cumsum(np.flip(g, axis), axis), axis)


CARRIES: dict[str, Callable[[Vector, int], Vector]] = {
    "the numeric gradient without what later indices of axis {axis} carry back: a lost carry": _later,
    "the numeric gradient without what earlier indices of axis {axis} add: a lost running sum": np.cumsum,
    "the numeric gradient plus that of all later indices of axis {axis}": lambda g, axis: np.diff(
        -g, axis=axis, append=0
    ),
    "the numeric gradient plus that of all earlier indices of axis {axis}": lambda g, axis: np.diff(
        g, axis=axis, prepend=0
    ),
}


# Symmetry


def symmetries(evidence: Evidence) -> Iterator[Hypothesis]:
    """A matrix, or a stack of them, taken for symmetric, triangular, or with other weights of its halves."""
    claim = evidence.claim
    if claim.ndim >= 2 and claim.shape[-1] == claim.shape[-2] > 1:
        yield from (Hypothesis(text, repair(claim)) for text, repair in SYMMETRIES.items())


def _twisted(g: Vector) -> Vector:
    return np.swapaxes(g, -1, -2)


def _diagonal(g: Vector) -> Vector:
    return g * np.eye(g.shape[-1])


SYMMETRIES: dict[str, Callable[[Vector], Vector]] = {
    "(g + g^T) / 2 for a gradient g that is lower triangular": lambda g: 2 * np.tril(g) - _diagonal(g),
    "(g + g^T) / 2 for a gradient g that is upper triangular": lambda g: 2 * np.triu(g) - _diagonal(g),
    "not 0 above the diagonal, where the numeric gradient is": np.tril,
    "not 0 below the diagonal, where the numeric gradient is": np.triu,
    "the lower triangle of a gradient that is symmetric": lambda g: np.tril(g) + _twisted(np.tril(g, -1)),
    "the upper triangle of a gradient that is symmetric": lambda g: np.triu(g) + _twisted(np.triu(g, 1)),
    "the numeric gradient with its entries off the diagonal counted twice": lambda g: (g + _diagonal(g)) / 2,
    "the numeric gradient with half of its entries off the diagonal": lambda g: 2 * g - _diagonal(g),
    "the numeric gradient with its diagonal counted twice": lambda g: g - _diagonal(g) / 2,
    "the numeric gradient with half of its diagonal": lambda g: g + _diagonal(g),
    "g of a gradient g + g^T: a transposed part is missing": lambda g: g + _twisted(g),
    "g of a gradient (g + g^T) / 2: it is not made symmetric": lambda g: (g + _twisted(g)) / 2,
    "g of a gradient (g - g^T) / 2: it is not made skew": lambda g: (g - _twisted(g)) / 2,
}
"""What the claim is -> the gradient that follows from it."""


# Other tensors


def other_tensors(evidence: Evidence) -> Iterator[Hypothesis]:
    """The gradient of another tensor of the same shape, or of the transposed one."""
    for name, other in evidence.others.items():
        if other.shape == evidence.claim.shape and not np.array_equal(other, evidence.claim):
            yield Hypothesis(f"swapped: the gradient of {name} is the right one here", other)
        if other.ndim == 2 and other.shape == evidence.claim.shape[::-1]:
            yield Hypothesis(f"swapped: the transposed gradient of {name} is the right one here", other.T)


def products(evidence: Evidence) -> Iterator[Hypothesis]:
    """A square matrix of theta that is not transposed in a product, which its shape does not show."""
    claim = evidence.claim
    for name, w in evidence.values.items():
        if claim.ndim > 1 and w.ndim == 2 and w.shape[0] == w.shape[1] == claim.shape[-1] and _regular(w):
            for inner in (w, w.T):
                text = f"as if the matrix {name} were transposed in a product behind it"
                yield Hypothesis(text, claim @ np.linalg.solve(inner, inner.T))


def _regular(w: Vector) -> bool:
    return bool(np.linalg.cond(w) < 1e4)


def same_as_another(evidence: Evidence) -> str | None:
    """The claim for another tensor again."""
    same = (name for name, other in evidence.others.items() if np.array_equal(other, evidence.claim))
    return next((f"the same numbers as the gradient of {name}" for name in same), None)


# Other functions of theta

LARGE = 20_000
"""In tensors of more entries they are not looked for: there are hundreds of pairs."""


def functions_of_theta(evidence: Evidence) -> Iterator[Hypothesis]:
    """One function of theta taken for another, entry by entry, as where theta enters an activation directly."""
    if evidence.claim.size > LARGE:
        return
    values = {name: function(evidence.theta) for name, function in FUNCTIONS.items()}
    for wrong, right in sorted(permutations(values, 2), key=_are_strange):
        repaired = evidence.claim * (values[right] / values[wrong])
        yield Hypothesis(f"as if {wrong} were {right}, t = theta", repaired)


def _are_strange(names: tuple[str, str]) -> bool:
    """Whether nobody would take these functions for each other: sigma' / sigma = sigma / exp, and one is likely."""
    return not any(set(names) <= set(family) for family in FAMILIES)


def _sigmoid(t: Vector) -> Vector:
    return np.asarray(1 / (1 + np.exp(-t)))


def _normal(t: Vector) -> Vector:
    return np.exp(-t * t / 2) / math.sqrt(2 * math.pi)


_erf = np.frompyfunc(math.erf, 1, 1)


def _cumulative(t: Vector) -> Vector:
    return np.asarray(0.5 + 0.5 * _erf(t / math.sqrt(2)), dtype=np.float64)


def _gelu_of_tanh(t: Vector) -> Vector:
    """The derivative of 0.5 t (1 + tanh(c (t + 0.044715 t^3))), Hendrycks & Gimpel 2016."""
    c = math.sqrt(2 / math.pi)
    tanh = np.tanh(c * (t + 0.044715 * t**3))
    return np.asarray(0.5 * (1 + tanh) + 0.5 * t * (1 - tanh**2) * c * (1 + 3 * 0.044715 * t * t))


FUNCTIONS: dict[str, Callable[[Vector], Vector]] = {
    "1": np.ones_like,
    "t": lambda t: t,
    "sigma(t)": _sigmoid,
    "sigma'(t)": lambda t: _sigmoid(t) * _sigmoid(-t),
    "sigma(t) (1 + sigma(t))": lambda t: _sigmoid(t) * (1 + _sigmoid(t)),
    "tanh(t)": np.tanh,
    "tanh'(t)": lambda t: 1 - np.tanh(t) ** 2,
    "1 - tanh(t)": lambda t: 1 - np.tanh(t),
    "1 + tanh(t)^2": lambda t: 1 + np.tanh(t) ** 2,
    "t^2": np.square,
    "t^3": lambda t: t**3,
    "1 / t": np.reciprocal,
    "1 / t^2": lambda t: t**-2.0,
    "|t|": np.abs,
    "sign(t)": np.sign,
    "exp(t)": np.exp,
    "log(t)": np.log,
    "sin(t)": np.sin,
    "cos(t)": np.cos,
    "-sin(t)": lambda t: -np.sin(t),
    "1 - t^2": lambda t: 1 - t * t,
    "t (1 - t)": lambda t: t * (1 - t),
    "Phi(t)": _cumulative,
    "phi(t)": _normal,
    "gelu(t)": lambda t: t * _cumulative(t),
    "gelu'(t)": lambda t: _cumulative(t) + t * _normal(t),
    "gelu'(t) of its tanh form": _gelu_of_tanh,
    "silu(t)": lambda t: t * _sigmoid(t),
    "silu'(t)": lambda t: _sigmoid(t) * (1 + t * _sigmoid(-t)),
    "log(1 + exp(t))": lambda t: np.logaddexp(0.0, t),
}
"""What may stand for a derivative, or is one."""
FAMILIES = (
    ("1", "t", "t^2", "t^3", "1 / t", "1 / t^2", "|t|", "sign(t)", "log(t)"),
    ("1", "sigma(t)", "sigma'(t)", "sigma(t) (1 + sigma(t))", "t (1 - t)", "log(1 + exp(t))"),
    ("1", "tanh(t)", "tanh'(t)", "1 - tanh(t)", "1 + tanh(t)^2", "1 - t^2"),
    ("sigma'(t)", "tanh'(t)"),
    ("1", "Phi(t)", "phi(t)", "gelu(t)", "gelu'(t)", "gelu'(t) of its tanh form", "silu'(t)"),
    ("1", "sigma(t)", "sigma'(t)", "silu(t)", "silu'(t)", "gelu'(t)"),
    ("1", "sin(t)", "cos(t)", "-sin(t)"),
    ("1", "t", "exp(t)"),
)
"""Functions that are taken for each other."""

Family = Callable[[Evidence], Iterator[Hypothesis]]
EXACT: Sequence[Family] = (named_factors, symmetries, centred, other_tensors)
FREE: Sequence[Family] = (factor, offset, multiple_of_theta)
