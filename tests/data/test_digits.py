"""scikit-learn's digits: all of them, scaled, and split at random."""

import sys

import numpy as np
import pytest

from xpdl.data import digits


def test_digits_are_scikit_learns():
    datasets = pytest.importorskip("sklearn.datasets")
    data = digits(seed=4)
    assert (data.x.shape, data.x_test.shape, data.x.dtype, data.y.dtype) == (
        (1438, 64),
        (359, 64),
        np.float64,
        np.int64,
    )
    x, y = datasets.load_digits(return_X_y=True)
    mine = np.column_stack([np.concatenate([data.x, data.x_test]) * 16, np.concatenate([data.y, data.y_test])])
    theirs = np.column_stack([x, y])
    assert np.array_equal(mine[np.lexsort(mine.T)], theirs[np.lexsort(theirs.T)])


def test_the_split_is_a_function_of_the_seed():
    pytest.importorskip("sklearn")
    assert np.array_equal(digits(seed=1).x_test, digits(seed=1).x_test)
    assert not np.array_equal(digits(seed=1).x_test, digits(seed=2).x_test)


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r'pip install "xpdl\[digits\]"'):
        digits()
