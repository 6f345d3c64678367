"""Frames of pandas are tables; the tests of files run where pandas is installed."""

import numpy as np
import pytest

from xpdl.data import DataFormatError, load
from xpdl.data.frames import is_frame, read_frame_file


def test_other_things_are_no_frames() -> None:
    assert not any(map(is_frame, ("circles", np.eye(2), [1], {"columns": 1})))


def test_without_pandas_its_files_say_what_to_install(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(ImportError, match="is read by pandas: pip install pandas pyarrow openpyxl"):
        read_frame_file(tmp_path / "a.parquet")


def test_a_frame_is_a_table() -> None:
    pandas = pytest.importorskip("pandas")
    n = 30
    columns = {
        "Id": range(n),
        "a": np.linspace(0, 1, n),
        "colour": ["red", "blue"] * 15,
        "species": ["x", "y", "z"] * 10,
    }
    data = load(pandas.DataFrame(columns))
    assert (data.features, data.classes) == (("a", "colour=blue", "colour=red"), ("x", "y", "z"))
    gaps = pandas.DataFrame(columns | {"a": [None, *np.linspace(0, 1, n - 1)]})
    with pytest.raises(DataFormatError, match="column 'a' has 1 empty cell"):
        load(gaps)
    assert len(load(gaps, missing="drop").x) == n - 1


def test_files_of_pandas_are_tables(tmp_path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": np.linspace(0, 1, 30), "label": ["x", "y", "z"] * 10})
    for name, write in (("a.parquet", frame.to_parquet), ("a.xlsx", lambda path: frame.to_excel(path, index=False))):
        try:
            write(tmp_path / name)
        except ImportError:
            continue
        assert load(tmp_path / name).classes == ("x", "y", "z")
    (tmp_path / "bad.xlsx").write_bytes(b"PK")
    with pytest.raises((DataFormatError, ImportError), match="bad.xlsx|openpyxl"):
        load(tmp_path / "bad.xlsx")
