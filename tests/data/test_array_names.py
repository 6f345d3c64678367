"""Names of arrays: Keras', MedMNIST's, scikit-learn's and others tell what is what."""

import pytest

from xpdl.data import DataFormatError
from xpdl.data.array_names import role, roles

NAMES = {
    "x": "x X x_train X_train xtrain trainX train_x data train_data images train_images trainImages features inputs",
    "y": "y Y y_train Y_train labels train_labels trainlabels target targets label trainY",
    "x_test": "x_test X_test xtest test_images testX test_data",
    "y_test": "y_test Ytest test_labels test_targets",
    "x_val": "x_val val_images X_valid validation_data",
    "y_val": "y_val val_labels yval",
}
NEITHER = "weights target_names feature_names x_more z xy train test meta x_train_old"


def test_a_name_tells_the_role():
    for expected, names in NAMES.items():
        assert {name: role(name) for name in names.split()} == dict.fromkeys(names.split(), expected)
    assert not any(map(role, NEITHER.split()))


def test_roles_are_found_or_what_there_is_is_listed():
    assert roles(["train_images", "train_labels", "ids"], "f") == {"x": "train_images", "y": "train_labels"}
    assert roles(["arr_0", "arr_1"], "f") == {"x": "arr_0", "y": "arr_1"}
    assert roles(["X_test"], "f", ()) == {"x_test": "X_test"}
    for names, reason in (
        (["x", "z"], "f: there is no array y, only x, z; looked for x and y, x_train"),
        ([], "there is no array x, only nothing"),
        (["x", "images", "y"], "x and images could both be x"),
    ):
        with pytest.raises(DataFormatError, match=reason):
            roles(names, "f")
