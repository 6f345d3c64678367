"""Words for a set of entries: rows, columns, a block of equal blocks, a triangle, the sign of theta."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, combinations

import numpy as np

from xpdl.gradcheck.function.causes.orders import axes_named, listed
from xpdl.gradcheck.report import Vector

NAMED = 4
"""Single entries are named, if they are so few."""
RUNS = 4
"""Words for a set name so many runs of indices at most."""
BLOCKS = (4, 3, 2)
"""Equal blocks of an axis are named, as the gates of a recurrent cell."""
ORDINALS = ("first", "second", "third", "fourth")
EVIDENT = 12.0
"""Bits: so unlikely must it be that entries are on one side of a threshold by chance."""


def place_of(marked: Vector, seen: Vector, theta: Vector, numeric: Vector) -> str | None:
    """Words for the entries that are marked; those that are not seen may belong to them or not."""
    return next(filter(None, (words(marked, seen, theta, numeric) for words in WORDS)), None)


def lines_of(marked: Vector, seen: Vector, axis: int) -> list[int] | None:
    """The indices of an axis at which every entry that is seen is marked; None if others are, or if they are all."""
    others = tuple(k for k in range(marked.ndim) if k != axis)
    lines, lively, full = marked.any(others), seen.any(others), (marked | ~seen).all(others)
    if np.any(lines & ~full) or np.all(lines | ~lively):
        return None
    return [int(k) for k in np.flatnonzero(lines)]


def lines_named(lines: Sequence[int], axis: int, shape: Sequence[int]) -> str:
    """[6, 7, 8] of axis 1 of (2, 12) -> "columns 6 to 8, the third of 4 blocks"."""
    return _indices_named(lines, axis, len(shape)) + _blocks_named(lines, shape[axis])


def _indices_named(lines: Sequence[int], axis: int, ndim: int) -> str:
    singular, plural = _nouns(axis, ndim)
    text = f"{singular if len(lines) == 1 else plural} {runs(lines)}"
    return text + (f" of axis {axis}" if ndim > 2 else "")


def _nouns(axis: int, ndim: int) -> tuple[str, str]:
    if ndim == 2:
        return (("row", "rows"), ("column", "columns"))[axis]
    return ("entry", "entries") if ndim == 1 else ("index", "indices")


def runs(numbers: Sequence[int]) -> str:
    """[1, 3, 4, 5] -> "1 and 3 to 5"."""
    starts = [i for i in numbers if i - 1 not in numbers]
    stops = [i for i in numbers if i + 1 not in numbers]
    ranges = ([f"{a} to {b}"] if b > a + 1 else map(str, range(a, b + 1)) for a, b in zip(starts, stops, strict=True))
    return listed(list(chain.from_iterable(ranges)))


def _count_of_runs(lines: Sequence[int]) -> int:
    return sum(i - 1 not in lines for i in lines)


def _blocks_named(lines: Sequence[int], length: int) -> str:
    """Which of equal blocks the lines are: one of two, three or four, or some of four."""
    for count in BLOCKS:
        size = length // count
        blocks = sorted({line // size for line in lines}) if size > 1 and length % count == 0 else []
        if len(blocks) * size == len(lines) < length and (len(blocks) == 1 or count == BLOCKS[0]):
            return f", the {listed([ORDINALS[k] for k in blocks])} of {count} blocks"
    return ""


# Words: (marked, seen, theta, numeric) -> text or None


def _run_of_lines(marked: Vector, seen: Vector, theta: Vector, numeric: Vector) -> str | None:
    return _lines(marked, seen, most=1)


def _runs_of_lines(marked: Vector, seen: Vector, theta: Vector, numeric: Vector) -> str | None:
    return _lines(marked, seen, most=RUNS)


def _lines(marked: Vector, seen: Vector, most: int) -> str | None:
    """Whole rows, columns or slices; of several axes the one with the fewest runs."""
    found = []
    for axis in range(marked.ndim if marked.ndim > 1 or marked.size > RUNS else 0):
        lines = lines_of(marked, seen, axis)
        if lines and (marked.ndim > 1 or len(lines) > 1) and _named_well(lines, marked.shape[axis], most):
            found.append((_count_of_runs(lines), lines_named(lines, axis, marked.shape)))
    return min(found)[1] if found else None


def _named_well(lines: Sequence[int], length: int, most: int) -> bool:
    return _count_of_runs(lines) <= most or bool(_blocks_named(lines, length))


def _boxes(marked: Vector, seen: Vector, theta: Vector, numeric: Vector) -> str | None:
    """Some rows of some columns, and so on: a part of an array."""
    for axes in (axes for count in (2, 3) for axes in combinations(range(marked.ndim), count)):
        sides = [_side(marked, axis) for axis in axes]
        box = np.ones(marked.shape, bool)
        for axis, side in zip(axes, sides, strict=True):
            box &= np.isin(np.arange(marked.shape[axis]), side).reshape(_along(axis, marked.ndim))
        some = marked.sum() > 1 and all(len(side) < marked.shape[axis] for axis, side in zip(axes, sides, strict=True))
        if some and np.array_equal(box & seen, marked) and all(_count_of_runs(s) <= 2 for s in sides):
            named = [_indices_named(side, axis, marked.ndim) for axis, side in zip(axes, sides, strict=True)]
            return " of ".join(named)
    return None


def _side(marked: Vector, axis: int) -> list[int]:
    others = tuple(k for k in range(marked.ndim) if k != axis)
    return [int(k) for k in np.flatnonzero(marked.any(others))]


def _along(axis: int, ndim: int) -> list[int]:
    return [-1 if k == axis else 1 for k in range(ndim)]


def _regions(marked: Vector, seen: Vector, theta: Vector, numeric: Vector) -> str | None:
    """Triangles, borders."""
    for text, region in _known_regions(marked.shape):
        inside = region & seen
        if inside.sum() > 1 and np.array_equal(inside, marked) and np.any(seen & ~region):
            return text
    return None


def _known_regions(shape: tuple[int, ...]) -> Iterator[tuple[str, Vector]]:
    if len(shape) >= 2:
        for text, triangle in TRIANGLES.items():
            yield text, np.broadcast_to(triangle(np.ones(shape[-2:])) > 0, shape)
        inner = np.zeros(shape[-2:], bool)
        inner[1:-1, 1:-1] = True
        yield f"the border of {axes_named([len(shape) - 2, len(shape) - 1])}", np.broadcast_to(~inner, shape)


TRIANGLES: dict[str, Callable[[Vector], Vector]] = {
    "the diagonal": lambda ones: np.eye(*ones.shape),
    "the entries above the diagonal": lambda ones: np.triu(ones, 1),
    "the entries below the diagonal": lambda ones: np.tril(ones, -1),
    "the entries off the diagonal": lambda ones: ones - np.eye(*ones.shape),
    "the diagonal and the entries above it": np.triu,
    "the diagonal and the entries below it": np.tril,
}


def _one_of_each(marked: Vector, seen: Vector, theta: Vector, numeric: Vector) -> str | None:
    """One entry at each index of an axis: a label."""
    for axis in range(marked.ndim):
        others = tuple(k for k in range(marked.ndim) if k != axis)
        if marked.ndim > 1 and marked.shape[axis] > 2 and np.all(marked.sum(others) == 1):
            return f"one entry of each {_nouns(axis, marked.ndim)[0]}{f' of axis {axis}' if marked.ndim > 2 else ''}"
    return None


def _few(marked: Vector, seen: Vector, theta: Vector, numeric: Vector) -> str | None:
    places = np.argwhere(marked).tolist()
    return ", ".join(map(str, places)) if len(places) <= NAMED and 2 * len(places) < seen.sum() else None


def _signs(marked: Vector, seen: Vector, theta: Vector, numeric: Vector) -> str | None:
    """Where theta or the numeric gradient has one sign, or is large."""
    if _surprise(marked, seen) < EVIDENT / 2:
        return None
    for name, values in (("theta", theta), ("the numeric gradient", numeric)):
        for sign, region in (("negative", values < 0), ("positive", values > 0), ("0", values == 0)):
            if np.array_equal(region & seen, marked):
                return f"the entries where {name} is {sign}"
    return None


def _thresholds(marked: Vector, seen: Vector, theta: Vector, numeric: Vector) -> str | None:
    """Where theta, its size or that of the numeric gradient is above a threshold, or below it."""
    if _surprise(marked, seen) < EVIDENT:
        return None
    measured = {"theta": theta, "|theta|": np.abs(theta), "the size of the numeric gradient": np.abs(numeric)}
    for name, values in measured.items():
        inside, outside = values[marked], values[seen & ~marked]
        for text, low, high in (("above", outside, inside), ("below", inside, outside)):
            if np.max(low) < np.min(high):
                bounds = sorted((float(np.max(low)), float(np.min(high))))
                return f"the entries where {name} is {text} a number between {bounds[0]:.4g} and {bounds[1]:.4g}"
    return None


def _surprise(marked: Vector, seen: Vector) -> float:
    """log2 of the number of ways to mark so many of the entries that are seen."""
    n, k = int(seen.sum()), int((marked & seen).sum())
    return float(sum(np.log2((n - i) / (i + 1)) for i in range(min(k, n - k))))


WORDS: Sequence[Callable[[Vector, Vector, Vector, Vector], str | None]] = (
    _run_of_lines,
    _regions,
    _one_of_each,
    _signs,
    _boxes,
    _runs_of_lines,
    _few,
    _thresholds,
)
