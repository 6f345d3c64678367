"""xpdl predict: the scores and the confusion matrix of a saved model."""

import re

import numpy as np
import pytest

import xpdl


def table(out):
    """Per-class accuracies and the confusion table of what predict prints."""
    rows = [line.split() for line in out.splitlines()[4:]]
    shares = [None if row[1] == "-" else float(row[1]) for row in rows]
    counts = [[int(cell) for cell in row[1 if row[1] == "-" else 2 :] if cell not in "%-"] for row in rows]
    return [int(row[0]) for row in rows], shares, np.array(counts)


def test_predict_prints_accuracy_per_class_accuracy_and_the_confusion_table(run, folder, tmp_path) -> None:
    run(f"train --data classes.npz --hidden 4 --epochs 4 --lr 0.02 --backend numpy --save {tmp_path}/m")
    code, out, err = run(f"predict {tmp_path}/m --data classes.npz --backend numpy")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "classes.npz: 21 samples"
    data, model = np.load(folder / "classes.npz"), xpdl.load(tmp_path / "m")
    predicted = model.network.predict(model.theta, data["x_test"].astype("float32"))
    expected = np.array([[np.sum((data["y_test"] == i) & (predicted == j)) for j in range(3)] for i in range(3)])
    labels, shares, counts = table(out)
    assert labels == [0, 1, 2]
    assert counts.tolist() == expected.tolist()
    assert shares == [round(100 * expected[i, i] / 7, 2) for i in range(3)]
    assert lines[1].startswith(f"test accuracy {100 * np.trace(expected) / 21:.2f} %, test loss ")


@pytest.mark.parametrize("data", ["two.npz", "whole.npz", "onehot.npz --output softmax"])
def test_the_confusion_table_counts_every_sample_once(run, tmp_path, data) -> None:
    name = data.split()[0]
    assert run(f"train --hidden 4 --epochs 2 --backend numpy --data {data} --save {tmp_path}/m")[0] == 0
    code, out, err = run(f"predict {tmp_path}/m --data {name} --backend numpy")
    assert (code, err) == (0, "")
    _, _, counts = table(out)
    assert counts.sum() == (21 if name == "two.npz" else 12)
    accuracy = float(re.search(r"test accuracy (\S+) %", out).group(1))
    assert 100 * np.trace(counts) / counts.sum() == pytest.approx(accuracy, abs=0.01)


BAD = {
    # command: what the line on stderr must say
    "predict": "model",
    "predict nothere.safetensors": "nothere.safetensors",
    "predict junk.safetensors": "junk.safetensors is not an xpdl model",
    "predict .": "directory",
    "predict model.safetensors --data wide.npz": r"x must have shape \(n, 3\).* got shape \(6, 4\)",
    "predict model.safetensors --data signs.npz": "signs.npz: the label y is -1 in a row, but the classes are 0, 1, 2",
}


@pytest.mark.parametrize("command", BAD)
def test_errors_are_one_line_on_stderr_with_exit_code_2(refused, command) -> None:
    refused(f"{command} --backend numpy", BAD[command])
