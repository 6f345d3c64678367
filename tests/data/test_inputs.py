"""Samples in memory: what is moved to the device, in which dtype, and how errors name what is wrong.

All public functions that take samples use these checks; tests/test_bad_input.py has a table of their errors.
"""

import numpy as np
import pytest

import xpdl
from xpdl import Network, Scaling, check_network, evaluate, save, train
from xpdl.backends import backend
from xpdl.checks import BadNumberError
from xpdl.data import DataFormatError, Dataset, inputs, load

NET = Network([3, 4, 2])
HERE = backend("numpy")
X, Y = np.arange(12.0).reshape(4, 3), np.array([0, 1, 1, 0])


def test_samples_are_moved_in_the_dtype_of_the_training(lib) -> None:
    x, y = inputs.pair(NET, X.tolist(), Y.tolist(), lib.backend, lib.dtype)
    for found, expected in ((x, X), (y, np.eye(2)[Y])):
        assert np.dtype(lib.host(found).dtype) == lib.dtype
        np.testing.assert_array_equal(lib.host(found), expected)


def test_images_stay_bytes(lib) -> None:
    images = X.astype("uint8")
    found = lib.host(inputs.features(NET, images, lib.backend, lib.dtype))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, images)


def test_theta_is_a_copy(lib) -> None:
    theta = NET.initialize(0, lib.dtype)
    found = inputs.parameters(NET, theta, lib.backend, lib.dtype)
    before, theta[0] = theta.copy(), 99
    np.testing.assert_array_equal(lib.host(found), before)


def test_weights_may_be_missing(lib) -> None:
    assert inputs.weighted(NET, X, Y, None, lib.backend, lib.dtype)[2] is None
    weight = inputs.weighted(NET, X, Y, [1, 0, 2, 0.5], lib.backend, lib.dtype)[2]
    np.testing.assert_array_equal(lib.host(weight), [1, 0, 2, 0.5])


def test_samples_of_weight_0_do_not_count() -> None:
    assert inputs.nonzero_rows(np.array([0.0, 2.0, 0.0, 1.0])).tolist() == [1, 3]
    assert inputs.nonzero_rows(np.ones(3)) is None
    assert inputs.nonzero_rows(None) is None


def test_the_loss_tells_which_targets_it_accepts() -> None:
    own = Network([3, 2], output=xpdl.losses.linear._replace(accepts=lambda y, k: (y >= k, f"at least {k}")))
    assert inputs.targets(own, [[2, 3]], 1, HERE, "float64").tolist() == [[2, 3]]
    with pytest.raises(ValueError, match=r"y must be at least 2, got y\[0, 1\] = 1"):
        inputs.targets(own, [[2, 1]], 1, HERE, "float64")


BAD = {
    # name: the argument of ``weighted`` or ``parameters``, and its error
    "x of text": ({"x": [["a", "b", "c"]] * 4}, "x must hold real numbers, got dtype <U1"),
    "x of rows of different lengths": ({"x": [[1, 2, 3], [1]]}, "x must hold real numbers, got dtype object"),
    "x masked": ({"x": np.ma.masked_array(X, X > 3)}, "x must hold a number in every entry, got a masked array"),
    "x complex": ({"x": X + 1j}, "x must hold real numbers, got dtype complex128"),
    "x too narrow": ({"x": X[:, :2]}, r"x must have shape \(n, 3\)"),
    "x infinite": ({"x": np.where(X == 7, np.inf, X)}, r"x must be finite, got inf at x\[2, 1\]"),
    "y short": ({"y": Y[:3]}, r"y must hold one row for each of the 4 samples, got shape \(3,\)"),
    "y no class": ({"y": [0, 1, 2, 0]}, r"y must be labels 0..1 for 2 outputs, got y\[2\] = 2"),
    "y NaN": ({"y": [0, 1, np.nan, 0]}, r"y must be finite, got nan at y\[2\]"),
    "weight short": ({"weight": [1, 2]}, r"sample_weight must have shape \(4,\), one for each sample, got \(2,\)"),
    "weight negative": ({"weight": [1, 1, -1, 1]}, r"sample_weight must be at least 0, got sample_weight\[2\] = -1"),
    "weight zero": ({"weight": [0, 0, 0, 0]}, "sample_weight must be above 0 for at least one sample, got 4 zeros"),
    "weight NaN": ({"weight": [1, np.nan, 1, 1]}, r"sample_weight must be finite, got nan"),
}


@pytest.mark.parametrize("name", BAD)
def test_an_error_names_the_argument_and_the_place(name) -> None:
    change, said = BAD[name]
    with pytest.raises((TypeError, ValueError), match=said):
        inputs.weighted(NET, **{"x": X, "y": Y, "weight": None} | change, backend=HERE, dtype="float64")


def test_an_error_can_have_a_prefix() -> None:
    with pytest.raises(ValueError, match=r"validation_y must be labels 0..1 for 2 outputs, got validation_y\[0\] = 5"):
        inputs.pair(NET, X, [5, 0, 0, 0], HERE, "float64", prefix="validation_")


@pytest.mark.parametrize(
    ("theta", "said"),
    [
        (np.zeros(5), r"theta must have shape \(26,\) for sizes \[3, 4, 2\], got \(5,\)"),
        (np.full(26, np.nan), r"theta must be finite, got nan at theta\[0\]"),
        (["a"] * 26, "theta must hold real numbers"),
    ],
)
def test_parameters_that_do_not_fit_are_named(theta, said) -> None:
    with pytest.raises((TypeError, ValueError), match=said):
        inputs.parameters(NET, theta, HERE, "float64")


def test_numbers_too_large_for_the_dtype_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"y must be finite, got inf at y\[0, 0\]"), np.errstate(over="ignore"):
        inputs.targets(Network([3, 1], output="linear"), [1e300, 1.0], 2, HERE, "float32")


FIRST = [  # sizes, output, y, how the error ends
    ([3, 3], "softmax", [0, 1, 3, -1], "y must be labels 0..2 for 3 outputs, got y[2] = 3"),
    ([3, 3], "softmax", [[0], [1], [0.5], [7]], "y must be labels 0..2 for 3 outputs, got y[2, 0] = 0.5"),
    ([3, 2], "softmax", np.array([[1, 0], [2, -1], [0, 0], [0, 1]]), "rows that sum to 1, got y[1] = [ 2 -1]"),
    ([3, 2], "sigmoid", [[0, 1], [1, 0], [0, 2], [3, 0]], "y must be 0 or 1, got y[2, 1] = 2"),
    ([3, 2], "linear", [[0, 1], [1, np.nan], [0, 2], [np.inf, 0]], "y must be finite, got nan at y[1, 1]"),
]


@pytest.mark.parametrize(("sizes", "output", "y", "text"), FIRST)
def test_the_first_wrong_entry_of_y_is_named(sizes, output, y, text) -> None:
    with pytest.raises(BadNumberError) as caught:
        inputs.targets(Network(sizes, output=output), y, 4, HERE, "float32")
    assert str(caught.value).endswith(text)
    moved = str(caught.value.in_row(1000))
    assert "y[1000" in moved, "the same error, of the whole that these are rows of"


def test_finite_numbers_whose_sum_is_infinite_are_no_error() -> None:
    large = np.full((4, 3), 3e38, "float32")
    assert inputs.features(NET, large, HERE, "float32").tolist() == large.tolist()


def test_infinities_of_both_signs_are_found_without_a_warning() -> None:
    with pytest.raises(BadNumberError, match=r"x must be finite, got inf at x\[0, 1\]"):
        inputs.features(NET, [[0.0, np.inf, 0.0], [-np.inf, 0.0, 0.0]], HERE, "float32")


ONE = Network([1, 1], output="linear")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weight", [1e38, 1e300, 1e30, 1e-40, 1e-310, 5e-324, 1.0])
@pytest.mark.parametrize("mixed", [True, False])
def test_weights_are_judged_in_the_dtype_in_which_they_are_used(dtype, weight, mixed) -> None:
    """What is accepted gives finite costs for every batch, and as large a sum as it has."""
    given = np.full(8, weight)
    given[: 4 * mixed] = 1.0
    tiny, largest = float(np.finfo(dtype).tiny), float(np.finfo(dtype).max)
    if weight > largest * 1e-12 or (weight < tiny and not mixed):
        with pytest.raises(ValueError, match=f"sample_weight must be .* in {dtype}"):
            inputs.weights(ONE, given, 8, backend("numpy"), dtype)
        return
    entered = inputs.weights(ONE, given, 8, backend("numpy"), dtype)
    assert all(x == 0 or x >= tiny for x in entered.tolist())
    with np.errstate(all="raise", under="ignore"):
        cost = np.sum(entered * np.asarray(1e9, dtype)) / np.sum(entered)
    assert cost == pytest.approx(1e9)


def test_more_samples_than_int32_can_count_are_refused_before_anything_is_read() -> None:
    x, y = np.broadcast_to(np.uint8(0), (2**31, 3)), np.broadcast_to(0, 2**31)  # the memory of one number
    net, few = Network([3, 2]), (np.ones((4, 3)), [0, 1, 0, 1])
    options = {"backend": "numpy", "progress": False, "epochs": 1}
    for argument, use in {
        "x": lambda: train(net, x, y, **options),
        "validation x": lambda: train(net, *few, validation=(x, y), **options),
        "x ": lambda: evaluate(net, net.initialize(0), x, y, backend="numpy"),
    }.items():
        with pytest.raises(
            ValueError, match=rf"^{argument.strip()} must have fewer than 2\*\*31 samples, got 2147483648"
        ):
            use()


def test_labels_of_uint64_mean_what_they_are_or_are_refused(tmp_path) -> None:
    """Labels of 2^63 and more would be negative as int64, and 2^64 - 1 the last class."""
    net, x, options = Network([2, 3]), np.eye(2)[[0, 1, 0]], {"backend": "numpy", "progress": False, "epochs": 1}
    for label in (2, 2**63, 2**64 - 1):
        y = np.array([0, 1, label], "uint64")
        np.savez(tmp_path / "d.npz", x=x, y=y)
        np.save(tmp_path / "x.npy", x)
        np.save(tmp_path / "y.npy", y)
        mapped = [np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in "xy"]
        for use in (
            lambda y=y: train(net, x, y, **options),
            lambda mapped=mapped: train(net, *mapped, **options),
            lambda y=y: train(net, x, y, class_weight="balanced", **options),
            lambda y=y: evaluate(net, net.initialize(0), x, y, backend="numpy"),
            lambda: load(tmp_path / "d.npz"),
            lambda: load(tmp_path).y[:],
        ):
            if label == 2:
                use()
            else:
                with pytest.raises(ValueError, match=r"labels (0\.\.2 for 3 outputs|must be below 2\*\*63), got"):
                    use()


def test_masked_arrays_are_refused_wherever_numbers_enter(tmp_path) -> None:
    net, masked = Network([2, 2]), np.ma.masked_equal(np.arange(6.0), 2)
    x, y = masked.reshape(3, 2), [0, 1, 0]
    for use in (
        lambda: train(net, x, y, backend="numpy", progress=False),
        lambda: train(net, np.ones((3, 2)), y, backend="numpy", progress=False, theta=masked),
        lambda: evaluate(net, net.initialize(0), x, y, backend="numpy"),
        lambda: Dataset(x, np.array(y)),
        lambda: Dataset(np.ones((6, 2)), masked),
        lambda: Scaling.fit(x),
        lambda: save(tmp_path / "m", net, masked),
        lambda: check_network(net, net.initialize(0), x, y),
    ):
        with pytest.raises((TypeError, DataFormatError), match="(?i)masked ?array"):
            use()


@pytest.mark.parametrize("argument", ["x", "y", "sample_weight"])
def test_masked_arrays_are_refused(argument) -> None:
    masked = np.ma.masked_equal(np.arange(6.0), 2)
    with pytest.raises(TypeError, match=f"{argument} must hold a number in every entry, got a masked array"):
        inputs.numbers(argument, masked)
