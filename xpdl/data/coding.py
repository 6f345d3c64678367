"""How the columns of a table become the numbers of a network, and its classes become labels again.

A model file holds it, so that new rows are coded as those of the training were.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from math import isfinite
from typing import Any

import numpy as np

from xpdl import checks
from xpdl.data.errors import DataFormatError
from xpdl.data.labels import Class
from xpdl.data.shards import Array
from xpdl.data.table import Table, column_list

PIXELS = 64
"""So many columns of bytes are kept as bytes."""

REMEDY = "--missing mean at xpdl train makes a model that fills them"


@dataclass(frozen=True)
class Column:
    """A column of a table that the network sees.

    Parameters
    ----------
    name : str
        Its name in the header, or its number.
    values : tuple of str or None, default None
        Of a column of texts the values, each of which is a feature, 0 or 1; None if the column holds numbers.
    fill : float or str or None, default None
        What stands for a missing cell.

    Examples
    --------
    >>> from xpdl.data.coding import Column
    >>> Column("colour", ("blue", "red")).features
    ('colour=blue', 'colour=red')
    """

    name: str
    values: tuple[str, ...] | None = None
    fill: float | str | None = None

    @property
    def features(self) -> tuple[str, ...]:
        """The names of its features."""
        return (self.name,) if self.values is None else tuple(f"{self.name}={value}" for value in self.values)


@dataclass(frozen=True)
class Coding:
    """What the features and the labels of a network are called in the data it comes from.

    Parameters
    ----------
    classes : tuple or None, default None
        The labels that the network's 0, 1, ..., k - 1 stand for; None for a regression.
    columns : tuple of Column or None, default None
        The columns of a table, or None if the data are arrays.
    label : str or None, default None
        The column of the labels.
    identifier : str or None, default None
        The column that only numbers the rows.
    header : bool, default True
        Whether the columns have names of their own; else they are known by their places.
    width : int, default 0
        The number of columns in the table.
    missing : bool, default False
        Whether missing cells are filled.

    Examples
    --------
    >>> from xpdl.data.coding import Coding, Column
    >>> Coding(("no", "yes"), (Column("age"), Column("colour", ("blue", "red"))), "bought").features
    ('age', 'colour=blue', 'colour=red')
    """

    classes: tuple[Class, ...] | None = None
    columns: tuple[Column, ...] | None = None
    label: str | None = None
    identifier: str | None = None
    header: bool = True
    width: int = 0
    missing: bool = False

    @property
    def features(self) -> tuple[str, ...] | None:
        """The names of the features, or None if the data are arrays."""
        return None if self.columns is None else tuple(name for column in self.columns for name in column.features)

    def document(self) -> dict[str, Any]:
        """Return what JSON can hold of it."""
        return asdict(self)

    @classmethod
    def of_document(cls, document: Any) -> "Coding":
        """Return the coding of such a document; ``TypeError`` or ``ValueError`` if it is none."""
        known = {option.name: option.type for option in fields(cls)}
        if not isinstance(document, Mapping) or set(document) != set(known):
            raise ValueError(f"its coding has too many or too few fields: {checks.shorten(document)}")
        columns = document["columns"]
        made = None if columns is None else tuple(map(_column, columns))
        classes = None if document["classes"] is None else tuple(document["classes"])
        coding = cls(**{**document, "classes": classes, "columns": made})
        _check(coding)
        return coding

    def names_of(self, codes: Array) -> Array:
        """Return the classes (n,) of these numbers; without classes the numbers themselves."""
        return codes if self.classes is None else np.array(self.classes)[codes]

    def encode(
        self,
        table: Table,
    ) -> Array:
        """Return the features x (n, d) of the rows of a table.

        ``DataFormatError`` names columns that are missing, and cells that the network does not know.
        """
        if self.columns is None:
            return _all_numbers(table)
        places = self.places(table)
        x = np.empty((len(table), len(self.features or ())), np.uint8 if _pixels(table, self.columns) else np.float64)
        plain, at = [], 0
        for column in self.columns:
            place, absent = places[column.name], table.absent[places[column.name]]
            if absent and not (self.missing and column.fill is not None):
                raise DataFormatError(f"{table.name}: {missing_cells(table, [place])}; {REMEDY}")
            if column.values is None and not absent:
                _check_numbers(table, place)
                plain.append((at, place))
            else:
                x[:, at : at + len(column.features)] = _features(table, place, column)
            at += len(column.features)
        table.copy_to(x, *zip(*plain, strict=True)) if plain else None
        return x

    def places(self, table: Table) -> dict[str, int]:
        """Return where in a table the columns are, by their names or, without a header, by their order."""
        assert self.columns is not None
        if not self.header:
            return self._by_order(table)
        found = {name: place for place, name in enumerate(table.columns)}
        absent = [column.name for column in self.columns if column.name not in found]
        if absent:
            known = {column.name for column in self.columns} | {self.label, self.identifier}
            others = [name for name in table.columns if name not in known]
            besides = f"; it has {column_list(others)}, which the model does not know" if others else ""
            header = "" if table.header else ", as it has no header"
            raise DataFormatError(f"{table.name}: there is no column {column_list(absent)}{header}{besides}")
        return found

    def _by_order(self, table: Table) -> dict[str, int]:
        """Return the places in a table without names: as many columns as in the training, or all but the label."""
        names = [str(place) for place in range(self.width)]
        if len(table.columns) == self.width - 1:
            names = [name for name in names if name != self.label]
        if len(names) != len(table.columns):
            expected = f"{self.width} columns, or {self.width - 1} without the label"
            raise DataFormatError(f"{table.name}: the model knows rows of {expected}, got {len(table.columns)}")
        return {name: place for place, name in enumerate(names)}


def _column(document: Any) -> Column:
    if set(document) != {"name", "values", "fill"}:
        raise ValueError(f"its column {checks.shorten(document)} has too many or too few fields")
    values, fill = document["values"], document["fill"]
    column = Column(document["name"], None if values is None else tuple(values), fill)
    texts = [column.name] if values is None else [column.name, *tuple(values), fill]
    number = values is not None or fill is None or (type(fill) is float and isfinite(fill))
    if not number or not all(isinstance(text, str) for text in texts) or (values is not None and fill not in values):
        raise ValueError(f"its column is {checks.shorten(document)}")
    return column


def _check(coding: Coding) -> None:
    """Check what was read from a file; JSON gives the right types, or others."""
    classes, columns = coding.classes or ("",), coding.columns or ()
    kinds = {type(label) for label in classes}
    if len(kinds) > 1 or not kinds <= {str, int, float, bool} or list(classes) != sorted(set(classes)):
        raise ValueError(f"its classes are {checks.shorten(coding.classes)}")
    if float in kinds and not all(isfinite(float(label)) for label in classes):
        raise ValueError(f"its classes are {checks.shorten(coding.classes)}")
    if len({column.name for column in columns}) < len(columns):
        raise ValueError("two of its columns have one name")
    flags = {coding.header, coding.missing} <= {True, False} and type(coding.width) is int
    texts = all(text is None or isinstance(text, str) for text in (coding.label, coding.identifier))
    if not flags or not texts or not (coding.header or coding.width >= 0):
        raise ValueError(f"its coding is {checks.shorten(coding)}")


def missing_cells(table: Table, places: Sequence[int]) -> str:
    """Return which columns have missing cells, and how many."""
    (first, *_), counts = places, [f"{table.title(place)} {table.absent[place]}" for place in places]
    if len(places) == 1:
        row = int(np.flatnonzero(table.missing(first))[0])
        count = table.absent[first]
        return f"{table.title(first)} has {count} empty cell{'s' * (count > 1)}, the first in line {table.lines[row]}"
    return f"there are empty cells in {', '.join(counts)}"


def _pixels(table: Table, columns: Sequence[Column]) -> bool:
    """Return whether all columns hold whole numbers from 0 to 255, and are many: bytes take less memory."""
    many = len(columns) >= PIXELS and all(column.values is None for column in columns)
    return many and all(piece.dtype == np.uint8 for piece in table.pieces)


def _all_numbers(table: Table) -> Array:
    """Return a table of which nothing but the order of its columns is known."""
    for place, absent in enumerate(table.absent):
        _check_numbers(table, place)
        if absent:
            raise DataFormatError(f"{table.name}: {missing_cells(table, [place])}")
    return np.concatenate(table.pieces).astype(np.float64)


def _check_numbers(table: Table, place: int) -> None:
    for row in table.with_text.get(place, [])[:1]:
        cell = checks.shorten(table.texts[place][row], 40)
        raise DataFormatError(f"{table.name}, {table.place(row, place)}: expected a number, got {cell}")


def _features(table: Table, place: int, column: Column) -> Array:
    """Return the features (n, m) of a column of texts, or of numbers of which some are missing."""
    absent = table.missing(place)
    if column.values is None:
        _check_numbers(table, place)
        return np.where(absent, float(column.fill or 0.0), table.numbers(place))[:, None]
    codes = {value: code for code, value in enumerate(column.values)}
    cells = [str(column.fill) if gone else cell for cell, gone in zip(table.cells(place), absent, strict=True)]
    for row, cell in enumerate(cells):
        if cell not in codes:
            known = checks.one_line(", ".join(column.values), 100)
            where = f"{table.name}, {table.place(row, place)}"
            raise DataFormatError(f"{where}: {checks.shorten(cell, 40)} is none of the values of the training, {known}")
    return np.eye(len(codes))[[codes[cell] for cell in cells]]
