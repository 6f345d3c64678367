"""``load``: every name, every kind of path, and a helpful error for everything else."""

import importlib
from pathlib import Path

import numpy as np
import pytest

import xpdl.data
from xpdl.data import load, loading
from xpdl.data.dataset import DataFormatError
from xpdl.data.loading import FORMATS, NAMED, Format, suffix


def test_the_names_of_the_design():
    assert list(NAMED) == ["glyphs", "digits", "mnist", "circles", "spiral"]
    assert all(hasattr(xpdl.data, name) for name in [*NAMED, *xpdl.data.__all__])


@pytest.mark.parametrize("name", ["glyphs", "digits", "circles", "spiral"])
def test_names_take_the_seed(name):
    if name == "digits":
        pytest.importorskip("sklearn")
    options = {"n_train": 50, "n_test": 20} if name == "glyphs" else {}
    data, same, other = (load(name, seed=seed, **options) for seed in (3, 3, 4))
    assert data.name == name
    assert np.array_equal(data.x, same.x)
    assert not np.array_equal(data.x, other.x)


def test_mnist_is_the_same_for_every_seed(monkeypatch):
    data = load("circles")
    monkeypatch.setattr(importlib.import_module("xpdl.data.loading"), "mnist", lambda: data)
    assert load("mnist", seed=9) is data
    with pytest.raises(ValueError, match="seed must be in"):
        load("mnist", seed=-1)


def test_options_reach_the_function_and_unknown_ones_are_errors():
    assert load("circles", n_train=7, n_test=3).x.shape == (7, 2)
    with pytest.raises(TypeError, match="n_trian"):
        load("circles", n_trian=7)
    with pytest.raises(TypeError, match="n_train"):
        load(Path(__file__).parent, n_train=7)


def test_paths_are_read_by_their_format(tmp_path, monkeypatch):
    np.savez(tmp_path / "a.npz", x=np.eye(3), y=np.arange(3))
    (tmp_path / "a.npz").rename(tmp_path / "a.NPZ")
    (tmp_path / "a.csv").write_text("1,2,0\n3,4,1\n")
    assert load(tmp_path / "a.NPZ").x.shape == (3, 3)
    assert load(str(tmp_path / "a.csv")).y.tolist() == [0, 1]
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load("~/a.csv").name == str(tmp_path / "a.csv")
    with pytest.raises(DataFormatError, match="there is no file train-images"):
        load(tmp_path)
    (tmp_path / "a.json").write_text("1,2,0\n")
    with pytest.raises(ValueError, match=r"a\.json' must be an \.npz file .* or a table, \.csv, .* of IDX files"):
        load(tmp_path / "a.json")


def test_options_of_tables_are_refused_for_other_data(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.eye(3), y=np.arange(3))
    assert load(tmp_path / "a.npz", task="regression").y.dtype == np.float64
    with pytest.raises(ValueError, match=r"drop is for tables, and .*a\.npz is none"):
        load(tmp_path / "a.npz", drop=["a"])
    with pytest.raises(ValueError, match="label is for files, and circles is none"):
        load("circles", label="y")


def test_a_format_is_one_entry_of_the_table(tmp_path, monkeypatch):
    """A reader and an entry are enough: load reads the file, and the error for another one describes it."""
    seen = []
    monkeypatch.setattr(
        loading, "FORMATS", [Format("a .log file", suffix(".log"), lambda path, options: seen.append(path)), *FORMATS]
    )
    for name in ("a.LOG", "a.json"):
        (tmp_path / name).write_text("")
    load(tmp_path / "a.LOG")
    assert seen == [tmp_path / "a.LOG"]
    with pytest.raises(ValueError, match=r"must be a \.log file or an \.npz file"):
        load(tmp_path / "a.json")


def test_a_folder_is_no_file_whatever_its_name(tmp_path):
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(DataFormatError, match="there is no file train-images"):
        load(tmp_path / "a.csv")


def test_a_name_wins_over_a_file_and_a_path_over_the_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "circles").mkdir()
    assert load("circles").x.shape == (300, 2)
    with pytest.raises(DataFormatError, match="there is no file train-images"):
        load("./circles")


def test_an_unknown_name_gets_the_closest_one_and_all_names():
    with pytest.raises(
        ValueError,
        match="source 'cirlces' is no file or folder and none of glyphs, digits, mnist, circles, spiral; did",
    ) as e:
        load("cirlces")
    assert str(e.value).endswith("did you mean 'circles'?")
    with pytest.raises(ValueError, match=r"circles, spiral$"):
        load("/nowhere/at/all.csv")
