"""A table knows its cells as numbers, texts or missing."""

import numpy as np

from xpdl.data.table import Table, column_list, number_text, unique_names


def made():
    numbers = np.array([[1.0, np.nan], [2.0, 7.0], [np.nan, np.nan]])
    return Table("t", ["a", ""], [numbers[:2], numbers[2:]], {1: {0: "red", 1: "007"}}, np.array([2, 3, 5]), True)


def test_cells_are_numbers_texts_or_missing() -> None:
    table = made()
    assert len(table) == 3
    assert [table.cells(0), table.cells(1)] == [["1", "2", ""], ["red", "007", ""]]
    assert [table.missing(0).tolist(), table.missing(1).tolist()] == [[False, False, True]] * 2
    assert table.absent == [1, 1]
    assert table.with_text == {1: [0]}


def test_some_rows_are_a_table() -> None:
    table = made().take(np.array([1, 2]))
    assert [table.cells(0), table.cells(1), table.lines.tolist()] == [["2", ""], ["007", ""], [3, 5]]


def test_places_are_said_by_line_and_name() -> None:
    assert made().place(2, 0) == "line 5, column 'a'"
    assert made().place(0, 1) == "line 2, the unnamed column 1"


def test_texts_of_numbers_and_names() -> None:
    assert [*map(number_text, (3.0, -2.5, 1e300, float("nan")))] == ["3", "-2.5", "1e+300", ""]
    assert unique_names(["a", "b", "a", "a", "", ""]) == ["a", "b", "a.1", "a.2", "", ""]
    assert column_list([*"abcdefghij"]) == "'a', 'b', 'c', 'd', 'e', 'f', ..., 'j'"
