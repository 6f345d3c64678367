"""Diagnosis: the probable cause of a wrong gradient, found by making the same mistake on purpose.

Each mistake that is often made predicts a gradient; the one that predicts what the code under test says is named.  Some
are made to the numeric gradient itself (a factor, a sign, a transpose), some to the L2 term, and some to a forward or
backward pass (``mistakes``).  The layers below a wrong dz are wrong because of it, so the cause that explains the most
tensors is named first, and of several such causes the simplest; where none fits, the report says so.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
import math
from typing import TypeAlias

import numpy as np

from xpdl.gradcheck.network.mistakes import PASSES, Case, Guess, remasked
from xpdl.gradcheck.network.perturbation import Point
from xpdl.gradcheck.report import FAIL, Parameter, Vector, ratio

Finding: TypeAlias = tuple[Hashable, str]  # the cause, the same for every tensor that it explains, and what to say here
Found: TypeAlias = dict[Hashable, dict[str, str]]  # cause -> tensor -> what to say

COARSE = 1e-2
"""A factor that is less certain than this has no name."""

BLURRED = 0.25
"""Where the bars are more than this part of the gradient, no factor is looked for: noise is a multiple of anything."""

WORST = 3
"""Wrong entries that are shown where no cause fits."""


def diagnose(at: Point, dz: Sequence[Vector], parameters: Mapping[str, Parameter]) -> dict[str, str]:
    """The probable cause for each tensor that fails, or its worst entries if none fits."""
    values = [*(layer.w for layer in at.layers), *at.biases]
    without = remasked(at)
    cases = {
        name: Case(at, dz, without, index % len(at.layers), parameter, np.asarray(values[index]))
        for index, (name, parameter) in enumerate(parameters.items())
        if parameter.verdict == FAIL
    }
    named = _fewest_causes(_findings(cases))
    return {name: f"d{name} {named[name]}" if name in named else _unknown(case) for name, case in cases.items()}


def _findings(cases: Mapping[str, Case]) -> Found:
    """All that fits, simple causes before complicated ones."""
    found: Found = {}
    for look in LOOKS:
        for name, case in cases.items():
            for cause, text in look(case):
                found.setdefault(cause, {}).setdefault(name, text)
    return found


def _fewest_causes(found: Found) -> dict[str, str]:
    """Again and again the cause that explains the most tensors, the first of those; tensor -> what to say."""
    named: dict[str, str] = {}
    while found:
        cause = max(found, key=lambda cause: len(found[cause]))
        named |= found.pop(cause)
        left = {cause: {t: text for t, text in texts.items() if t not in named} for cause, texts in found.items()}
        found = {cause: texts for cause, texts in left.items() if texts}
    return named


# --- mistakes that show in the tensor as it is


def _not_finite(case: Case) -> Iterator[Finding]:
    bad = ~np.isfinite(case.wrong.analytic)
    if bad.any():
        yield "not finite", f"has {int(bad.sum())} entries that are NaN or infinite"


def _all_zero(case: Case) -> Iterator[Finding]:
    if not case.wrong.analytic.any():
        yield "zero", "is 0 everywhere"


def _transposed(case: Case) -> Iterator[Finding]:
    numeric = case.wrong.numeric
    if case.is_weight and case.predicts(numeric.T.reshape(numeric.shape)):
        yield "transposed", "is transposed"


def _permuted(case: Case) -> Iterator[Finding]:
    """The right numbers in the wrong places."""
    a, n = case.wrong.analytic, case.wrong.numeric
    slack = min(64 * float(np.max(case.wrong.bar)), float(np.max(np.abs(a - n))) / 4)
    if not np.all(np.abs(np.sort(a, axis=None) - np.sort(n, axis=None)) <= slack):
        return
    for axis, name in enumerate(_axes(case)):
        if case.predicts(np.flip(n, axis=axis)):
            yield (case.wrong.name, "reversed", axis), f"has its {name} in reverse order"
    yield (case.wrong.name, "permuted"), "has the right numbers in the wrong places"


# --- factors


def _factor(case: Case) -> Iterator[Finding]:
    """A multiple of the numeric gradient, L2 apart; of a single entry anything is one, if not by a factor of note."""
    yield from ((cause, text) for noted, cause, text in _multiples(case) if noted or case.value.size > 1)


def _factor_of_one_entry(case: Case) -> Iterator[Finding]:
    yield from ((cause, text) for _, cause, text in _multiples(case))


def _multiples(case: Case) -> Iterator[tuple[bool, Hashable, str]]:
    """Whether the factor has a meaning, the cause and the text."""
    penalty = case.at.net.l2 / case.n * case.value if case.is_weight else np.zeros_like(case.value)
    for part in (np.zeros_like(penalty), penalty):
        data = case.wrong.numeric - part
        if np.linalg.norm(case.wrong.bar) > BLURRED * np.linalg.norm(data):
            continue
        c = ratio(case.wrong.analytic - part, data)
        if math.isfinite(c) and case.predicts(c * data + part):
            noted, text = _named_factor(case, c, data)
            yield noted, ("factor", text), text + (", its L2 term apart" if part.any() else "")
            return


def _named_factor(case: Case, c: float, data: Vector) -> tuple[bool, str]:
    """Whether the factor has a meaning, and what to say of it."""
    if math.isclose(c, -1, rel_tol=1e-6):
        return True, "has the wrong sign"
    blur = float(np.linalg.norm(case.wrong.bar) / np.linalg.norm(data))
    tolerance = min(1e-6 + 4 * blur, COARSE)
    names = [text for value, text in _factors(case) if math.isclose(c, value, rel_tol=tolerance)]
    return bool(names), f"is {_times(c)} the numeric gradient" + (f": {names[0]}" if names else "")


def _times(c: float) -> str:
    """3 x, or 1 + 2.0e-09 times where six digits would not show it."""
    return f"1 {'-' if c < 1 else '+'} {abs(c - 1):.1e} times" if abs(c - 1) < 1e-4 else f"{c:.6g} x"


def _factors(case: Case) -> Iterator[tuple[float, str]]:
    """Factors that have a meaning here."""
    n, k = case.n, case.at.y.shape[1]
    if n > 1:
        yield n, f"n = {n:g}; the mean over samples is missing"
        yield 1 / n, f"1/n with n = {n:g}; divided by n twice"
    if case.at.weight is not None:
        yield n / len(case.at.y), "divided by the number of samples, not by the sum of their weights"
    yield from ((2, "as from the derivative of a square without the 1/2"), (0.5, "a 1/2 too many"))
    if k > 1:
        yield from ((k, f"the number of outputs, {k}"), (1 / k, f"1 / the number of outputs, {k}; a mean over outputs"))
    for drop in sorted(set(case.at.net.drops) - {0.0}):
        keep = 1 - drop
        yield from (
            (keep, f"1 - dropout = {keep:g}; a mask is not scaled"),
            (1 / keep, f"1 / (1 - dropout) = {1 / keep:g}"),
        )


# --- L2


def _l2_term(case: Case) -> Iterator[Finding]:
    """A multiple of theta itself, added or missing."""
    residual, value = case.wrong.analytic - case.wrong.numeric, case.value
    if not value.any():
        return
    c, t = float(np.sum(residual * value) / np.sum(value * value)), case.at.net.l2 / case.n
    if not case.predicts(case.wrong.numeric + c * value):
        return
    named = [text for factor, text in _l2_meanings(case) if t and math.isclose(c, factor * t, rel_tol=1e-4)]
    name = "w" if case.is_weight else "b"
    if named:
        yield ("L2", named[0]), named[0]
    elif value.size > 1:
        yield ("L2", f"{c:.6g}"), f"has {c:.6g} {name} too much: an L2 term that the loss does not have"


def _l2_meanings(case: Case) -> list[tuple[float, str]]:
    """How many times l2/n theta too much, and what that means."""
    return [
        (-1, "lacks the L2 term l2/n w"),
        (-1 / 2, "has half the L2 term: l2/(2 n) w"),
        (case.n - 1, "has the L2 term without the mean: l2 w"),
        (1, "has the L2 term twice" if case.is_weight else "has an L2 term l2/n b; biases are not decayed"),
    ]


# --- single entries, rows and columns


def _lines(case: Case) -> Iterator[Finding]:
    """Some rows, columns, or entries of b are wrong and the rest is right."""
    bad = case.bad
    if not 1 < bad.sum() <= bad.size / 2:
        return
    seen = bad | (np.abs(case.wrong.numeric) > case.wrong.bar)
    for axis, name in enumerate(_axes(case)):
        others = tuple(range(axis)) + tuple(range(axis + 1, bad.ndim))
        lines = np.asarray(bad.any(axis=others))
        filled = bad.sum(axis=others)[lines] > 0.9 * seen.sum(axis=others)[lines]
        runs = _runs(np.flatnonzero(lines).tolist())
        if filled.all() and 2 * lines.sum() <= len(lines) and len(runs) <= WORST + 1:
            zero = not np.compress(lines, case.wrong.analytic, axis=axis).any()
            state = "0" if zero else "wrong"
            name = name.removesuffix("s") if lines.sum() == 1 else name
            yield (case.wrong.name, "lines", axis), f"is {state} in {name} {', '.join(runs)}, and right elsewhere"


def _axes(case: Case) -> tuple[str, ...]:
    return ("rows", "columns") if case.is_weight else ("entries",)


def _runs(numbers: Sequence[int]) -> list[str]:
    """[1, 3, 4, 5] -> ["1", "3 to 5"]."""
    starts = [i for i in numbers if i - 1 not in numbers]
    stops = [i for i in numbers if i + 1 not in numbers]
    return [f"{start}" if start == stop else f"{start} to {stop}" for start, stop in zip(starts, stops, strict=True)]


def _few_entries(case: Case) -> Iterator[Finding]:
    """Where most of a tensor is right, the mistake is in single entries."""
    bad = np.argwhere(case.bad)
    seen = int(np.sum(np.abs(case.wrong.numeric) > case.wrong.bar))
    if 0 < len(bad) <= max(1, 0.1 * seen) and seen > 1:
        places = ", ".join(str(list(map(int, index))) for index in bad[:4]) + ", ..." * (len(bad) > 4)
        yield (case.wrong.name, "entries"), f"is right but for {len(bad)} of {case.value.size} entries: {places}"


def _unknown(case: Case) -> str:
    """What can be said without a cause."""
    a, n = case.wrong.analytic, case.wrong.numeric
    order = np.argsort(-np.where(case.bad, np.abs(a - n) / case.wrong.bar, 0), axis=None)
    places = [np.unravel_index(int(i), a.shape) for i in order[: min(WORST, int(case.bad.sum()))]]
    worst = "; ".join(f"{list(map(int, place))} is {_apart(a[place], n[place])}" for place in places)
    return f"no known cause; {int(case.bad.sum()):,} of {a.size:,} entries wrong, the worst: {worst}"


def _apart(a: float, n: float) -> str:
    """Two numbers, in as many digits as tell them apart."""
    digits = next((d for d in (6, 9, 12) if f"{a:.{d}g}" != f"{n:.{d}g}"), 17)
    return f"{a:.{digits}g}, not {n:.{digits}g}"


# --- mistakes in the forward or backward pass


def _passes(case: Case) -> Iterator[Finding]:
    """A tensor as it comes from passes with a mistake in them."""
    yield from ((guess.cause, guess.text) for look in PASSES for guess in look(case) if _fits(case, guess))


def _fits(case: Case, guess: Guess) -> bool:
    """Whether the guess predicts the tensor: dW with its L2 term, or db; its worst entry is computed first."""
    worst = case.wrong.worst.index
    first = _tensor(case, guess, tuple(slice(i, i + 1) for i in worst))
    w = case.wrong
    apart, off = abs(w.analytic[worst] - w.numeric[worst]), abs(w.analytic[worst] - float(first.reshape(())))
    return bool(off <= apart / 4) and case.predicts(_tensor(case, guess, (slice(None),) * len(worst)))


def _tensor(case: Case, guess: Guess, part: tuple[slice, ...]) -> Vector:
    """A part of the tensor that follows from a guess."""
    dz = guess.dz[:, part[-1]]
    if not case.is_weight:
        return np.asarray(dz.sum(axis=0))
    layer = case.at.layers[case.l]
    x = layer.x if guess.x is None else guess.x
    return np.asarray(x[:, part[0]].T @ dz + case.at.net.l2 / (guess.n or case.n) * layer.w[part])


LOOKS: list[Callable[[Case], Iterator[Finding]]] = [
    _not_finite,
    _all_zero,
    _factor,
    _l2_term,
    _transposed,
    _passes,
    _lines,
    _few_entries,
    _permuted,
    _factor_of_one_entry,
]
"""In this order: a simple cause before a complicated one, and what fits by accident last."""
