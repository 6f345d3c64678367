"""The .npz reader: good arrays come back as they were saved, bad ones are named."""

import io
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest

from xpdl.data.dataset import DataFormatError
from xpdl.data.npz_file import read_npz, read_samples

X, Y = np.arange(12.0).reshape(4, 3) / 7, np.arange(4)


@pytest.fixture
def npz(tmp_path):
    def write(**arrays):
        np.savez_compressed(tmp_path / "my.npz", **arrays)
        return tmp_path / "my.npz"

    return write


def test_floats_and_bytes_stay_as_they_are(npz):
    images = np.arange(4 * 2 * 3, dtype=np.uint8).reshape(4, 2, 3)
    data = read_npz(npz(x=images, y=Y.astype(np.uint8), x_test=images[:1], y_test=Y[:1].astype(np.int32), other=X))
    assert (data.x.dtype, data.y.dtype, data.y_test.dtype) == (np.uint8, np.int64, np.int64)
    assert np.array_equal(data.x, images.reshape(4, 6))
    assert data.x_test.shape == (1, 6)
    data = read_npz(npz(x=X.astype(np.float32), y=X))
    assert (data.x.dtype, data.y.dtype, data.x_test) == (np.float32, np.float64, None)
    assert data.name.endswith("my.npz")


def test_labels_may_be_texts_and_names_those_of_keras_or_medmnist(npz):
    names = np.array(["cat", "dog"])
    data = read_npz(npz(x_train=X, y_train=names[Y % 2], x_test=X, y_test=names[Y % 2]))
    assert (data.classes, data.y.tolist(), data.y_test.tolist()) == (("cat", "dog"), [0, 1, 0, 1], [0, 1, 0, 1])
    parts = {
        f"{part}_{kind}": array for part in ("train", "val", "test") for kind, array in (("images", X), ("labels", Y))
    }
    data = read_npz(npz(**parts))
    assert (data.x.shape, data.x_test.shape) == ((8, 3), (4, 3))
    assert "the validation part is added to the training part" in data.notes[1]


def test_samples_need_no_labels(npz):
    x, y = read_samples(npz(images=X.reshape(4, 3, 1)))
    assert np.array_equal(x, X)
    assert y is None


def test_integers_in_x_become_floats(npz):
    data = read_npz(npz(x=np.arange(-4, 4).reshape(4, 2), y=Y > 1))
    assert data.x.dtype == np.float64
    assert data.y.tolist() == [0, 0, 1, 1]


BAD_NPZ = {
    "no y": ({"x": X, "b": Y}, "there is no array y, only x, b; looked for x and y, x_train and y_train"),
    "no x": ({"a": X}, "there is no array x, only a"),
    "two of y": ({"x": X, "y": Y, "labels": Y}, "y and labels could both be y"),
    "constant labels": ({"x": X, "y": 0 * Y}, "the label y is 0 in every row"),
    "lengths": ({"x": X, "y": Y[:3]}, "x has 4 rows but y has 3"),
    "NaN": ({"x": np.where(X == 0, np.nan, X), "y": Y}, "x holds NaN"),
    "objects": ({"x": X, "y": np.array([1, "b", None, 2], object)}, "array y cannot be read: Object arrays"),
    "strings in x": ({"x": X.astype(str), "y": Y}, "x must be uint8 or floating, got <U"),
    "half a test part": ({"x": X, "y": Y, "x_test": X}, "must come together"),
    "a number": ({"x": np.float64(3), "y": Y}, r"x must be \(n, d\) .* got shape \(\)"),
    "no images": ({"x": np.zeros((0, 2, 2)), "y": Y[:0]}, r"y must be labels .* got int64 of shape \(0,\)"),
}


@pytest.mark.parametrize("case", BAD_NPZ)
def test_bad_arrays_are_named(npz, case):
    arrays, reason = BAD_NPZ[case]
    with pytest.raises(DataFormatError, match=reason) as error:
        read_npz(npz(**arrays))
    assert "my.npz: " in str(error.value)
    assert "\n" not in str(error.value)


def member(name, content):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, content)
    return file.getvalue()


def npy(shape):
    """An .npy file whose header announces ``shape``, and nothing after it."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return file.getvalue()


BAD_BYTES = {
    "empty": (b"", "not an .npz file"),
    "text": (b"x,y\n1,2\n", "not an .npz file"),
    "not an array": (member("x", b"hello"), "x is not an array"),
    "bad header": (member("x.npy", b"\x93NUMPY\1\0\7\0{'oops'"), "array x cannot be read"),
    "long header": (member("x.npy", b"\x93NUMPY\2\0\0\0\2\0" + b" " * 0x20000), "Header info length .* large and"),
    "no data": (member("x.npy", npy((3, 2))), "array x cannot be read"),
    "absurd shape": (member("x.npy", npy((2**40, 2**10))), "array x cannot be read"),
}


@pytest.mark.parametrize("case", BAD_BYTES)
def test_malformed_files_are_named(tmp_path, case):
    content, reason = BAD_BYTES[case]
    (tmp_path / "my.npz").write_bytes(content)
    with pytest.raises(DataFormatError, match=reason) as error:
        read_samples(tmp_path / "my.npz")
    assert "\n" not in str(error.value)


def archive_of(*members):
    file = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(file, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


def bomb(*, kind=zipfile.ZIP_DEFLATED, lie=False):
    """A small archive of 8 MB of zeros, of which the header claims 10 rows."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", kind) as archive:
        archive.writestr("x.npy", npy((10, 1)) + bytes(8_000_000))
    content = bytearray(file.getvalue())
    if lie:  # the list of members gives other sizes
        place = content.rindex(b"PK\1\2") + 20
        content[place : place + 8] = (10**4).to_bytes(4, "little") + (208).to_bytes(4, "little")
    return bytes(content)


BOMBS = {
    "more than the header says": (lambda: bomb(), "not what the archive holds"),
    "bzip2": (lambda: bomb(kind=zipfile.ZIP_BZIP2), "compressed in another way"),
    "LZMA": (lambda: bomb(kind=zipfile.ZIP_LZMA), "compressed in another way"),
    "sizes that are lies": (lambda: bomb(lie=True), "Bad CRC-32|Overlapped|EOFError"),
    "many members": (lambda: archive_of(*((str(number), b"") for number in range(1001))), "more than 1000 arrays"),
    "an array twice": (
        lambda: archive_of(*[("x.npy", npy((1, 1)) + bytes(8))] * 2),
        "x cannot be .* twice",
    ),
}


def test_an_archive_is_read_no_further_than_its_header_says(tmp_path) -> None:
    """Neither from a bomb, nor from an archive of which two readers would see different arrays."""
    path = tmp_path / "my.npz"
    for name, (make, reason) in BOMBS.items():
        path.write_bytes(make())
        tracemalloc.start()
        with pytest.raises(DataFormatError, match=reason):
            read_samples(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2e6, name


def test_a_corrupt_file_is_named(npz):
    path = npz(x=np.random.default_rng(0).normal(size=(50, 3)), y=np.arange(50))
    content = path.read_bytes()
    for at in range(0, len(content), 7):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :])
        try:
            read_npz(path)
        except DataFormatError as error:
            assert "\n" not in str(error)  # noqa: PT017


def test_a_missing_file_is_an_ordinary_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_npz(tmp_path / "absent")
