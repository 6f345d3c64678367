"""Samples that enter: what becomes of them on the device, and which entry an error names.

Input that is wrong in other ways has its rows in tests/test_bad_input.py.
"""

import numpy as np
import pytest

from xpdl import Loss, Network, backend
from xpdl.checks import BadNumberError
from xpdl.data import inputs

NET = Network([3, 4, 3])
SIGMOIDS = Network([3, 2], output="sigmoid")
VALUES = Network([3, 2], output="linear")
HOST = backend("numpy")
X = np.arange(12.0).reshape(4, 3)


def test_numbers_become_the_dtype_and_images_stay_bytes(lib) -> None:
    entered = inputs.features(NET, X.tolist(), lib.backend, lib.dtype)
    lib.close(entered, X)
    assert str(lib.host(entered).dtype) == lib.dtype
    images = inputs.features(NET, X.astype("uint8"), lib.backend, lib.dtype)
    assert lib.host(images).tolist() == X.tolist()
    assert str(lib.host(images).dtype) == "uint8"


def test_theta_is_a_copy(lib) -> None:
    theta = NET.initialize(0, lib.dtype)
    entered = inputs.parameters(NET, theta, lib.backend, lib.dtype)
    before = theta.copy()
    theta[:] = 7.0
    lib.close(entered, before)


@pytest.mark.parametrize("labels", [[2, 0, 1, 1], [[2.0], [0.0], [1.0], [1.0]], np.eye(3)[[2, 0, 1, 1]].tolist()])
def test_labels_become_targets(lib, labels) -> None:
    entered = inputs.targets(NET, labels, 4, lib.backend, lib.dtype)
    assert lib.host(entered).tolist() == np.eye(3)[[2, 0, 1, 1]].tolist()
    assert str(lib.host(entered).dtype) == lib.dtype


def test_x_y_and_weights_enter_together(lib) -> None:
    x, y, weight = inputs.weighted(NET, X, [0, 1, 2, 0], [1, 0, 2, 0.5], lib.backend, lib.dtype)
    lib.close(x, X)
    assert y.shape == (4, 3)
    lib.close(weight, [1.0, 0.0, 2.0, 0.5])
    assert inputs.weighted(NET, X, [0, 1, 2, 0], None, lib.backend, lib.dtype)[2] is None


FIRST = [  # network, y, the text of the error
    (NET, [0, 1, 3, -1], "y must be labels 0..2 for 3 outputs, got y[2] = 3"),
    (NET, [[0], [1], [0.5], [7]], "y must be labels 0..2 for 3 outputs, got y[2, 0] = 0.5"),
    (
        NET,
        np.array([[1, 0, 0], [0, 2, -1], [0, 0, 1], [0, 0, 0]]),
        "or one-hot rows that sum to 1, got y[1] = [ 0  2 -1]",
    ),
    (SIGMOIDS, [[0, 1], [1, 0], [0, 2], [3, 0]], "y must be 0 or 1, got y[2, 1] = 2"),
    (VALUES, [[0, 1], [1, np.nan], [0, 2], [np.inf, 0]], "y must be finite, got nan at y[1, 1]"),
]


@pytest.mark.parametrize(("net", "y", "text"), FIRST)
def test_the_first_wrong_entry_of_y_is_named(net, y, text, lib) -> None:
    with pytest.raises(BadNumberError) as caught:
        inputs.targets(net, y, 4, lib.backend, lib.dtype)
    assert str(caught.value).endswith(text)


def test_an_error_of_some_rows_can_name_the_row_of_the_whole() -> None:
    with pytest.raises(BadNumberError) as caught:
        inputs.targets(SIGMOIDS, [[0, 1], [2, 1]], 2, HOST, "float32")
    assert str(caught.value.in_row(1000)) == "y must be 0 or 1, got y[1000, 0] = 2"


def test_a_loss_of_your_own_says_what_it_accepts() -> None:
    """Counts, for example; without ``accepts`` all finite numbers will do."""
    counts = Loss(lambda s, y: s, accepts=lambda y, k: (y >= 0, f"counts of {k} kinds, at least 0"))
    net = Network([3, 2], output=counts)
    with pytest.raises(ValueError, match=r"y must be counts of 2 kinds, at least 0, got y\[1, 0\] = -3"):
        inputs.targets(net, [[0, 1], [-3, 0]], 2, HOST, "float32")
    free = Network([3, 2], output=counts._replace(accepts=None))
    assert inputs.targets(free, [[0, 1], [-3, 0]], 2, HOST, "float32").tolist() == [[0, 1], [-3, 0]]


@pytest.mark.parametrize(
    ("weight", "text"),
    [
        ([1, 2, 3], r"sample_weight must have shape \(4,\), one for each sample, got \(3,\)"),
        ([1, 2, -3, 4], r"sample_weight must be at least 0, got sample_weight\[2\] = -3"),
        ([0, 0, 0, 0], "sample_weight must be above 0 for a sample, got 4 zeros"),
        ([1, 2, np.inf, 4], r"sample_weight must be finite, got inf at sample_weight\[2\]"),
    ],
)
def test_wrong_weights_are_refused(weight, text) -> None:
    with pytest.raises(ValueError, match=text):
        inputs.weights(weight, 4, HOST, "float32")


def test_samples_that_count() -> None:
    assert inputs.counting(None) is None
    assert inputs.counting(np.array([1.0, 0.5])) is None
    assert inputs.counting(np.array([0.0, 0.5, 0.0, 2.0])).tolist() == [1, 3]


def test_a_sum_that_overflows_is_no_infinite_entry() -> None:
    """The sum of finite numbers may be infinite; then they are looked at one by one."""
    large = np.full((4, 3), 3e38, "float32")
    assert inputs.features(NET, large, HOST, "float32").tolist() == large.tolist()


def test_infinities_of_both_signs_are_found_without_a_warning() -> None:
    with pytest.raises(BadNumberError, match=r"x must be finite, got inf at x\[0, 1\]"):
        inputs.features(NET, [[0.0, np.inf, 0.0], [-np.inf, 0.0, 0.0]], HOST, "float32")
