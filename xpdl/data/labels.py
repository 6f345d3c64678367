"""Labels of files: classes or numbers?  One rule for tables and arrays, and it says what it has decided.

    texts, true and false                                   classes
    rows of zeros with a single 1                           classes 0, 1, ..., k - 1
    whole numbers with few different values                 classes, as they are called: -1 and 1; 2 and 4
    whole numbers with many, and all other numbers          numbers: a regression

The network sees classes as 0, 1, ..., k - 1, in ascending order.
"""

from typing import Any, NamedTuple, TypeAlias

import numpy as np

from xpdl import checks
from xpdl.data.errors import DataFormatError
from xpdl.data.shards import Array, Shards
from xpdl.data.table import number_text

Class: TypeAlias = str | int | float | bool

AUTO = "auto"

TASKS = (AUTO, "classes", "regression")
"""What the user may say that labels are."""

FEW, TIMES = 20, 3
"""So many different whole numbers are classes, if each comes TIMES times on average."""

LETTERS, MOST = 30, 1000
"""The most classes 0, 1, ..., k - 1 or 1, 2, ..., k of a table, and of images."""

SHOWN = 10
"""Classes that a message lists."""


class Labels(NamedTuple):
    """The labels of one part or two, as a network sees them."""

    y: Any  # (n,) int64 classes, or (n,) or (n, k) float targets
    y_test: Any
    classes: tuple[Class, ...] | None  # None for a regression
    note: str


def as_labels(y: Any, y_test: Any = None, *, task: str = AUTO, images: bool = False, name: str = "y") -> Labels:
    """Return the labels or targets of a file as a network sees them.

    ``DataFormatError`` if they are the same in every row, or cannot be what ``task`` says.
    """
    checks.choice("task", task, TASKS)
    parts = [part for part in (y, y_test) if part is not None]
    if any(part.ndim == 2 and part.shape[1] > 1 for part in parts):
        return _rows_of_labels(parts, task, name)
    given = [_one_axis(part, name) for part in parts]
    values, counts = np.unique(np.concatenate(given), return_counts=True)
    if len(given[0]) > 1 and (given[0] == given[0][0]).all():
        raise DataFormatError(f"the label {name} is {_shown(given[0][0])} in every row")
    if _are_numbers(values, int(counts.sum()), task, images, name):
        targets = [part if part.dtype.kind == "f" else part[:].astype(np.float64) for part in parts]
        return Labels(*_two(targets), None, _regression(values, task, name))
    codes = [_kept(part, np.searchsorted(values, array)) for part, array in zip(parts, given, strict=True)]
    values = values.astype(np.int64) if values.dtype.kind == "f" and _whole(values) else values
    classes = tuple(values.tolist())
    return Labels(*_two(codes), classes, f"label {name}: {described(classes, counts)}")


def described(classes: tuple[Class, ...], counts: Array) -> str:
    """Return the classes with the numbers of their samples, of many the first and the last."""
    shown = [f"{checks.one_line(label, 40)} {count:,}" for label, count in zip(classes, counts, strict=True)]
    if len(shown) > SHOWN:
        shown = [*shown[: SHOWN - 2], "...", shown[-1]]
    return f"{len(classes)} classes: {', '.join(shown)}"


def encode(y: Array, classes: tuple[Class, ...], name: str = "y") -> Array:
    """Return the numbers (n,) of known classes; ``DataFormatError`` names one that is not known."""
    given, known = _one_axis(y, name), np.array(classes)
    if known.dtype.kind in "US" and given.dtype.kind in "biuf":
        given = np.array([_shown(value) for value in given])
    unknown = [value for value in np.unique(given).tolist() if value not in classes]
    if unknown:
        listed = checks.one_line(", ".join(map(str, classes)), 100)
        raise DataFormatError(
            f"the label {name} is {checks.shorten(unknown[0])} in a row, but the classes are {listed}"
        )
    return np.searchsorted(known, given).astype(np.int64)


def _one_axis(y: Any, name: str) -> Array:
    """Return labels (n,) in memory: texts, or numbers."""
    array = np.asarray(y[:] if y.ndim else y)
    if array.dtype.kind == "O" and all(isinstance(value, str) for value in array.flat):
        array = array.astype(str)
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8")
    if (
        array.dtype.kind not in "biufU"
        or array.ndim not in (1, 2)
        or array.shape[1:] not in ((), (1,))
        or not array.size
    ):
        raise DataFormatError(
            f"{name} must be labels (n,) or targets (n,) or (n, k), got {array.dtype} of shape {array.shape}"
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise DataFormatError(f"{name} holds NaN or infinity")
    if array.dtype.kind == "u" and array.max() >= 2**63:
        raise DataFormatError(f"labels must be below 2**63, got {array.max()}")
    return array.reshape(-1)


def _rows_of_labels(parts: list[Any], task: str, name: str) -> Labels:
    """Return labels for rows with a single 1 (n, k), and otherwise targets."""
    arrays = [np.asarray(part[:]) for part in parts]
    numeric = all(array.dtype.kind in "biuf" and array.ndim == 2 for array in arrays)
    if numeric and task != "regression" and all(map(_is_one_hot, arrays)):
        codes = [np.argmax(array, axis=1).astype(np.int64) for array in arrays]
        counts = np.bincount(codes[0], minlength=arrays[0].shape[1])
        classes = tuple(range(arrays[0].shape[1]))
        return Labels(*_two(codes), classes, f"label {name}: {described(classes, counts)}")
    if task == "classes":
        raise DataFormatError(f"{name} must be (n,) or rows with a single 1 to be classes, got shape {arrays[0].shape}")
    if not numeric:
        kinds = f"{arrays[0].dtype} of shape {arrays[0].shape}"
        raise DataFormatError(f"{name} must be labels (n,) or targets (n,) or (n, k), got {kinds}")
    targets = [part if part.dtype.kind == "f" else part[:].astype(np.float64) for part in parts]
    return Labels(*_two(targets), None, f"label {name}: {arrays[0].shape[1]} numbers a row, so this is a regression")


def _is_one_hot(y: Array) -> bool:
    return bool(np.all((y == 0) | (y == 1)) and np.all(np.sum(y, axis=1) == 1))


def _are_numbers(values: Array, n: int, task: str, images: bool, name: str) -> bool:
    """Return whether labels of these different values are a regression."""
    if values.dtype.kind in "bU":
        if task == "regression":
            raise DataFormatError(f"the label {name} must hold numbers for a regression, got {values.tolist()[0]!r}")
        return False
    if task != AUTO:
        return task == "regression"
    k, low, high = len(values), values.min(), values.max()
    if not _whole(values):
        return True
    if images or (low in (0, 1) and high - low == k - 1):
        return bool(k > FEW and (k > (MOST if images else LETTERS) or n < TIMES * k))
    return bool(k > 2 and (k > FEW or n < TIMES * k))


def _shown(value: Any) -> str:
    return number_text(float(value)) if isinstance(value, np.floating) else str(value)


def _whole(values: Array) -> bool:
    return values.dtype.kind in "biu" or bool(np.all((values == np.rint(values)) & (np.abs(values) < 2**53)))


def _regression(values: Array, task: str, name: str) -> str:
    """Return why this is a regression."""
    if task == AUTO and _whole(values):
        why = f"whole numbers, {len(values):,} different ones, so this is a regression (--task classes for classes)"
    else:
        why = f"numbers from {values[0]:g} to {values[-1]:g}, so this is a regression"
    return f"label {name}: {why}"


def _kept(part: Any, codes: Array) -> Any:
    """Return the codes; a part on disk stays there if it holds just these."""
    same = isinstance(part, Shards) and part.ndim == 1 and part.dtype == np.int64 and np.array_equal(part[:], codes)
    return part if same else codes.astype(np.int64)


def _two(parts: list[Any]) -> tuple[Any, Any]:
    return parts[0], parts[1] if len(parts) > 1 else None
