"""The coding of a table is kept, and new rows are coded alike: by name, in any order, or refused by name."""

import json

import numpy as np
import pytest

from xpdl.data import DataFormatError
from xpdl.data.coding import Coding, Column
from xpdl.data.csv_file import read_csv

CODING = Coding(
    ("no", "yes"), (Column("age", None, 40.0), Column("colour", ("blue", "red"), "red")), "bought", "Id", width=4
)


@pytest.fixture
def table(tmp_path):
    def write(text, header="auto"):
        (tmp_path / "new.csv").write_text(text)
        return read_csv(tmp_path / "new.csv", header)

    return write


def test_a_coding_comes_back_from_json():
    assert Coding.of_document(json.loads(json.dumps(CODING.document()))) == CODING
    assert Coding.of_document(json.loads(json.dumps(Coding().document()))) == Coding()


def test_columns_are_matched_by_name_in_any_order(table):
    for text in ("age,colour\n30,red\n20,blue\n", "colour,other,age\nred,1,30\nblue,2,20\n"):
        assert CODING.encode(table(text)).tolist() == [[30, 0, 1], [20, 1, 0]]


WRONG = {
    "no column 'age'; it has 'Age', which the model does not know": "Age,colour\n30,red\n",
    "no column 'age', 'colour', as it has no header": "30,20\n20,20\n",
    "line 2, column 'colour': 'green' is none of the values of the training, blue, red": "age,colour\n30,green\n",
    "line 3, column 'age': expected a number, got 'old'": "age,colour\n30,red\nold,red\n",
    "column 'age' has 1 empty cell, the first in line 3; --missing mean at": "age,colour\n30,red\n,red\n",
}


@pytest.mark.parametrize("reason", WRONG)
def test_other_tables_are_refused_with_what_is_wrong(table, reason):
    with pytest.raises(DataFormatError, match=reason) as caught:
        CODING.encode(table(WRONG[reason]))
    assert "new.csv" in str(caught.value)


def test_missing_cells_are_filled_as_in_the_training(table):
    coding = Coding(**{**CODING.__dict__, "missing": True})
    assert coding.encode(table("age,colour\n,red\n20,\n")).tolist() == [[40, 0, 1], [20, 0, 1]]


def test_without_a_header_the_order_counts(table):
    coding = Coding((0, 1), (Column("1"), Column("2")), "0", header=False, width=3)
    assert coding.encode(table("9,1,2\n8,3,5\n")).tolist() == [[1, 2], [3, 5]]
    assert coding.encode(table("1,2\n3,5\n")).tolist() == [[1, 2], [3, 5]]
    with pytest.raises(DataFormatError, match="rows of 3 columns, or 2 without the label, got 4"):
        coding.encode(table("1,2,3,4\n5,6,7,9\n"))


def test_a_table_for_a_model_of_arrays_is_taken_as_it_is(table):
    assert Coding().encode(table("a,b\n1,2\n3,4\n")).tolist() == [[1, 2], [3, 4]]


def test_many_columns_of_bytes_stay_bytes(table):
    names = [f"p{i}" for i in range(64)]
    coding = Coding((0, 1), tuple(map(Column, names)), "y")
    x = coding.encode(table(",".join(names) + "\n" + ",".join(["255"] * 64) + "\n"))
    assert (x.dtype, x.shape, int(x.min())) == (np.uint8, (1, 64), 255)
