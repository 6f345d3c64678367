"""The .csv reader: good tables come back digit by digit, bad ones are named with line and column."""

import numpy as np
import pytest

from xpdl.data.csv_file import read_csv
from xpdl.data.dataset import DataFormatError


@pytest.fixture
def table(tmp_path):
    def write(text, encoding="utf-8"):
        (tmp_path / "my.csv").write_bytes(text.encode(encoding))
        return tmp_path / "my.csv"

    return write


def test_a_header_is_optional(table):
    for text in (
        "1,2.5,0\n-3e1, 4 ,2\n",
        "a,b,label\n1,2.5,0\n-3e1,4,2",
        '\ufeff1,"2.5",0.0\r\n\r\n-30,4,2\r\n',
    ):
        data = read_csv(table(text))
        assert data.x.tolist() == [[1, 2.5], [-30, 4]]
        assert (data.x.dtype, data.y.dtype, data.y.tolist()) == (np.float64, np.int64, [0, 2])
        assert data.x.flags.c_contiguous


def test_labels_that_are_no_whole_numbers_are_targets(table):
    data = read_csv(table("1,0.5\n2,1\n"))
    assert (data.y.dtype, data.y.tolist()) == (np.float64, [[0.5], [1.0]])
    assert read_csv(table("1,1e300\n2,1\n")).y.dtype == np.float64


def test_every_digit_is_kept(table):
    assert read_csv(table("0.1234567890123456789,0\n")).x[0, 0] == 0.1234567890123456789


BAD_CSV = {
    "empty": ("", "there are no rows of numbers"),
    "only a header": ("a,b,c\n\n", "there are no rows of numbers"),
    "one column": ("1\n2\n", "line 1: expected 2 or more cells, got 1"),
    "semicolons": ("1;2;3\n", "line 1: expected 2 or more cells, got 1"),
    "short row": ("1,2,0\n\n3,4\n", "line 3: expected 3 cells, got 2"),
    "long row": ("a,b\n1,0\n1,2,0\n", "line 3: expected 2 cells, got 3"),
    "text": ("1,2,0\n1,two,0\n", "line 2, column 2: expected a finite number, got 'two'"),
    "text in the first line": ("1,two,0\n", "line 1, column 2: expected a finite number, got 'two'"),
    "empty cell": ("1,2,0\n1,,0\n", "line 2, column 2: expected a finite number, got ''"),
    "second header": ("a,b\nc,d\n", "line 2, column 1: expected a finite number, got 'c'"),
    "NaN": ("1,2,0\n1,2,nan\n", "line 2, column 3: expected a finite number, got 'nan'"),
    "NaN in the first line": ("nan,nan,nan\n1,2,0\n", "line 1, column 1: expected a finite number, got 'nan'"),
    "signs and letters": ("-NaN, nan,+NAN\n1,2,0\n", "line 1, column 1: expected a finite number, got '-NaN'"),
    "infinity": ("1,2,0\n-inf,2,1\n", "line 2, column 1: expected a finite number, got '-inf'"),
    "not UTF-8": ("1,2\n\xe9,1\n", "after line 0: 'utf-8' codec"),
    "a cell of lines": ('1,2\n"a\nb",1\n', r"line 3, column 1: expected a finite number, got 'a\\nb'"),
    "a huge cell": ("1,2\n" + "9" * 200_000 + ",1\n", "field larger than field limit"),
}


@pytest.mark.parametrize("case", BAD_CSV)
def test_bad_tables_are_named_with_their_line(table, case):
    text, reason = BAD_CSV[case]
    with pytest.raises(DataFormatError, match=reason) as error:
        read_csv(table(text, "latin-1"))
    assert "my.csv" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_an_ordinary_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_csv(tmp_path / "absent")
