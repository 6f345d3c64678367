"""What the columns of a table are for: which one is the label, which are features, and which only number the rows.

Whatever is guessed is said in a note, with the flag that decides otherwise.
"""

from collections import Counter
from collections.abc import Sequence
import re
import shlex
from typing import Any, NamedTuple

import numpy as np

from xpdl import checks
from xpdl.data.coding import PIXELS, Coding, Column, missing_cells
from xpdl.data.dataset import Dataset
from xpdl.data.errors import DataFormatError
from xpdl.data.labels import FEW, SHOWN, as_labels
from xpdl.data.ranges import are_series
from xpdl.data.table import Table, column_list

LABELS = frozenset(
    [
        "label",
        "labels",
        "class",
        "classes",
        "target",
        "targets",
        "y",
        "species",
        "outcome",
        "diagnosis",
        "survived",
        "churn",
        "exited",
        "saleprice",
        "medv",
    ]
)
"""Names of columns, in small letters, that hold labels."""

IDENTIFIER = re.compile(r"(|id|index|idx|uuid|guid|row ?names?|unnamed: ?\d+|.*[_ .-]id|.*[a-z]I[dD])")
"""Names of columns that only number the rows, if no two rows have the same number."""

CONSECUTIVE = 10
"""The fewest rows in which consecutive numbers are taken for an index."""

VALUES, TIMES = 50, 2
"""The most texts of a column that are features each, and how often each must come on average."""

MISSING = ("error", "mean", "drop")
"""What the user may say about missing cells."""


class Options(NamedTuple):
    """What the user says about a table, or about labels."""

    label: str | int | None = None  # the name of the column, its number from 0, "first" or "last"
    header: str = "auto"
    drop: Sequence[str] = ()  # columns that are left out
    keep: Sequence[str] = ()  # columns that are not left out, although they look like an index
    missing: str = "error"
    task: str = "auto"


def dataset_of(table: Table, options: Options = Options()) -> Dataset:  # noqa: B008
    """Return the features and the labels of a table.  ``DataFormatError`` says what cannot be used, and a remedy."""
    checks.choice("missing", options.missing, MISSING)
    label, guessed = label_column(table, options)
    indices, features, notes = _features(table, label, options)
    table, filled = _without_gaps(table, label, features, options.missing)
    same = _copies(table, label, features, options.keep)
    features = [place for place in features if place not in same]
    if not features:
        raise DataFormatError(f"{table.name}: there is no column of features beside the label {table.title(label)}")
    _check_texts(table, features)
    columns = tuple(_coded(table, place, fill=options.missing == "mean") for place in features)
    y, _, classes, note = _labels(table, label, features, options.task, guessed)
    index = table.columns[indices[0]] if indices else None
    filled_in, width = options.missing == "mean", len(table.columns)
    coding = Coding(classes, columns, table.columns[label], index, table.header, width, filled_in)
    copies = (f"{table.title(place)} says the same as the label and is left out (--keep)" for place in same)
    texts = (_one_hot_note(column) for column in columns if column.values is not None)
    said = [*table.notes, note + guessed, *notes, *copies, *texts, *filled]
    return Dataset(coding.encode(table), y, name=table.name, coding=coding, notes=tuple(said))


# The label


def label_column(table: Table, options: Options) -> tuple[int, str]:
    """Return the column of the label, and how it was found, to be added to a note."""
    if options.label not in (None, ""):
        return find_column(table, str(options.label)), ""
    likely = [place for place, name in enumerate(table.columns) if name.strip().lower() in LABELS and table.header]
    if len(likely) == 1:
        return likely[0], ""
    last = len(table.columns) - 1
    names = [name for name in table.columns if not IDENTIFIER.fullmatch(name.strip().lower())]
    if table.header and not likely and are_series(names) and not all(map(str.isdecimal, names)):
        shown = f"{names[0]} to {names[-1]}"
        reason = (
            f"no column of labels: all are numbered, {shown}; --label NAME, NUMBER, first or last tells which one it is"
        )
        raise DataFormatError(f"{table.name}: {reason}")
    return last, ", the last column (--label takes another one)"


def find_column(table: Table, wanted: str) -> int:
    """Return the column of this name or number; "first" and "last" work, too."""
    ends = {"first": 0, "last": len(table.columns) - 1}
    if wanted in table.columns:
        return table.columns.index(wanted)
    if wanted in ends:
        return ends[wanted]
    if wanted.isdecimal() and int(wanted) < len(table.columns):
        return int(wanted)
    names = column_list(table.columns)
    raise DataFormatError(f"{table.name}: there is no column {checks.shorten(wanted)}; the columns are {names}")


def _labels(table: Table, label: int, features: Sequence[int], task: str, guessed: str) -> tuple[Any, ...]:
    """Return what ``as_labels`` does for the column of labels."""
    name, texts = table.columns[label], table.texts.get(label, {})
    values = np.array(table.cells(label)) if texts else table.numbers(label)
    images = len(features) >= PIXELS
    rows = table.with_text.get(label, [])
    try:
        if rows and len(rows) < len(table) / 2 and len(set(map(texts.get, rows))) == len(rows):
            cell = checks.shorten(texts[rows[0]], 40)
            raise DataFormatError(f"{table.place(rows[0], label)}: expected a number, got {cell}; mend this cell")
        if rows and len(set(values.tolist())) > max(FEW, len(values) / TIMES):
            few = f"{len(set(values.tolist()))} different texts in {len(values)} rows are too many classes"
            raise DataFormatError(f"label {name!r}: {few}; --label takes another column")
        return as_labels(values, task=task, images=images, name=repr(name))
    except DataFormatError as error:
        raise DataFormatError(f"{table.name}: {error}{guessed}") from None


# The features


def _features(table: Table, label: int, options: Options) -> tuple[list[int], list[int], list[str]]:
    """Return the columns that number the rows, the columns of features, and notes."""
    dropped = {find_column(table, name) for name in options.drop}
    kept = {find_column(table, name) for name in options.keep}
    if label in dropped:
        raise DataFormatError(
            f"{table.name}: {table.title(label)} is the label and cannot be left out; --label names another"
        )
    places = [place for place in range(len(table.columns)) if place != label and place not in dropped]
    empty = [place for place in places if table.absent[place] == len(table)]
    places = [place for place in places if place not in empty]
    indices = [place for place in places if place not in kept and is_index(table, place)]
    indices = indices if len(indices) < len(places) else []
    notes = [f"{table.title(place)} only numbers the rows and is left out (--keep)" for place in indices]
    notes += [f"{table.title(place)} is empty and is left out" for place in empty]
    named = [place for place in indices if table.columns[place]]
    return named or indices, [place for place in places if place not in indices], notes


def is_index(table: Table, place: int) -> bool:
    """Return whether a column only numbers the rows."""
    n, name = len(table), table.columns[place].strip()
    if IDENTIFIER.fullmatch(name.lower()) or IDENTIFIER.fullmatch(name):
        cells = table.cells(place) if place in table.texts else table.numbers(place).tolist()
        return len(set(cells)) == n and (place in table.texts or all(float(cell).is_integer() for cell in cells))
    if n < CONSECUTIVE or place in table.with_text:
        return False
    start = table.pieces[0][:CONSECUTIVE, place].astype(np.float64)  # nearly always enough
    return bool(np.all(np.diff(start) == 1) and np.all(np.diff(table.numbers(place)) == 1))


def _coded(table: Table, place: int, *, fill: bool) -> Column:
    """Return how a column becomes features, and what stands for its missing cells."""
    name = table.columns[place]
    if place in table.with_text:
        counts = Counter(cell for cell in table.cells(place) if cell)
        return Column(name, tuple(sorted(counts)), counts.most_common(1)[0][0])
    return Column(name, None, float(np.nanmean(table.numbers(place))) if fill else None)


def _one_hot_note(column: Column) -> str:
    values = column.values or ()
    shown = ", ".join(values) if len(values) <= SHOWN else f"{', '.join(values[: SHOWN - 2])}, ..., {values[-1]}"
    return f"column {column.name!r} holds {len(values)} texts, a feature each (one-hot): {checks.one_line(shown)}"


def _check_texts(table: Table, features: Sequence[int]) -> None:
    """Refuse columns of texts that are no categories."""
    many = []
    for place in (place for place in features if place in table.with_text):
        rows, texts = table.with_text[place], table.texts[place]
        present = len(table) - table.absent[place]
        values = Counter(texts[row] for row in rows)
        if len(rows) < present / 2 and (max(values.values()) == 1 or len(set(table.cells(place))) > FEW):
            cell = checks.shorten(texts[rows[0]], 40)
            remedy = f"mend this cell, or leave the column out with --drop {_flag([table.columns[place]])}"
            raise DataFormatError(
                f"{table.name}, {table.place(rows[0], place)}: expected a number, got {cell}; {remedy}"
            )
        count = len(set(table.cells(place)) - {""})
        if count > VALUES or count * TIMES > present:
            many.append((place, count, checks.shorten(texts[rows[0]], 40)))
    if many:
        which = "; ".join(
            f"{table.title(place)} holds {count} different texts, as {cell}" for place, count, cell in many
        )
        remedy = f"leave out what is no category: --drop {_flag([table.columns[place] for place, _, _ in many])}"
        raise DataFormatError(f"{table.name}: {which}; {remedy}")


def _flag(names: Sequence[str]) -> str:
    return shlex.join(names)


def _copies(table: Table, label: int, features: Sequence[int], keep: Sequence[str]) -> list[int]:
    """Return the columns that say the same as the label in other words, as 0, 1, 2 beside three names."""
    likely = [place for place in features if place in table.with_text or table.columns[place].strip().lower() in LABELS]
    labels = table.cells(label) if likely else []
    k = len(set(labels))
    found = []
    for place in (place for place in likely if table.columns[place] not in keep):
        cells = table.cells(place)
        pairs = set(zip(cells, labels, strict=True))
        if len(set(cells)) == k == len(pairs) and len(cells) >= max(CONSECUTIVE, k * TIMES):
            found.append(place)
    return found


# Missing cells


def _without_gaps(table: Table, label: int, features: Sequence[int], missing: str) -> tuple[Table, list[str]]:
    """Return the table without rows that cannot be used, and what is done about missing cells."""
    gaps = [place for place in [label, *features] if table.absent[place]]
    if not gaps:
        return table, []
    if missing == "error":
        remedy = "--missing mean fills them, --missing drop leaves these rows out"
        raise DataFormatError(f"{table.name}: {missing_cells(table, gaps)}; {remedy}")
    needed = gaps if missing == "drop" else [place for place in gaps if place == label]
    lost = np.zeros(len(table), bool)
    for place in needed:
        lost |= table.missing(place)
    if lost.all():
        raise DataFormatError(f"{table.name}: every row has an empty cell, so --missing drop would leave none")
    notes = [f"{lost.sum():,} rows with empty cells are left out"] if lost.any() else []
    others = [table.title(place) for place in gaps if place not in needed]
    notes += [f"empty cells are filled with the mean or the most frequent text: {', '.join(others)}"] if others else []
    return table.take(np.flatnonzero(~lost)) if lost.any() else table, notes
