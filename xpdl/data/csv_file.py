"""Tables in text files: .csv, .tsv and their kin, also gzipped.

The delimiter and the header are found by looking at the first lines.  Blocks of plain numbers go through NumPy;
whatever is quoted, missing or a text goes cell by cell through the ``csv`` module.
"""

from collections.abc import Iterable, Iterator
import csv
import gzip
import io
from itertools import chain, islice
import math
from pathlib import Path
import re
from typing import Any, BinaryIO, TextIO
import zlib

import numpy as np

from xpdl import checks
from xpdl.data.errors import DataFormatError
from xpdl.data.header import has_header, header_names
from xpdl.data.shards import Array
from xpdl.data.table import MISSING, Table, unique_names

BLOCK = 1 << 20
"""Characters that are read together."""

LONGEST = 1 << 23
"""The most characters of a line."""

TOGETHER = 1 << 16
"""About so many cells go through the ``csv`` module before they become an array."""

SAMPLE = 100
"""Lines that tell the delimiter and the header."""

DELIMITERS = {"\t": "tab", ";": ";", ",": ",", "|": "|", " ": "space"}
"""The delimiters that are tried, the best first, and how a message calls them."""

BOMS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}
"""The encodings that the first bytes of a file tell."""

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
COMMA_NUMBER = re.compile(r"[+-]?(\d+,\d*|,\d+)([eE][+-]?\d+)?", re.ASCII)
NAME = re.compile(r"[+-]?0\d+", re.ASCII)
"""A whole number that may be a name: 007."""

EXACT = 2.0**53
"""A float64 holds all whole numbers up to this one."""

HEADERS = {"auto": None, "yes": True, "no": False}
"""What the user may say about the header."""


def read_csv(path: str | Path, header: str = "auto") -> Table:
    """Read a table from a text.  ``DataFormatError`` names the line, the column and what is wrong there."""
    given = HEADERS[checks.choice("header", header, HEADERS)]
    with checks.regular_file(path).open("rb") as raw:
        try:
            with _decoded(raw) as text:
                return _Reader(str(path), text).table(given)
        except UnicodeError as error:
            raise DataFormatError(f"{path}: {error}; save the file with the encoding UTF-8") from error
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataFormatError(f"{path}: the gzip file is damaged: {error}") from error


def _decoded(raw: BinaryIO) -> TextIO:
    """Return the text of a file, which may be gzipped and may begin with a byte order mark."""
    stream: Any = raw
    if stream.peek(2)[:2] == b"\x1f\x8b":
        stream = io.BufferedReader(gzip.GzipFile(fileobj=raw))
    encodings = (name for mark, name in BOMS.items() if stream.peek(3).startswith(mark))
    return io.TextIOWrapper(stream, next(encodings, "utf-8"))


def _blocks(path: str, text: TextIO) -> Iterator[list[str]]:
    """Yield the lines of a text, many at a time."""
    while block := text.read(BLOCK):
        end = "" if block.endswith("\n") else text.readline(LONGEST)
        if len(end) == LONGEST:
            raise DataFormatError(f"{path}: a line has more than {LONGEST} characters")
        yield (block + end).split("\n")[: -1 if (block + end).endswith("\n") else None]


class _Reader:
    """Reads the rows of a text block by block."""

    def __init__(self, path: str, text: TextIO) -> None:
        self.path, self.blocks = path, _blocks(path, text)
        self.delimiter, self.quote, self.decimal = ",", '"', ""
        self.pieces: list[Array] = []
        self.lines: list[Array] = []
        self.texts: dict[int, dict[int, str]] = {}
        self.same: dict[str, str] = {}  # equal texts are one object
        self.width = self.n = self.line = 0

    def table(self, header: bool | None) -> Table:
        """Return all rows as a table."""
        try:
            lines = self._beginning()
            sample = [row for row in self._rows(iter(lines[:SAMPLE])) if row]
            named = has_header(sample) if header is None else header
            names = header_names(sample) if named else [str(column) for column in range(len(sample[0]))]
            self.width = len(names)
            self._read(chain([self._below_header(lines) if named else lines], self.blocks))
        except csv.Error as error:
            reason = f"{error}; is there a quotation mark without its second one"
            raise DataFormatError(f"{self.path}: after line {self.line}: {reason}") from error
        if not self.n:
            raise DataFormatError(f"{self.path}: there are no rows below the header")
        table = Table(self.path, unique_names(names), self.pieces, self.texts, np.concatenate(self.lines), named)
        table.notes += self._notes(names, named, guessed=header is None)
        return table

    def _beginning(self) -> list[str]:
        """Return the first lines, after the delimiter has been found in them."""
        lines = next(self.blocks, [])
        while lines and not lines[0].strip():
            lines, self.line = lines[1:] or next(self.blocks, []), self.line + 1
        told = re.fullmatch(r"sep=(.)", lines[0].strip("\r\n ")) if lines else None  # a line for spreadsheets
        if told:
            lines, self.line = lines[1:], self.line + 1
        if not lines:
            raise DataFormatError(f"{self.path}: there are no rows")
        lines[0] = lines[0].removeprefix("#").lstrip(" ") if lines[0].startswith("#") else lines[0]
        sample = lines[:SAMPLE]
        self.delimiter = told[1] if told else max(DELIMITERS, key=lambda mark: _fitness(sample, mark))
        if _width(_cells(sample, self.delimiter)) < 2:
            marks = ", ".join(DELIMITERS.values())
            reason = "expected 2 or more cells in a line: features and a label"
            raise DataFormatError(f"{self.path}, line {self.line + 1}: {reason}, with one of {marks} between them")
        if _in_single_quotes(sample, self.delimiter):
            self.quote = "'"
        return lines

    def _below_header(self, lines: list[str]) -> list[str]:
        reader = _reader(iter(lines), self.delimiter, self.quote)
        while not next(reader):
            pass
        self.line += reader.line_num
        return lines[reader.line_num :]

    def _rows(self, lines: Iterator[str]) -> Iterator[list[str]]:
        """Yield rows of cells; blank lines give an empty one."""
        return ([cell.strip() for cell in row] for row in _reader(lines, self.delimiter, self.quote))

    def _read(self, blocks: Iterator[list[str]]) -> None:
        """Read all rows, the numbers of a block together where that is possible."""
        for lines in blocks:
            numbers = self._together(lines)
            if numbers is not None:
                full = [place for place, line in enumerate(lines) if line and not line.isspace()]
                self._add(numbers, self.line + 1 + np.array(full))
                self.line += len(lines)
            elif any(line.count(self.quote) % 2 for line in lines):  # a cell of several lines: all others in one go
                self._read_cells(chain(lines, chain.from_iterable(blocks)))
            else:
                self._read_cells(iter(lines))

    def _together(self, lines: list[str]) -> Array | None:
        """Return the numbers of these lines; None if there is anything else."""
        text = "\n".join(lines)
        comma = self.delimiter != "," and "," in text
        if self.quote in text or _holds_names(text, self.delimiter) or text.isspace() or not text:
            return None
        if ("." in text and (comma or self.decimal == ",")) or (comma and self.decimal == "."):
            return None
        try:
            rows = text.replace(",", ".").split("\n") if comma else lines
            delimiter = None if self.delimiter == " " else self.delimiter
            numbers = np.loadtxt(rows, np.float64, delimiter=delimiter, comments=None, ndmin=2)
        except ValueError:
            return None
        if numbers.shape[1] != self.width or not (np.abs(numbers) < EXACT).all():
            return None
        self.decimal = "," if comma else "." if "." in text else self.decimal
        return numbers

    def _read_cells(self, lines: Iterable[str]) -> None:
        """Read rows cell by cell."""
        reader, start = _reader(iter(lines), self.delimiter, self.quote), self.line
        while rows := list(islice(self._numbered(reader, start), max(1, TOGETHER // self.width))):
            numbers = np.array([self._numbers(row, self.n + place) for place, (_, row) in enumerate(rows)])
            self._add(numbers, np.array([line for line, _ in rows]))
        self.line = start + reader.line_num

    def _numbered(self, reader: Any, start: int) -> Iterator[tuple[int, list[str]]]:
        """Yield the rows that hold something with their lines; ``DataFormatError`` if one is short or long."""
        for row in reader:
            self.line = start + reader.line_num
            if not row or (len(row) == 1 and not row[0].strip()):
                continue
            if len(row) != self.width:
                hint = f"a cell with a {DELIMITERS.get(self.delimiter, self.delimiter)} in it needs quotation marks"
                if len(row) == 1:
                    hint = f"remove {checks.shorten(row[0], 40)} if it is a remark"
                reason = f"expected {self.width} cells, got {len(row)}; {hint}"
                raise DataFormatError(f"{self.path}, line {self.line}: {reason}")
            yield self.line, row

    def _numbers(self, row: list[str], place: int) -> list[float]:
        """Return the numbers of a row, and keep its texts."""
        found = []
        for column, cell in enumerate(map(str.strip, row)):
            number = self._number(cell)
            found.append(number)
            missing = math.isnan(number) and cell.lower() in MISSING
            if not missing and (math.isnan(number) or abs(number) >= EXACT or NAME.fullmatch(cell)):
                self.texts.setdefault(column, {})[place] = self.same.setdefault(cell, cell)
        return found

    def _number(self, cell: str) -> float:
        """Return the number in a cell, NaN if there is none; the first decimal sign is that of all cells."""
        sign = "." if "." in cell else "," if "," in cell else ""
        pattern = COMMA_NUMBER if sign == "," else NUMBER
        if not pattern.fullmatch(cell) or (sign and self.decimal not in ("", sign)):
            return math.nan
        if sign == "," and self.delimiter == ",":
            return math.nan
        self.decimal = sign or self.decimal
        number = float(cell.replace(",", "."))
        return number if math.isfinite(number) else math.nan

    def _add(self, numbers: Array, lines: Array) -> None:
        """Keep these rows, as bytes if that changes nothing."""
        with np.errstate(invalid="ignore"):
            small = numbers.astype(np.uint8)
        self.pieces.append(small if np.array_equal(small, numbers) else numbers)
        self.lines.append(lines)
        self.n += len(numbers)

    def _notes(self, names: list[str], named: bool, *, guessed: bool) -> Iterator[str]:
        """Yield what was found, and could be otherwise."""
        if self.delimiter != ",":
            yield f"cells are separated by {DELIMITERS.get(self.delimiter, self.delimiter)}"
        if self.decimal == ",":
            yield "numbers have a decimal comma"
        if guessed and not named:
            called = f"{names[0]} to {names[-1]}"
            yield f"there is no header, so the columns are called {called} (--header yes if there is one)"
        elif guessed and all(map(NUMBER.fullmatch, names)):
            yield f"the first row, {names[0]} to {names[-1]}, is taken for a header (--header no if it is a sample)"


def _holds_names(text: str, delimiter: str) -> bool:
    """Return whether a number begins with 0 and another digit: it may be a name.  A pattern would take far longer."""
    characters = np.frombuffer(f" {text}".encode(), np.uint8)
    digits = characters - np.uint8(ord("0")) < 10
    inside = digits[:-2] | (characters[:-2] == ord("."))
    if delimiter != ",":  # a decimal comma
        inside |= characters[:-2] == ord(",")
    return bool(np.any((characters[1:-1] == ord("0")) & digits[2:] & ~inside))


def _reader(lines: Iterator[str], delimiter: str, quote: str) -> Any:
    """Return a reader of rows, with the attribute ``line_num``."""
    ended = (f"{line.strip() if delimiter == ' ' else line}\n" for line in lines)
    return csv.reader(ended, delimiter=delimiter, quotechar=quote, skipinitialspace=True)


def _cells(sample: list[str], delimiter: str) -> list[list[str]]:
    """Return the rows of some lines."""
    return [[cell.strip() for cell in row] for row in _reader(iter(sample), delimiter, '"') if row]


def _width(rows: list[list[str]]) -> int:
    """Return the length of most rows."""
    widths = [len(row) for row in rows]
    return max(widths, key=widths.count, default=0)


def _fitness(sample: list[str], delimiter: str) -> tuple[float, float]:
    """Return how many lines have the same number of cells with this delimiter, and how many cells are numbers."""
    rows, width = (rows := _cells(sample, delimiter)), _width(rows)
    if width < 2:
        return 0.0, 0.0
    cells = [cell for row in rows for cell in row]
    commas = delimiter != ","
    numbers = sum(bool(NUMBER.fullmatch(cell) or (commas and COMMA_NUMBER.fullmatch(cell))) for cell in cells)
    return round(sum(len(row) == width for row in rows) / len(rows), 1), numbers / len(cells)


def _in_single_quotes(sample: list[str], delimiter: str) -> bool:
    """Return whether texts stand in single quotation marks."""
    mark = re.escape(delimiter)
    quoted = re.compile(rf"(^|{mark})\s*'[^']*'\s*({mark}|$)")
    return not any('"' in line for line in sample) and sum(map(bool, map(quoted.search, sample))) > len(sample) / 2
