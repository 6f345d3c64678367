"""Rows of files that are mapped into memory: the right ones, from every file, and nothing of them stays in memory."""

import mmap
from pathlib import Path

import numpy as np
import pytest

from xpdl.data import shards
from xpdl.data.shards import Shards, on_disk

ROWS = np.arange(30).reshape(10, 3)


@pytest.fixture(params=[1, 50, shards.PIECE], ids=["by row", "by two", "at once"])
def parts(tmp_path, request, monkeypatch):
    """The rows in files of 4, 1 and 5, read in pieces."""
    monkeypatch.setattr(shards, "PIECE", request.param)
    paths = [tmp_path / f"{number}.npy" for number in range(3)]
    for path, part in zip(paths, np.split(ROWS, [4, 5]), strict=True):
        np.save(path, part)
    return [np.load(path, mmap_mode="r") for path in paths]


def test_files_are_one_array(parts) -> None:
    whole = Shards(parts)
    assert (whole.shape, whole.ndim, len(whole), whole.dtype) == ((10, 3), 2, 10, ROWS.dtype)
    np.testing.assert_array_equal(whole, ROWS)
    assert whole.max() == 29


@pytest.mark.parametrize("rows", [[], [0], [9], [3, 4, 5], [0, 0, 4, 4, 9], range(10), [1, 2]])
def test_any_rows_in_ascending_order_can_be_taken(parts, rows) -> None:
    taken = Shards(parts)[np.array(rows, dtype=int)]
    assert type(taken) is np.ndarray
    np.testing.assert_array_equal(taken, ROWS[list(rows)])
    taken += 1  # it is a copy
    np.testing.assert_array_equal(Shards(parts)[3:6], ROWS[3:6])


def test_rows_come_in_the_dtype_asked_for_and_the_byte_order_of_the_machine(tmp_path) -> None:
    foreign = np.arange(4, dtype=">f4" if np.little_endian else "<f4")
    assert Shards([foreign]).dtype.isnative
    assert Shards([foreign])[:2].dtype.isnative
    assert Shards([ROWS], "float32")[:2].dtype == np.float32


def test_what_is_on_disk(parts) -> None:
    assert [on_disk(array) for array in (Shards([ROWS]), parts[0], parts[0][1:], ROWS, [1])] == [1, 1, 1, 0, 0]


def resident(file: Path) -> int:
    """KiB of a mapped file that count as memory of this process."""
    mappings = Path("/proc/self/smaps").read_text().split(str(file))[1:]
    return sum(int(mapping.partition("Rss:")[2].split()[0]) for mapping in mappings)


@pytest.mark.skipif(not hasattr(mmap, "MADV_DONTNEED"), reason="the system cannot be told")
@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="the system does not say")
def test_what_was_read_is_given_back(tmp_path) -> None:
    path = tmp_path / "large.npy"
    np.save(path, np.ones((4096, 256)))
    mapped = np.load(path, mmap_mode="r")
    assert mapped.sum() == 4096 * 256
    assert resident(path) > 4096
    Shards([mapped])[10:20]
    assert resident(path) < 64
    assert Shards([mapped]).max() == 1
    assert resident(path) < 64


def test_changes_of_a_copy_on_write_are_kept(tmp_path) -> None:
    np.save(tmp_path / "a.npy", ROWS)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="c")
    mapped[2] = 7
    Shards([mapped])[:]
    assert mapped[2].tolist() == [7, 7, 7]
