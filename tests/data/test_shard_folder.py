"""A folder of .npy or .idx files: what is read, in which form, and which errors name a bad file."""

import numpy as np
import pytest

from xpdl.data import DataFormatError, load
from xpdl.data.shards import Shards

X, Y = np.arange(24, dtype=np.uint8).reshape(6, 2, 2), np.array([0, 1, 2, 0, 1, 2], dtype=np.uint8)


def write(folder, **arrays):
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)


def test_the_training_part_stays_on_disk_and_the_test_part_does_not(tmp_path) -> None:
    write(tmp_path, x=X, y=Y, x_test=X[:2], y_test=Y[:2])
    data = load(tmp_path)
    assert isinstance(data.x, Shards)
    assert isinstance(data.y, Shards)
    assert (data.x.shape, data.x.dtype, data.y.shape, data.y.dtype) == ((6, 4), np.uint8, (6,), np.int64)
    np.testing.assert_array_equal(data.x, X.reshape(6, 4))
    np.testing.assert_array_equal(data.y, Y)
    assert [(type(part), part.dtype) for part in data.test] == [(np.ndarray, np.uint8), (np.ndarray, np.int64)]
    assert load(str(tmp_path)).name == str(tmp_path)


def test_files_are_read_in_the_order_of_their_names(tmp_path) -> None:
    write(tmp_path, **{"x-001": X[4:], "x-000": X[:4], "y-000": Y[:1], "y-001": Y[1:], "xy": Y, "x_more": X})
    data = load(tmp_path)
    np.testing.assert_array_equal(data.x, X.reshape(6, 4))
    np.testing.assert_array_equal(data.y, Y)
    assert data.test is None


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def test_idx_files_are_read_where_they_lie(tmp_path) -> None:
    for name, array in {"x-0": X[:2], "x-1": X[2:], "y": Y}.items():
        (tmp_path / f"{name}.idx").write_bytes(idx(array))
    data = load(tmp_path)
    assert all(isinstance(part, np.memmap) for part in data.x.parts)
    np.testing.assert_array_equal(data.x, X.reshape(6, 4))
    np.testing.assert_array_equal(data.y, Y)


@pytest.mark.parametrize(
    ("x", "y", "dtypes"),
    [
        (X.astype("int16"), Y.astype(bool), ("float64", "int64")),
        (X.astype("float32"), Y.astype("float32") + 0.5, ("float32", "float32")),
        (X.astype("float64"), np.ones((6, 3)), ("float64", "float64")),
    ],
)
def test_numbers_get_the_dtype_of_a_data_set(tmp_path, x, y, dtypes) -> None:
    write(tmp_path, x=x, y=y)
    data = load(tmp_path)
    assert (data.x.dtype, data.y.dtype) == dtypes
    np.testing.assert_array_equal(data.x, x.reshape(6, 4))
    np.testing.assert_array_equal(data.y, y)


WRONG = {
    "there is no array y, only x; looked for": {"x": X},
    "x has 6 rows but y has 5": {"x": X, "y": Y[:5]},
    "the files of x hold rows of uint8 .4,. and uint8 .2,.": {"x-0": X, "x-1": X[:, 0], "y": Y},
    "the files of y hold rows of uint8 .. and float64 ..": {"x": X, "y-0": Y[:3], "y-1": Y[3:] * 1.0},
    r"x must be uint8 or floating, got <U1": {"x": np.array([[*"abcdef"]]).T, "y": Y},
    r"x\.npy: expected rows of numbers, got uint8 of shape \(0, 3\)": {"x": np.zeros((0, 3), "u1"), "y": Y},
    r"x must be \(n, d\) with n, d > 0, got shape \(6,\)": {"x": Y, "y": Y},
    "x_test and y_test must come together": {"x": X, "y": Y, "x_test": X},
    "x_test holds NaN": {"x": X * 1.0, "y": Y, "x_test": X * np.nan, "y_test": Y},
}


@pytest.mark.parametrize("message", WRONG)
def test_bad_folders_are_named(tmp_path, message) -> None:
    write(tmp_path, **WRONG[message])
    with pytest.raises(DataFormatError, match=message) as caught:
        load(tmp_path)
    assert str(tmp_path) in str(caught.value)


def npy(header):
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(1000)


HEADER = "{{'descr': '<f8', 'fortran_order': False, 'shape': {}}}\n"
SHAPES = ["(2**62, 4)", "(4611686018427387904, 4)", f"({10**30}, 4)", "(-6, 4)", "(True, 4)", "(6, 4"]
NONE = [b"", b"junk", b"PK\x03\x04", b"\x93NUMPY\x01\x00", *(npy(HEADER.format(shape)) for shape in SHAPES)]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("content", NONE)
def test_a_file_in_another_format_is_named(tmp_path, content) -> None:
    write(tmp_path, y=Y)
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(DataFormatError, match=r"x\.npy: not an \.npy file of numbers"):
        load(tmp_path)


def test_data_on_disk_cannot_be_split(tmp_path) -> None:
    write(tmp_path, x=X, y=Y)
    with pytest.raises(ValueError, match="lies on disk, and only data in memory can be split"):
        load(tmp_path).split(0.5)
