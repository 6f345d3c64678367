"""The reader of tables: every spelling of a table comes back digit by digit, bad ones are named with their line."""

import gzip

from hypothesis import given, settings, strategies as st
import numpy as np
import pytest

from xpdl.data.csv_file import read_csv
from xpdl.data.dataset import DataFormatError

ROWS = [[1.0, 2.5, 0.0], [-30.0, 4.0, 2.0], [7.0, -0.25, 1.0]]


@pytest.fixture
def table(tmp_path):
    def write(text, encoding="utf-8"):
        (tmp_path / "my.csv").write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
        return tmp_path / "my.csv"

    return write


def numbers(read):
    return np.stack([read.numbers(column) for column in range(len(read.columns))], axis=1)


SPELLINGS = {
    # name: the text of ROWS, its columns, what is said
    "plain": ("1,2.5,0\n-3e1, 4 ,2\n7,-.25,1\n", ["0", "1", "2"], ["there is no header"]),
    "header": ("a,b,label\n1,2.5,0\n-30,4,2\n7,-0.25,1", ["a", "b", "label"], []),
    "CRLF, quotes, BOM": ('\ufeff"a",b,c\r\n\r\n1,"2.5",0.0\r\n-30,4,2\r\n7,-0.25,1\r\n', [*"abc"], []),
    "old line ends": ("a,b,c\r1,2.5,0\r-30,4,2\r7,-0.25,1\r", [*"abc"], []),
    "semicolon": ("a;b;c\n1;2,5;0\n-30;4;2\n7;-,25;1\n", [*"abc"], ["separated by ;", "decimal comma"]),
    "semicolon and point": ("a;b;c\n1;2.5;0\n-30;4;2\n7;-.25;1\n", [*"abc"], ["separated by ;"]),
    "tab": ("a\tb\tc\n1\t2.5\t0\n-30\t4\t2\n7\t-0.25\t1\n", [*"abc"], ["separated by tab"]),
    "spaces": ("  1   2.5  0\n-30 4 2  \n  7 -0.25 1\n", [*"012"], ["separated by space", "no header"]),
    "bars": ("a|b|c\n1|2.5|0\n-30|4|2\n7|-0.25|1\n", [*"abc"], [r"separated by \|"]),
    "told": ("sep=;\na;b;c\n1;2.5;0\n-30;4;2\n7;-.25;1\n", [*"abc"], ["separated by ;"]),
    "of numpy.savetxt": ("# a b c\n1 2.5 0\n-30 4 2\n7 -0.25 1\n", [*"abc"], ["separated by space"]),
    "numbers as names": ("0,1,2\n1,2.5,0\n-30,4,2\n7,-0.25,1\n", [*"012"], ["taken for a header"]),
    "years as names": ("k,1990,1991,1992\n5,1,2,3\n1,2,1,4\n", ["k", "1990", "1991", "1992"], []),
    "single quotes": ("a,b,c\n'1',2.5,0\n'-30',4,2\n'7',-0.25,1\n", [*"abc"], []),
    "names of R": ('"a" "b" "c"\n"1" 1 2.5 0\n"2" -30 4 2\n"3" 7 -0.25 1\n', ["", *"abc"], ["separated by space"]),
    "comma at the end": ("a,b,c\n1,2.5,0,\n-30,4,2,\n7,-0.25,1,\n", [*"abc", ""], []),
    "UTF-16": ("a,b,c\n1,2.5,0\n-30,4,2\n7,-0.25,1\n".encode("utf-16"), [*"abc"], []),
    "gzip": (gzip.compress(b"a,b,c\n1,2.5,0\n-30,4,2\n7,-0.25,1\n"), [*"abc"], []),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_table_may_be_spelled_in_many_ways(table, name):
    text, columns, said = SPELLINGS[name]
    read = read_csv(table(text))
    assert read.columns == columns
    used = [column for column, title in enumerate(columns) if title in (*"abc", "label", *"012")]
    if name != "years as names":
        assert numbers(read)[:, used].tolist() == ROWS
    assert len(read.notes) == len(said)
    for note, pattern in zip(read.notes, said, strict=True):
        assert np.char.find(note, pattern.replace("\\", "")) >= 0, note


def test_the_user_decides_about_the_header(table):
    path = table("0,1,2\n1,2,0\n4,5,2\n")
    assert (read_csv(path).header, len(read_csv(path))) == (True, 2)
    assert (read_csv(path, "no").header, len(read_csv(path, "no"))) == (False, 3)
    assert read_csv(table("1,2\n3,4\n"), "yes").columns == ["1", "2"]
    with pytest.raises(ValueError, match="header must be one of auto, no, yes"):
        read_csv(path, "maybe")


def test_cells_are_numbers_texts_or_missing(table):
    read = read_csv(table('a,b,c\n1,red,?\n,"two\nlines",3\n007,NA,9007199254740993\n'))
    assert read.absent == [1, 1, 1]
    assert [read.cells(column) for column in range(3)] == [
        ["1", "", "007"],
        ["red", "two\nlines", ""],
        ["", "3", "9007199254740993"],
    ]
    assert read.lines.tolist() == [2, 4, 5]
    assert list(read.with_text) == [1]


def test_every_digit_is_kept_and_small_whole_numbers_are_bytes(table):
    assert read_csv(table("0.1234567890123456789,0\n1,1\n")).numbers(0)[0] == 0.1234567890123456789
    assert [piece.dtype for piece in read_csv(table("1,255\n0,4\n")).pieces] == [np.uint8]
    assert [piece.dtype for piece in read_csv(table("1,256\n0,4\n")).pieces] == [np.float64]


CELLS = st.one_of(st.floats(allow_nan=False, allow_infinity=False, width=64), st.integers(-(10**6), 10**6))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=6), st.sampled_from(",;\t| "))
def test_what_is_written_is_read(tmp_path_factory, rows, delimiter):
    """Blocks of numbers and single cells are read by two pieces of code; both give the same numbers."""
    path = tmp_path_factory.mktemp("table") / "my.csv"
    lines = [delimiter.join(map(repr, row)) for row in rows]
    for quoted in ("", '"'):
        cells = [delimiter.join(f"{quoted}{cell!r}{quoted}" for cell in row) for row in rows] if quoted else lines
        path.write_text("\n".join([delimiter.join("abc"), *cells]))
        assert np.array_equal(numbers(read_csv(path)), np.array(rows, float))


def test_blocks_join(table, monkeypatch):
    monkeypatch.setattr("xpdl.data.csv_file.BLOCK", 20)
    lines = [f"{row},{row / 4},x{row % 3}" if row % 5 == 0 else f"{row},{row / 4},{row % 3}" for row in range(100)]
    read = read_csv(table("a,b,c\n" + "\n".join(lines)))
    assert read.numbers(1).tolist() == [row / 4 for row in range(100)]
    assert read.lines.tolist() == list(range(2, 102))
    assert read.cells(2)[95:97] == ["x2", "0"]


BAD = {
    "empty": ("", "there are no rows"),
    "only a header": ("a,b,c\n\n", "there are no rows below the header"),
    "one column": ("1\n2\n", "line 1: expected 2 or more cells in a line.*with one of tab, ;, ,, |, space between"),
    "short row": ("1,2,0\n\n3,4\n", "line 3: expected 3 cells, got 2; a cell with a , in it needs quotation marks"),
    "long row": ("a,b\n1,0\n1,2,0\n", "line 3: expected 2 cells, got 3"),
    "remark": ("a,b\n1,0\n2,1\nsource: me\n", "line 4: expected 2 cells, got 1; remove 'source: me' if it is a remark"),
    "not UTF-8": (b"1,2\n\xe9,1\n", "'utf-8' codec.*; save the file with the encoding UTF-8"),
    "a huge cell": ("1,2\n" + "9" * 200_000 + "x,1\n", "after line 0: field larger than field limit"),
    "open quotation mark": ('a,b\n"1,2\n' + "3,4\n" * 50_000, "is there a quotation mark without its second one"),
    "half a gzip file": (gzip.compress(b"a,b\n1,2\n")[:-9], "the gzip file is damaged"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_tables_are_named_with_their_line(table, case):
    text, reason = BAD[case]
    with pytest.raises(DataFormatError, match=reason) as error:
        read_csv(table(text))
    assert "my.csv" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_an_ordinary_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_csv(tmp_path / "absent")
