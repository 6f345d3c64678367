"""A data set is checked once, when it is made."""

import numpy as np
import pytest

from xpdl.data.dataset import DataFormatError, Dataset, labels_or_targets

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


LABELS = {
    # name: y as a file holds it, and the labels that it stands for
    "whole numbers": ([3, 0, 1], [3, 0, 1]),
    "a column": ([[3], [0], [1]], [3, 0, 1]),
    "whole floats": ([3.0, -1.0, 1.0], [3, -1, 1]),
    "truth values": ([True, False], [1, 0]),
    "one-hot rows": ([[0, 1, 0], [1.0, 0, 0]], [1, 0]),
}


@pytest.mark.parametrize("name", LABELS)
def test_whole_numbers_and_one_hot_rows_are_labels(name):
    given, labels = LABELS[name]
    y = labels_or_targets(np.array(given))
    assert (y.dtype, y.tolist()) == (np.int64, labels)


TARGETS = {
    "fractions": [0.5, 1.0],
    "NaN": [np.nan, 1.0],
    "too large for an int64": [1e300, 1.0],
    "rows with two ones": [[1.0, 1.0], [0.0, 1.0]],
    "rows with other numbers": [[0.5, 0.5], [0.0, 1.0]],
    "text": ["a", "b"],
    "no axis": 3,
    "three axes": [[[1]]],
    "no rows": [],
}


@pytest.mark.parametrize("name", TARGETS)
def test_everything_else_stays_as_it_is(name):
    y = np.array(TARGETS[name])
    assert labels_or_targets(y) is y
