"""An .npy file is a table: of numbers, or with names."""

import numpy as np
import pytest

from xpdl.data import DataFormatError, load

ROWS = np.column_stack([np.arange(20.0) / 7, np.arange(20) % 3])


def test_the_last_column_is_the_label(tmp_path) -> None:
    np.save(tmp_path / "a.npy", ROWS)
    data = load(tmp_path / "a.npy")
    assert (data.x.shape, data.classes, data.y.tolist()) == ((20, 1), (0, 1, 2), [0, 1, 2] * 6 + [0, 1])
    assert load(tmp_path / "a.npy", label="first").y.dtype == np.float64
    named = np.rec.fromarrays(ROWS.T, names="size,kind")
    np.save(tmp_path / "b.npy", np.asarray(named))
    assert load(tmp_path / "b.npy", label="kind").features == ("size",)


WRONG = {
    r"got float64 of shape \(20,\)": ROWS[:, 0],
    "got <U1 of shape": np.array([["a", "b"]]),
    "Object arrays cannot be loaded": np.array([[1, None]], object),
    "it holds infinity": np.array([[1.0, np.inf], [1.0, 0.0]]),
    "column '0' has 1 empty cell": np.array([[np.nan, 0.0], [1.0, 1.0]]),
}


@pytest.mark.parametrize("reason", WRONG)
def test_other_arrays_are_named(tmp_path, reason) -> None:
    np.save(tmp_path / "a.npy", WRONG[reason])
    with pytest.raises(DataFormatError, match=reason) as caught:
        load(tmp_path / "a.npy")
    assert "a.npy" in str(caught.value)
