"""Tables become data sets: label, features, index, texts and missing cells; what is guessed is said."""

import re

import numpy as np
import pytest

from xpdl.data import DataFormatError, load

R = np.random.default_rng(0)
N = 60
A, B = (np.round(R.normal(size=N), 2).tolist() for _ in range(2))
CLASS = ["cat", "dog", "fox"] * (N // 3)


@pytest.fixture
def table(tmp_path):
    """table(a=[...], b=[...]) writes columns -> path; names that begin with _ have no name."""

    def write(columns):
        path = tmp_path / "my.csv"
        lines = [",".join(map(str, row)) for row in zip(*columns.values(), strict=True)]
        path.write_text("\n".join([",".join(columns), *lines]) + "\n")
        return path

    return write


LABELS = {
    # columns -> the label
    "a b label": "label",
    "Species a b": "Species",
    "target a b": "target",
    "y a b": "y",
    "a b c": "c",
    "class target b": "b",
}


@pytest.mark.parametrize("names", LABELS)
def test_the_label_is_found_by_its_name_or_is_the_last_column(table, names):
    data = load(table({name: (CLASS if name == LABELS[names] else A) for name in names.split()}))
    assert data.coding.label == LABELS[names]
    assert data.classes == ("cat", "dog", "fox")
    last = "the last column (--label takes another one)" in data.notes[0]
    assert last == (names in ("a b c", "class target b"))


def test_the_user_names_the_label(table):
    path = table({"a": A, "b": B, "c": CLASS, "3": [number * 2 for number in A]})
    for label, column in {"c": "c", "2": "c", "first": "a", "last": "3", "3": "3", "0": "a"}.items():
        assert load(path, label=label, drop=[] if column == "c" else ["c"]).coding.label == column
    with pytest.raises(DataFormatError, match="no column 'd'; the columns are 'a', 'b', 'c', '3'"):
        load(path, label="d")


def test_numbered_columns_have_no_label(table):
    path = table({f"pixel{i}": [i + (j % 2) for j in range(N)] for i in range(5)})
    with pytest.raises(DataFormatError, match="no column of labels: all are numbered, pixel0 to pixel4; --label NAME"):
        load(path)
    assert load(path, label="last").coding.label == "pixel4"


INDICES = {
    "": range(N),
    "Id": R.permutation(N).tolist(),
    "id": [f"{i:04d}" for i in R.permutation(N)],
    "PassengerId": range(5, N + 5),
    "patient_id": [f"p{i}" for i in R.permutation(N)],
    "Unnamed: 0": range(N),
    "number": range(7, N + 7),
}
NO_INDICES = {"acid": A, "Id": [1, 1] * (N // 2), "humid": R.permutation(N).tolist(), "count": [3, *range(1, N)]}


def test_what_numbers_the_rows_is_left_out_and_said(table):
    for name, values in INDICES.items():
        path = table({name: values, "a": A, "label": CLASS})
        data = load(path)
        assert (data.features, data.coding.identifier) == (("a",), name)
        assert any("only numbers the rows and is left out (--keep)" in note for note in data.notes)
        if name and not isinstance(values[0], str):
            assert load(path, keep=[name]).features == (name, "a")
    for name, values in NO_INDICES.items():
        assert load(table({name: values, "a": A, "label": CLASS})).features == (name, "a")


def test_a_single_column_of_features_is_no_index(table):
    assert load(table({"x": range(N), "y": A})).features == ("x",)


def test_texts_of_few_values_are_one_feature_each(table):
    data = load(table({"colour": ["red", "blue"] * (N // 2), "a": A, "label": CLASS}))
    assert data.features == ("colour=blue", "colour=red", "a")
    assert data.x[:2, :2].tolist() == [[0, 1], [1, 0]]
    assert "column 'colour' holds 2 texts, a feature each (one-hot): blue, red" in data.notes
    mixed = load(table({"dependents": [0, 1, 2, "3+"] * (N // 4), "a": A, "label": CLASS}))
    assert mixed.features == (*(f"dependents={value}" for value in ("0", "1", "2", "3+")), "a")


def test_other_words_for_the_label_are_left_out(table):
    codes = [["cat", "dog", "fox"].index(name) for name in CLASS]
    data = load(table({"target": codes, "a": A, "kind": CLASS}), label="kind")
    assert data.features == ("a",)
    assert "column 'target' says the same as the label and is left out (--keep)" in data.notes
    assert load(table({"target": codes, "a": A, "kind": CLASS}), label="kind", keep=["target"]).features == (
        "target",
        "a",
    )


def test_empty_columns_and_those_that_the_user_names_are_left_out(table):
    data = load(table({"a": A, "b": [""] * N, "c": B, "label": CLASS}), drop=["c"])
    assert data.features == ("a",)
    assert "column 'b' is empty and is left out" in data.notes


GAPPED = {"a": ["", "NA", "?", *A[3:]], "b": B, "label": CLASS}


def test_missing_cells_are_filled_or_left_out_if_the_user_says_so(table):
    path = table(GAPPED)
    with pytest.raises(
        DataFormatError,
        match="column 'a' has 3 empty cells, the first in line 2; --missing mean fills them, --missing dr",
    ):
        load(path)
    filled = load(path, missing="mean")
    assert filled.x[:3, 0].tolist() == pytest.approx([np.mean(A[3:])] * 3)
    assert "filled with the mean or the most frequent text: column 'a'" in filled.notes[-1]
    left = load(path, missing="drop")
    assert left.x[:, 0].tolist() == A[3:]
    assert left.notes[-1] == "3 rows with empty cells are left out"
    with pytest.raises(ValueError, match="missing must be one of drop, error, mean"):
        load(path, missing="zero")


def test_rows_without_a_label_are_left_out_if_the_user_says_so(table):
    path = table({"a": A, "label": ["", *CLASS[1:]]})
    with pytest.raises(DataFormatError, match="column 'label' has 1 empty cell,"):
        load(path)
    assert len(load(path, missing="mean").x) == len(load(path, missing="drop").x) == N - 1


def test_the_label_tells_classes_from_numbers(table):
    assert load(table({"a": A, "price": range(1000, 1000 + N)})).y.dtype == np.float64
    assert load(table({"a": A, "class": [2, 4] * (N // 2)})).classes == (2, 4)
    assert load(table({"a": A, "class": ["01", "1"] * (N // 2)})).classes == ("01", "1")
    assert load(table({"a": A, "n": range(N)}), task="classes").classes == tuple(range(N))


WRONG = {
    "column 'name' holds 60 different texts, as 'n0'; leave out what is no category: --drop name": {
        "name": [f"n{i}" for i in range(N)]
    },
    "line 3, column 'a': expected a number, got 'two'; mend this cell, or leave the column out with --drop a": {
        "a": [1, "two", *A[2:]]
    },
    "line 4, column 'a': expected a number, got 'inf'": {"a": [*A[:2], "inf", *A[3:]]},
    "line 2, column 'my a': expected a number, got '1e999'; .*--drop 'my a'": {"my a": ["1e999", *A[1:]]},
    "the label 'label' is 7 in every row": {"a": A, "label": [7] * N},
    "label 'label': 60 different texts in 60 rows are too many classes": {"a": A, "label": [f"n{i}" for i in range(N)]},
    "line 3, column 'label': expected a number, got 'x'": {"a": A, "label": [1.5, "x", *A[2:]]},
    "no column of features beside the label column 'label'": {"b": [""] * N},
}


@pytest.mark.parametrize("reason", WRONG)
def test_what_cannot_be_used_is_named_with_a_remedy(table, reason):
    with pytest.raises(DataFormatError, match=reason) as caught:
        load(table({**WRONG[reason], **({} if "label" in WRONG[reason] else {"label": CLASS})}))
    assert re.search(r"my\.csv", str(caught.value))


def test_the_label_cannot_be_left_out(table):
    with pytest.raises(DataFormatError, match="column 'label' is the label and cannot be left out; --label names"):
        load(table({"a": A, "label": CLASS}), drop=["label"])
