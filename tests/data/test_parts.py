"""Arrays become a data set: samples as rows, a validation part where it belongs, labels by the one rule."""

import numpy as np
import pytest

from xpdl.data import DataFormatError
from xpdl.data.parts import dataset_of_arrays

X = np.random.default_rng(0).integers(0, 256, (6, 8, 8))
Y = np.array(["cat", "dog"])[np.arange(6) % 2]


def made(**arrays):
    return dataset_of_arrays({"x": X, "y": Y} | arrays, "mine")


def test_pixels_of_any_integers_are_bytes() -> None:
    data = made(x_test=X.astype("uint8"), y_test=Y)
    assert (data.x.dtype, data.x_test.dtype, data.x.shape) == (np.uint8, np.uint8, (6, 64))
    assert made(x=X[:, 0] - 1).x.dtype == np.float64
    mixed = made(x=X.astype("float32"), x_test=X.astype("uint8"), y_test=Y)
    assert mixed.x_test.dtype == mixed.x.dtype


def test_a_validation_part_is_the_test_part_if_there_is_no_other() -> None:
    data = made(x_val=X[:2], y_val=Y[:2])
    assert (len(data.x), len(data.x_test)) == (6, 2)
    assert "the validation part is the test part" in data.notes
    data = made(x_val=X[:2], y_val=Y[:2], x_test=X[:3], y_test=Y[:3])
    assert (len(data.x), len(data.x_test)) == (8, 3)


def test_whole_numbers_may_stand_for_names() -> None:
    data = dataset_of_arrays({"x": X, "y": np.arange(6) % 2 + 1}, "mine", classes={1: "A", 2: "B"})
    assert (data.classes, data.y.tolist()) == (("A", "B"), [0, 1] * 3)


def test_what_does_not_fit_is_named() -> None:
    for arrays, reason in (
        ({"y": Y[:5]}, "mine: x has 6 rows but y has 5"),
        ({"x_test": X}, "mine: x_test and y_test must come together"),
        ({"y": np.zeros(6)}, "mine: the label y is 0 in every row"),
    ):
        with pytest.raises(DataFormatError, match=reason):
            made(**arrays)
