"""Samples on disk: which rows count, in which windows they are read, and how an error names its row."""

import numpy as np
import pytest

import xpdl
from xpdl import Network, checks
from xpdl.data import disk_inputs
from xpdl.data.disk_inputs import DiskInputs, as_shards, global_row_numbers, row_bytes, windows
from xpdl.data.shards import Shards

NET = Network([3, 2])
N = 20
X, Y = np.arange(3.0 * N, dtype="float32").reshape(N, 3), np.arange(N) % 2


@pytest.fixture
def x(tmp_path):
    """The samples in a file, mapped."""
    np.save(tmp_path / "x.npy", X)
    return np.load(tmp_path / "x.npy", mmap_mode="r")


def test_windows_hold_every_row_once_and_at_most_their_bytes(x, monkeypatch) -> None:
    monkeypatch.setattr(disk_inputs, "WINDOW", 90)  # 7 rows of 12 bytes
    data = DiskInputs.checked(NET, x, Y, None, "float32")
    assert row_bytes(data.x) == 12
    assert [rows.tolist() for rows in data.windows()] == [[*range(7)], [*range(7, 14)], [*range(14, 20)]]


def test_a_window_holds_a_row_even_if_that_is_larger(x, monkeypatch) -> None:
    monkeypatch.setattr(disk_inputs, "WINDOW", 5)
    assert [len(rows) for rows in windows(as_shards("x", x), np.arange(N))] == [1] * N


def test_rows_of_weight_0_are_not_read(x) -> None:
    weight = np.arange(N) % 4
    data = DiskInputs.checked(NET, x, Y, weight, "float32")
    assert data.count == len(data.kept) == 15
    assert np.concatenate(list(data.windows())).tolist() == np.flatnonzero(weight).tolist()
    everything = DiskInputs.checked(NET, x, Y, None, "float32")
    assert (everything.kept, everything.count) == (None, N)


def test_rows_enter_with_their_labels_and_weights(x) -> None:
    rows, weight = np.array([1, 4, 6]), np.linspace(0, 1, N)
    data = DiskInputs.checked(NET, x, Y, weight, "float64")
    entered = data.enter(NET, rows, xpdl.backend("numpy"), "float64")
    for found, expected in zip(entered, (X[rows], np.eye(2)[Y[rows]], weight[rows]), strict=True):
        assert found.dtype == "float64"
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("row", "column"), [(0, 0), (13, 2)])
def test_an_error_names_the_row_among_all(tmp_path, row, column) -> None:
    bad = X.copy()
    bad[row, column] = np.nan
    np.save(tmp_path / "bad.npy", bad)
    data = DiskInputs.checked(NET, np.load(tmp_path / "bad.npy", mmap_mode="r"), Y, None, "float32")
    with pytest.raises(ValueError, match=rf"x must be finite, got nan at x\[{row}, {column}\]"):
        data.enter(NET, np.array(sorted({row, 19})), xpdl.backend("numpy"), "float32")


def test_other_errors_pass() -> None:
    with pytest.raises(checks.BadNumberError, match=r"y\[7\]"), global_row_numbers(np.array([5, 7])):
        raise checks.BadNumberError("y", (1,), "0 or 1, got {}")
    with pytest.raises(ZeroDivisionError), global_row_numbers(np.arange(2)):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"net": "net"}, "net must be an xpdl.Network"),
        ({"x": X[:, :2]}, r"x must have shape \(n, 3\)"),
        ({"x": np.float64(3)}, "x must hold a row for each sample, got"),
        ({"y": Y[:5]}, r"y must hold one row for each of the 20 samples, got shape \(5,\)"),
        ({"weight": np.ones(5)}, r"sample_weight must have shape \(20,\)"),
        ({"x": ["a"] * N}, "x must hold real numbers"),
    ],
)
def test_shapes_are_checked_at_once(x, change, said) -> None:
    given = {"net": NET, "x": x, "y": Y, "weight": None, "dtype": "float32"} | change
    with pytest.raises((TypeError, ValueError), match=said):
        DiskInputs.checked(**given)


def test_arrays_in_memory_become_shards_too(x) -> None:
    parts = Shards([x, x])
    assert as_shards("x", parts) is parts
    assert as_shards("y", [1, 2, 3]).shape == (3,)
    np.testing.assert_array_equal(as_shards("x", x)[:], X)
