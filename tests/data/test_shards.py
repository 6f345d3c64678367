"""Rows of mapped files: the right rows of each file are read, and none of them stays in memory."""

import mmap
import os
from pathlib import Path
import subprocess
import sys

import numpy as np
import pytest

import xpdl
from xpdl.data import shards
from xpdl.data.shards import Shards, extents, on_disk

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


OTHERS = [[3, 2], [-1], [9, 10], [0.5], [True] * 10, [[1, 2]], 3, slice(None, None, -1)]


@pytest.mark.parametrize("rows", OTHERS, ids=str)
def test_other_rows_are_refused(parts, rows) -> None:
    with pytest.raises(IndexError, match=r"rows must be ascending numbers in 0\.\.9 or a slice"):
        Shards(parts)[rows]


def test_rows_have_the_requested_dtype_in_the_byte_order_of_the_machine(tmp_path) -> None:
    foreign = np.arange(4, dtype=">f4" if np.little_endian else "<f4")
    assert Shards([foreign]).dtype.isnative
    assert Shards([foreign])[:2].dtype.isnative
    assert Shards([ROWS], "float32")[:2].dtype == np.float32


def test_what_is_on_disk(parts) -> None:
    assert [on_disk(array) for array in (Shards([ROWS]), parts[0], parts[0][1:], ROWS, [1])] == [1, 1, 1, 0, 0]


def resident(file: Path) -> int:
    """Return the KiB of a mapped file that count as memory of this process."""
    mappings = Path("/proc/self/smaps").read_text().split(str(file))[1:]
    return sum(int(mapping.partition("Rss:")[2].split()[0]) for mapping in mappings)


@pytest.mark.skipif(not hasattr(mmap, "MADV_DONTNEED"), reason="this system takes no advice on memory")
@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="the system does not say")
@pytest.mark.parametrize("mode", ["r", "r+", "w+"])
def test_what_was_read_is_given_back(tmp_path, mode) -> None:
    path = tmp_path / "large"
    np.ones((4096, 256)).tofile(path)
    mapped = np.memmap(path, np.float64, mode, shape=(4096, 256))
    if mode != "r":
        mapped[:] = 1
    assert mapped.sum() == 4096 * 256
    assert resident(path) > 4096
    Shards([mapped])[10:20]
    assert resident(path) < 64
    assert Shards([mapped]).max() == 1
    assert resident(path) < 64


def bytes_read() -> int:
    """Return the bytes that this process has read from disk."""
    return int(Path("/proc/self/io").read_text().partition("\nread_bytes:")[2].split()[0])


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="the system does not say what was read")
@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="this system takes no advice on memory")
def test_no_more_is_read_from_disk_than_requested(tmp_path) -> None:
    path = tmp_path / "large.npy"
    np.save(path, np.ones((64, 2**17)))  # 1 MiB a row
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    whole = Shards([np.load(path, mmap_mode="r")])
    before = bytes_read()
    assert whole[np.arange(4, 64, 20)].sum() == 3 * 2**17
    read = bytes_read() - before
    if read == 0:
        pytest.skip(f"{tmp_path} is not on a disk")
    assert 3 * 2**20 <= read < 3.5 * 2**20


@pytest.mark.parametrize(
    ("view", "rows", "expected"),
    [
        (slice(None), [0], [(0, 128 + 1000)]),
        (slice(None), [1, 2, 3], [(0, 128 + 4000)]),
        (slice(None), [5, 15, 26], [(4096, 128 + 27_000)]),
        (slice(None), [5, 95], [(4096, 128 + 6000), (94_208, 128 + 96_000)]),
        (slice(100, None), [0, 1], [(98_304, 128 + 102_000)]),
        (slice(None, None, -1), [0, 999], [(0, 128 + 1000), (995_328, 128 + 1_000_000)]),
        (slice(None), range(300), [(0, 2**17), (2**17, 2**18), (2**18, 128 + 300_000)]),
    ],
    ids=["first", "neighbours", "near", "far", "later", "backwards", "long"],
)
@pytest.mark.skipif(mmap.PAGESIZE != 4096, reason="pages of another size")
def test_extents_of_rows(tmp_path, view, rows, expected) -> None:
    np.save(tmp_path / "a.npy", np.zeros((1000, 1000), dtype=np.uint8))  # behind a header of 128 bytes
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")[view]
    assert [*extents(mapped, np.array(rows))] == expected


def test_changes_of_a_copy_on_write_are_kept(tmp_path) -> None:
    np.save(tmp_path / "a.npy", ROWS)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="c")
    mapped[2] = 7
    Shards([mapped])[:]
    assert mapped[2].tolist() == [7, 7, 7]


CUT = """
import os, numpy as np, xpdl
net, path = xpdl.Network([10, 2]), "x.npy"
parts = {
    "whole": lambda: np.load(path, mmap_mode="r"),
    "tail": lambda: np.load(path, mmap_mode="r")[20_000:],
    "reversed": lambda: np.load(path, mmap_mode="r")[::-1],
    "begins within a page": lambda: np.memmap(path, "float64", "r", 128 + 20_000 * 80, (20_000, 10)),
}

def evaluate(net, x, y, progress, **options):
    return xpdl.evaluate(net, net.initialize(0), x, y, **options)

for name, part in parts.items():
    for use in (xpdl.train, evaluate):
        np.save(path, np.ones((40_000, 10)))
        x = part()
        os.truncate(path, 30_000 * 80)
        try:
            use(net, x, np.arange(len(x)) % 2, backend="numpy", progress=False)
        except OSError as error:
            print(name, "|", error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not end a process that reads beyond the end")
def test_a_file_that_is_cut_short_while_it_is_mapped_is_an_error(tmp_path) -> None:
    """Also if the array is a part of what the file holds.  Reading beyond its end would end the process."""
    environment = os.environ | {"PYTHONPATH": str(Path(xpdl.__file__).parents[1])}
    line = [sys.executable, "-c", CUT]
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, (done.stdout, done.stderr)
    said = [line.split(" | ") for line in done.stdout.splitlines()]
    assert [name for name, _ in said[::2]] == ["whole", "tail", "reversed", "begins within a page"]
    assert said[::2] == said[1::2]
    assert {error for _, error in said} == {f"{tmp_path}/x.npy has become shorter while it is in use"}
