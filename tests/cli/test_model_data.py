"""Files as people have them: what xpdl train makes of each, and what xpdl predict gives back."""

import csv
import gzip
import re

import numpy as np
import pytest

import xpdl

R = np.random.default_rng(0)
Y = np.repeat([0, 1, 2], 30)
X = np.array([[0.0, 0, 3], [3, 0, 0], [0, 3, 0]])[Y] + R.normal(size=(90, 3)) * 0.3
NAMES = np.array(["setosa", "versicolor", "virginica"])[Y].tolist()
IMAGES = R.integers(0, 60, (90, 64))
IMAGES[np.arange(90)[:, None], 20 * Y[:, None] + np.arange(10)] = 255
TRAIN = "--hidden 16 --epochs 30 --lr 0.01 --backend numpy"


def text(columns, separator=","):
    rows = zip(*columns.values(), strict=True)
    return "\n".join([separator.join(columns), *(separator.join(map(str, row)) for row in rows)]) + "\n"


def columns(**more):
    return {"a": X[:, 0].round(3).tolist(), "b": X[:, 1].round(3).tolist(), "c": X[:, 2].round(3).tolist(), **more}


def pixels(**first):
    return {**first, **{f"pixel{i}": IMAGES[:, i].tolist() for i in range(64)}}


def comma(columns):
    return {name: [str(value).replace(".", ",") for value in values] for name, values in columns.items()}


FILES = {
    # file: its text, what is said
    "first.csv": (text(pixels(label=Y.tolist())), "label 'label': 3 classes: 0 30, 1 30, 2 30"),
    "names.csv": (text(columns(species=NAMES)), "3 classes: setosa 30, versicolor 30, virginica 30"),
    "index.csv": (text({"": range(90), **columns(species=NAMES)}), "unnamed column 0 only numbers the rows"),
    "ids.csv": (text({"Id": range(1, 91), **columns(species=Y.tolist())}), "column 'Id' only numbers the rows"),
    "pandas.csv": (text(dict(zip("0123", columns(d=Y.tolist()).values(), strict=True))), "is taken for a header"),
    "price.csv": (text(columns(price=(50_000 + 1000 * X[:, 0]).round().tolist())), "so this is a regression"),
    "signs.csv": (text(columns(label=np.where(Y > 0, 1, -1).tolist())), "2 classes: -1 30, 1 60"),
    "even.csv": (text({**columns(), "class": np.where(Y > 0, 4, 2).tolist()}), "2 classes: 2 30, 4 60"),
    "semicolon.csv": (text(comma(columns(label=Y.tolist())), ";"), "numbers have a decimal comma"),
    "tab.tsv": (text(columns(label=Y.tolist()), "\t"), "cells are separated by tab"),
    "zipped.csv.gz": (text(columns(label=Y.tolist())), "3 classes"),
    "colours.csv": (text({"colour": ["red", "blue"] * 45, **columns(label=Y.tolist())}), "holds 2 texts.*: blue, red"),
    "scales.csv": (text({**columns(label=Y.tolist()), "a": (X[:, 0] * 5e4).tolist()}), "x is standardised"),
}


@pytest.fixture
def write(folder):
    """write(name) writes the file of this name into the folder of the commands."""

    def write(name, content=None):
        content = (content or FILES[name][0]).encode()
        (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return name

    return write


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_learnt_and_its_own_test_part_is_predicted(run, write, tmp_path, name) -> None:
    code, out, err = run(f"train --data {write(name)} {TRAIN} --save {tmp_path}/m")
    assert (code, err) == (0, "")
    assert re.search(FILES[name][1], out), out
    score = re.search("^test .*", out, re.MULTILINE).group()
    found = re.search(r"test accuracy (\S+) %|test R2 (\S+),", score)
    assert float(found[1] or found[2]) > (90 if found[1] else 0.9)
    code, out, err = run(f"predict {tmp_path}/m --backend numpy")
    assert (code, err) == (0, "")
    assert f"{name}: 18 samples" in out
    assert score in out


WRONG = {
    # file: its text, what the line says
    "unlabelled.csv": (text(pixels()), "no column of labels: all are numbered, pixel0 to pixel63; --label NAME"),
    "constant.csv": (text(columns(label=[7] * 90)), "the label 'label' is 7 in every row"),
    "gaps.csv": (
        text(columns(d=["", "NA", *range(88)], label=Y.tolist())),
        "column 'd' has 2 empty cells.*--missing mean",
    ),
    "typing.csv": (text(columns(d=["1o", *range(89)], label=NAMES)), "line 2, column 'd': expected a number, got '1o'"),
    "texts.csv": (text(columns(d=[f"n{i}" for i in range(90)], label=NAMES)), "90 different texts.*--drop d"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_cannot_be_used_is_refused_with_a_remedy(refused, write, name) -> None:
    refused(f"train --data {write(name, WRONG[name][0])} {TRAIN}", WRONG[name][1])


def test_flags_decide_what_is_guessed(run, write, tmp_path) -> None:
    write("flags.csv", text({"kind": NAMES, "Id": range(90), **columns(d=["", *range(89)], z=Y.tolist())}))
    flags = "--label kind --drop z c --keep Id --missing mean --scale none"
    code, _, err = run(f"train --data flags.csv {flags} --epochs 1 --backend numpy --save {tmp_path}/m")
    assert (code, err) == (0, "")
    model = xpdl.load(tmp_path / "m")
    assert (model.features, model.classes) == (("Id", "a", "b", "d"), ("setosa", "versicolor", "virginica"))
    assert model.network.inputs is None
    assert run(f"predict {tmp_path}/m --backend numpy")[0] == 0


def predictions(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_new_rows_are_predicted_into_a_file(run, write, tmp_path) -> None:
    write("ids.csv", text({"Id": range(90), **columns(species=NAMES)}))
    run(f"train --data ids.csv {TRAIN} --save {tmp_path}/m")
    new = {
        "c": X[::10, 2].tolist(),
        "Id": [f"00{i}" for i in range(9)],
        "a": X[::10, 0].tolist(),
        "b": X[::10, 1].tolist(),
    }
    write("new.csv", text(new))
    code, _, err = run(f"predict {tmp_path}/m new.csv --out {tmp_path}/p.csv --proba --backend numpy")
    assert (code, err) == (0, "")
    head, *rows = predictions(tmp_path / "p.csv")
    assert head == ["Id", "species", "p(setosa)", "p(versicolor)", "p(virginica)"]
    assert [row[:2] for row in rows] == [[f"00{i}", NAMES[10 * i]] for i in range(9)]
    assert all(sum(map(float, row[2:])) == pytest.approx(1, abs=1e-5) for row in rows)
    model = xpdl.load(tmp_path / "m")
    assert model.predict("new.csv").tolist() == [row[1] for row in rows]
    assert model.predict_proba("new.csv") == pytest.approx(np.array([row[2:] for row in rows], float), abs=1e-5)
    code, _, err = run(f"predict {tmp_path}/m new.csv --out {tmp_path}/p.csv --backend numpy")
    assert (code, "--force" in err) == (2, True)
    assert run(f"predict {tmp_path}/m new.csv --out {tmp_path}/p.csv --force --columns n kind --backend numpy")[0] == 0
    assert predictions(tmp_path / "p.csv")[0] == ["n", "kind"]


def test_images_are_predicted_as_kaggle_takes_them(run, write, tmp_path) -> None:
    run(f"train --data {write('first.csv')} {TRAIN} --save {tmp_path}/m")
    write("test.csv", text(pixels()))
    code, _, err = run(f"predict {tmp_path}/m test.csv --out {tmp_path}/p.csv --backend numpy")
    assert (code, err) == (0, "")
    head, *rows = predictions(tmp_path / "p.csv")
    assert head == ["ImageId", "Label"]
    assert rows == [[str(i + 1), str(label)] for i, label in enumerate(Y)]


NEW = {
    # file: its text, what the line says
    "other.csv": (
        text({"a": [1, 2], "B": [1, 2], "c": [1, 3]}),
        "no column 'b'; it has 'B', which the model does not know",
    ),
    "unknown.csv": (
        text({**{n: [1, 2] for n in "abc"}, "species": ["setosa", "rose"]}),
        "'rose' in a row.*setosa, versic",
    ),
    "empty.csv": (text({"a": ["", 2], "b": [1, 2], "c": [1, 3]}), "column 'a' has 1 empty cell, the first in line 2"),
    "text.csv": (text({"a": ["x", 2], "b": [1, 2], "c": [1, 3]}), "line 2, column 'a': expected a number, got 'x'"),
}


def test_other_columns_are_refused_by_name(run, refused, write, tmp_path) -> None:
    run(f"train --data {write('names.csv')} {TRAIN} --save {tmp_path}/m")
    for name, (content, reason) in NEW.items():
        refused(f"predict {tmp_path}/m {write(name, content)} --backend numpy", reason)


def test_a_file_that_has_changed_is_not_its_own_test_part(run, refused, write, tmp_path) -> None:
    run(f"train --data {write('names.csv')} {TRAIN} --save {tmp_path}/m")
    write("names.csv", text({name: values[:-5] for name, values in columns(species=NAMES).items()}))
    refused(f"predict {tmp_path}/m --backend numpy", r"names\.csv has changed since the training")


def test_arrays_without_labels_are_predicted(run, folder, tmp_path) -> None:
    np.savez(folder / "named.npz", x=X, y=np.array(NAMES))
    np.savez(folder / "new.npz", x=X[:4])
    run(f"train --data named.npz {TRAIN} --save {tmp_path}/m")
    code, out, err = run(f"predict {tmp_path}/m new.npz --out {tmp_path}/p.csv --backend numpy")
    assert (code, err) == (0, "")
    assert predictions(tmp_path / "p.csv") == [["Id", "Label"], *([str(i), "setosa"] for i in range(1, 5))]
    assert "predicted setosa 4" in out
