"""One rule says what labels of files are: classes, by whatever names, or the numbers of a regression."""

import numpy as np
import pytest

from xpdl.data import DataFormatError
from xpdl.data.labels import as_labels, encode
from xpdl.data.shards import Shards

N = 60
CLASSES = {
    # name: y, the classes
    "texts": (np.array(["cat", "dog"])[np.arange(N) % 2], ("cat", "dog")),
    "bytes": (np.array([b"cat", b"dog"])[np.arange(N) % 2], ("cat", "dog")),
    "objects": (np.array(["cat", "dog"], object)[np.arange(N) % 2], ("cat", "dog")),
    "truth values": (np.arange(N) % 2 == 0, (False, True)),
    "-1 and 1": (np.arange(N) % 2 * 2 - 1, (-1, 1)),
    "2 and 4 as floats": (np.arange(N) % 2 * 2.0 + 2, (2, 4)),
    "1 to 10": (np.arange(N) % 10 + 1, tuple(range(1, 11))),
    "steps of 1000": (np.arange(N) % 10 * 1000, tuple(range(0, 10000, 1000))),
    "a column": (np.arange(N)[:, None] % 3, (0, 1, 2)),
    "one-hot rows": (np.eye(4)[np.arange(N) % 4], (0, 1, 2, 3)),
    "26 letters in 260 rows": (np.arange(260) % 26, tuple(range(26))),
    "as many as rows": (np.arange(4), (0, 1, 2, 3)),
}


@pytest.mark.parametrize("name", CLASSES)
def test_classes_keep_their_names(name):
    y, classes = CLASSES[name]
    found = as_labels(y)
    assert found.classes == classes
    assert [type(label) for label in found.classes] == [type(label) for label in classes]
    assert found.y.dtype == np.int64
    given = np.argmax(y, axis=1) if y.shape[1:] == (4,) else y.reshape(-1)
    assert found.y.tolist() == [classes.index(v.decode() if isinstance(v, bytes) else v) for v in given.tolist()]
    assert f"label y: {len(classes)} classes: {classes[0]} " in found.note


REGRESSIONS = {
    "prices": 50_000 + 1000 * np.arange(N),
    "years, one each": 1990.0 + np.arange(20),
    "fractions": np.linspace(0, 1, N),
    "counts": np.arange(N) % 40,
    "huge": np.array([1e300, 1.0] * 30),
    "several": np.ones((N, 3)),
}


@pytest.mark.parametrize("name", REGRESSIONS)
def test_many_numbers_are_a_regression(name):
    y = REGRESSIONS[name]
    found = as_labels(y)
    assert found.classes is None
    assert found.y.dtype == np.float64
    assert np.array_equal(found.y, y)
    assert "so this is a regression" in found.note


def test_the_user_may_decide():
    prices = REGRESSIONS["prices"]
    assert len(as_labels(prices, task="classes").classes) == N
    assert as_labels(np.arange(N) % 2, task="regression").y.dtype == np.float64
    assert "--task classes" in as_labels(prices).note
    assert len(as_labels(np.arange(400) % 100, images=True).classes) == 100


WRONG = {
    "is 7 in every row": (np.full(5, 7.0), {}),
    "is cat in every row": (np.array(["cat"] * 3), {}),
    "must hold numbers for a regression, got 'a'": (np.array(["a", "b"]), {"task": "regression"}),
    r"must be \(n,\) or rows with a single 1 to be classes": (np.ones((3, 2)), {"task": "classes"}),
    "holds NaN": (np.array([1.0, np.nan]), {}),
    "below 2\\*\\*63": (np.array([1, 2**63], np.uint64), {}),
    "got complex128": (np.array([1j, 2]), {}),
    "got object": (np.array([1, None], object), {}),
    r"of shape \(3, 2, 2\)": (np.ones((3, 2, 2)), {}),
}


@pytest.mark.parametrize("reason", WRONG)
def test_labels_that_cannot_be_used_are_named(reason):
    y, options = WRONG[reason]
    with pytest.raises(DataFormatError, match=reason):
        as_labels(y, **options)


def test_two_parts_have_the_same_classes():
    found = as_labels(np.array([5, 9, 5, 9]), np.array([9, 5, 9]))
    assert (found.y_test.tolist(), found.classes) == ([1, 0, 1], (5, 9))


def test_labels_on_disk_stay_there_if_they_need_no_code():
    y = Shards([np.arange(30) % 3])
    assert as_labels(y).y is y
    assert as_labels(Shards([np.arange(30) % 3 * 2])).y.tolist() == [0, 1, 2] * 10


def test_labels_of_new_data_have_the_numbers_of_known_classes():
    assert encode(np.array([4, 2, 4]), (2, 4)).tolist() == [1, 0, 1]
    assert encode(np.array([1.0, 0.0]), ("0", "1")).tolist() == [1, 0]
    with pytest.raises(DataFormatError, match="label y is 'fox' in a row, but the classes are cat, dog"):
        encode(np.array(["fox"]), ("cat", "dog"))
