"""A folder of IDX files: which files are read, under which names, and what EMNIST needs."""

import gzip

import numpy as np
import pytest

from xpdl.data import DataFormatError, load
from xpdl.data.idx_folder import read_idx_folder

IMAGES = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
LABELS = np.array([7, 0, 9], dtype=np.uint8)


def encode(array):
    code = {"u": 0x08, "f": 0x0D}[array.dtype.kind]
    shape = np.array(array.shape, ">u4").tobytes()
    return bytes([0, 0, code, array.ndim]) + shape + array.astype(array.dtype.newbyteorder(">")).tobytes()


NAMES = {
    "plain": "{}-idx{}-ubyte",
    "gzip": "{}-idx{}-ubyte.gz",
    "dotted": "{}.idx{}-ubyte",
    "dotted gzip": "{}.idx{}-ubyte.gz",
}


@pytest.fixture
def folder(tmp_path):
    def write(spelling="plain", **arrays):
        for part, array in arrays.items():
            name = NAMES[spelling].format(part.replace("_", "-"), array.ndim)
            (tmp_path / name).write_bytes(gzip.compress(encode(array)) if name.endswith("gz") else encode(array))
        return tmp_path

    return write


@pytest.mark.parametrize("spelling", NAMES)
def test_a_folder_is_a_data_set(folder, spelling):
    path = folder(spelling, train_images=IMAGES, train_labels=LABELS, t10k_images=IMAGES[:2], t10k_labels=LABELS[:2])
    data = read_idx_folder(path)
    assert np.array_equal(data.x, IMAGES.reshape(3, 20))
    assert (data.x.dtype, data.y.dtype, data.y.tolist(), data.classes) == (np.uint8, np.int64, [1, 0, 2], (0, 7, 9))
    assert (data.x_test.shape, data.y_test.tolist(), data.name) == ((2, 20), [1, 0], str(path))


def test_the_test_part_may_be_absent(folder):
    data = read_idx_folder(folder(train_images=IMAGES, train_labels=LABELS))
    assert data.x_test is None
    assert data.y_test is None


BAD_FOLDERS = {
    "empty": ({}, "there is no file train-images-idx3-ubyte"),
    "no labels": ({"train_images": IMAGES}, "there is no file train-labels-idx1-ubyte"),
    "half a test part": (
        {"train_images": IMAGES, "train_labels": LABELS, "t10k_labels": LABELS},
        "there is no file t10k-images-idx3-ubyte",
    ),
    "counts": (
        {"train_images": IMAGES, "train_labels": LABELS[:2]},
        "train-labels-idx1-ubyte: 2 labels for the 3 images of train-images-idx3-ubyte",
    ),
    "float labels": ({"train_images": IMAGES, "train_labels": LABELS.astype(np.float32)}, "labels must be integers"),
    "sizes of images": (
        {"train_images": IMAGES, "train_labels": LABELS, "t10k_images": IMAGES[:, 1:], "t10k_labels": LABELS},
        r"x has rows of shape \(20,\) but x_test of \(15,\)",
    ),
}


@pytest.mark.parametrize("case", BAD_FOLDERS)
def test_bad_folders_are_named(folder, case):
    arrays, reason = BAD_FOLDERS[case]
    with pytest.raises(DataFormatError, match=reason):
        read_idx_folder(folder(**arrays))


@pytest.mark.parametrize("part", ["images-idx3", "labels-idx1"])
def test_images_are_3d_and_labels_1d(folder, part):
    path = folder(train_images=IMAGES, train_labels=LABELS)
    (path / f"train-{part}-ubyte").write_bytes(encode(IMAGES[:, :, 0]))
    with pytest.raises(DataFormatError, match=f"train-{part}-ubyte: {part[:6]} must"):
        read_idx_folder(path)


def emnist(folder, name):
    squares = np.arange(3 * 16, dtype=np.uint8).reshape(3, 4, 4)
    for part in ("train", "test"):
        (folder / f"emnist-{name}-{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(encode(squares)))
        labels = np.array([1, 2, 1], np.uint8)
        (folder / f"emnist-{name}-{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(encode(labels)))
    (folder / f"emnist-{name}-mapping.txt").write_text("1 65 97\n2 66 98\n")
    return squares


def test_emnist_is_turned_and_its_classes_are_letters(tmp_path):
    squares = emnist(tmp_path, "letters")
    for path in (tmp_path, tmp_path / "emnist-letters"):
        data = load(path)
        assert np.array_equal(data.x, squares.swapaxes(1, 2).reshape(3, 16))
        assert (data.classes, data.y.tolist(), data.x_test.shape) == (("A", "B"), [0, 1, 0], (3, 16))


def test_of_several_sets_in_a_folder_one_must_be_named(tmp_path):
    for name in ("letters", "digits"):
        emnist(tmp_path, name)
    with pytest.raises(
        DataFormatError, match="holds several data sets, emnist-digits, emnist-letters; take one: .*emnist-d"
    ):
        load(tmp_path)
    assert load(tmp_path / "emnist-digits").classes == ("A", "B")


def test_a_folder_of_something_else_lists_what_it_holds(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(DataFormatError, match=r"no file train-images-idx3-ubyte.*only notes\.txt"):
        load(tmp_path)
