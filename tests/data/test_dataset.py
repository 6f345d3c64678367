"""A data set is checked once, when it is made."""

import numpy as np
import pytest

from xpdl.data.coding import Coding
from xpdl.data.dataset import DataFormatError, Dataset
from xpdl.scaling import Scaling

X, Y = np.arange(20.0).reshape(10, 2), np.arange(10)


def test_good_data_pass_untouched():
    data = Dataset(X, Y, X[:3], Y[:3], name="mine")
    assert data.x is X
    assert data.y_test.shape == (3,)
    assert Dataset(X, Y).x_test is None
    Dataset(X.astype(np.uint8), X)  # images with targets (n, k)


WRONG = {
    "no rows": ((X[:0], Y[:0]), "x must be (n, d)"),
    "one axis": ((Y * 1.0, Y), "x must be (n, d)"),
    "a list": (([[1.0]], Y[:1]), "x must be a NumPy array, got list"),
    "integer x": ((X.astype(int), Y), "x must be uint8 or floating, got int64"),
    "complex x": ((X + 1j, Y), "got complex128"),
    "string labels": ((X, Y.astype(str)), "y must be int64"),
    "int32 labels": ((X, Y.astype(np.int32)), "got int32"),
    "one-hot integers": ((X, Y[:, None]), "y must be labels (n,)"),
    "lengths": ((X, Y[:9]), "x has 10 rows but y has 9"),
    "NaN": ((np.where(X == 7, np.nan, X), Y), "x holds NaN or infinity"),
    "infinite target": ((X, np.where(Y == 7, np.inf, Y)), "y holds NaN"),
    "half a test part": ((X, Y, X), "x_test and y_test must come together"),
    "lengths of test": ((X, Y, X, Y[:9]), "x_test has 10 rows but y_test has 9"),
    "features": ((X, Y, X[:, :1], Y), "x has rows of shape (2,) but x_test of (1,)"),
    "labels against targets": ((X, Y, X, Y * 1.0), "y is int64 but y_test is float64"),
    "uint8 against floats": ((X, Y, X.astype(np.uint8), Y), "x is float64 but x_test is uint8"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_data_are_named(case):
    arrays, reason = WRONG[case]
    with pytest.raises(DataFormatError) as error:
        Dataset(*arrays, name="mine")
    assert str(error.value).startswith("mine: ")
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def test_split_moves_rows_and_keeps_pairs():
    data = Dataset(X, Y, name="mine").split(0.3, seed=5)
    assert (len(data.x), len(data.x_test), data.name) == (7, 3, "mine")
    assert sorted(np.concatenate([data.y, data.y_test])) == list(range(10))
    assert np.array_equal(data.x[:, 0], 2 * data.y)
    assert np.array_equal(data.x_test[:, 0], 2 * data.y_test)


def test_split_is_a_function_of_the_seed():
    def tests(seed):
        return Dataset(X, Y).split(0.3, seed).y_test.tolist()

    assert tests(1) == tests(1)
    assert len({tuple(tests(seed)) for seed in range(8)}) > 4


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 0.01, 0.99, float("nan")])
def test_split_refuses_an_empty_part(fraction):
    with pytest.raises(ValueError, match="fraction must leave rows in both parts of 10, got"):
        Dataset(X, Y).split(fraction, 0)


def test_split_refuses_data_with_a_test_part():
    with pytest.raises(ValueError, match="mine has a test part already"):
        Dataset(X, Y, X, Y, name="mine").split(0.5, 0)


def test_split_takes_the_same_fraction_of_each_class():
    y = np.repeat([0, 1, 2], [60, 30, 10])
    parts = Dataset(np.arange(200.0).reshape(100, 2), y).split(0.2, seed=3)
    assert np.bincount(parts.y_test).tolist() == [12, 6, 2]
    assert np.any(np.diff(parts.y_test) < 0)  # shuffled


def test_parts_that_were_scaled_differently_are_named():
    x = np.linspace(0, 255, 20).reshape(10, 2)
    with pytest.raises(DataFormatError, match=r"x is within \[0, 1\] but x_test within \[0, 255\]: scale both"):
        Dataset(x / 255, Y, x, Y)
    assert Dataset(x / 9, Y, x, Y).test is not None


def test_classes_of_plain_labels_are_their_numbers():
    assert Dataset(X, Y % 3).classes == (0, 1, 2)
    assert Dataset(X, X).classes is None
    assert Dataset(X, Y).features is None


def test_only_files_are_standardised_unasked():
    data = Dataset(X, Y)
    assert data.scaling is None
    assert data.choose_scaling("standard")[0] == Scaling.fit(X)
    filed = Dataset(X, Y, coding=Coding(tuple(range(10))))
    assert filed.scaling == Scaling.fit(X)
    assert filed.choose_scaling("none")[0] is None


def test_a_data_set_is_shown_in_a_few_lines():
    assert str(Dataset(X, Y % 3, X[:2], Y[:2], name="mine")) == (
        "mine: 10 training and 2 test samples of 2 features, float64\n3 classes: 0, 1, 2"
    )
    assert repr(Dataset(X, X)) == "data: 10 training samples of 2 features, float64"
