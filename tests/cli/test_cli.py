"""The command line: what it prints, what it writes, and one line with exit code 2 for whatever is wrong."""

import json
import os
from pathlib import Path
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import xpdl
from xpdl import Network
from xpdl.cli import main, training
from xpdl.files import checkpoint as resuming


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Small data sets: classes, two classes, without a test part, one-hot, values, labels -1 and 1."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 3)), np.arange(60) % 3
    x += 3 * np.eye(3)[y]
    test = {"x_test": x[:21], "y_test": y[:21]}
    np.savez(folder / "classes.npz", x=x, y=y, **test)
    np.savez(folder / "two.npz", x=x, y=y // 2, x_test=x[:21], y_test=y[:21] // 2)
    np.savez(folder / "whole.npz", x=x, y=y)
    np.savez(folder / "onehot.npz", x=x, y=np.eye(3)[y])
    np.savez(folder / "floats.npz", x=x, y=y.astype(float))
    np.savez(folder / "values.npz", x=x, y=x @ np.ones((3, 2)))
    np.savez(folder / "signs.npz", x=x, y=2 * (y // 2) - 1)
    np.savez(folder / "wide.npz", x=np.ones((6, 4)), y=y[:6])
    (folder / "bad.csv").write_text("1,2\n3\n")
    (folder / "junk.safetensors").write_bytes(b"junk")
    xpdl.save(folder / "model.safetensors", Network([3, 4, 3]), Network([3, 4, 3]).initialize(0))
    return folder


@pytest.fixture
def run(folder, monkeypatch, capfd):
    """run("train --data classes.npz ...") -> exit code, stdout, stderr; in the folder of the data."""
    monkeypatch.chdir(folder)

    def run(command):
        code = main(command.split())
        return code, *capfd.readouterr()

    return run


QUICK = "--hidden 4 --epochs 2 --backend numpy"


def test_train_prints_what_it_does_and_the_accuracy_it_reaches(run) -> None:
    code, out, err = run("train --data classes.npz --hidden 8 --epochs 30 --lr 0.02 --batch-size 16 --backend numpy")
    assert (code, err) == (0, "")
    first, second, *epochs, last = out.splitlines()
    assert first == "classes.npz: 60 training and 21 test samples"
    assert second == "network 3-8-3, relu, softmax: 59 parameters; backend numpy"
    assert [line.split()[1] for line in epochs] == [f"{number}/30" for number in range(1, 31)]
    accuracy, loss = re.fullmatch(r"test accuracy (\S+) %, test loss (\S+)", last).groups()
    assert float(accuracy) > 80
    assert f"validation_loss {loss}" in epochs[-1]


def test_train_does_what_the_library_call_does(run, tmp_path) -> None:
    """Flag by flag."""
    flags = (
        "--hidden 5 4 --activation tanh --init xavier --dropout 0.2 --l2 0.01 --optimizer momentum --lr 0.05 "
        "--beta1 0.8 "
        "--epochs 3 --batch-size 16 --dtype float64 --seed 7 --backend numpy "
        "--schedule step --decay 0.5 --decay-every 2 --warmup 1"
    )
    code, _, _ = run(f"train --data classes.npz {flags} --save {tmp_path}/m")
    assert code == 0
    data = xpdl.data.load("classes.npz")
    net = Network([3, 5, 4, 3], hidden="tanh", init="xavier", dropout=0.2, l2=0.01)
    rate = xpdl.schedules.warmup(xpdl.schedules.step(0.05, 0.5, every=2 * 4), 4)
    options = {"epochs": 3, "batch_size": 16, "dtype": "float64", "seed": 7, "backend": "numpy", "progress": False}
    result = xpdl.train(net, data.x, data.y, optimizer=xpdl.momentum(rate, beta=0.8), **options)
    model = xpdl.load(tmp_path / "m")
    assert model.network == net
    assert np.array_equal(model.theta, result.theta)
    assert model.metadata == {"data": "classes.npz", "seed": 7, "epochs": 3}


def test_a_validation_part_is_watched_in_the_place_of_the_test_part(run, tmp_path) -> None:
    """The test part is then used once, at the end."""
    code, out, err = run(f"train --data classes.npz --validation 0.25 {QUICK} --save {tmp_path}/m")
    assert (code, err) == (0, "")
    first, _, *epochs, score, _ = out.splitlines()
    assert first == "classes.npz: 45 training, 15 validation and 21 test samples"
    data, model = xpdl.data.load("classes.npz"), xpdl.load(tmp_path / "m")
    part = xpdl.data.Dataset(data.x, data.y).split(0.25, 0)
    for line, samples in ((epochs[-1], part.test), (score, data.test)):
        found = xpdl.evaluate(model.network, model.theta, *samples, backend="numpy")
        assert f"loss {found['loss']:.4f}" in line
    net = Network([3, 4, 3])
    result = xpdl.train(net, part.x, part.y, epochs=2, backend="numpy", progress=False)
    assert np.array_equal(model.theta, result.theta)


def test_history_is_one_json_object_an_epoch(run, tmp_path) -> None:
    code, out, _ = run(f"train --data classes.npz {QUICK} --batch-size 16 --history {tmp_path}/h")
    assert code == 0
    lines = [json.loads(line) for line in (tmp_path / "h").read_text().splitlines()]
    assert [(line["epoch"], line["step"]) for line in lines] == [(1, 4), (2, 8)]
    keys = {"epoch", "step", "loss", "seconds", "validation_loss", "validation_accuracy"}
    assert all(set(line) == keys for line in lines)
    assert f"loss {lines[1]['loss']:.4f}" in out


def test_history_is_on_the_disk_at_the_end_of_each_epoch(run, tmp_path, monkeypatch) -> None:
    """So that a long run can be followed."""
    path, counts, real = tmp_path / "h", [], training.run_training

    def watched(*arguments, callbacks, **options):
        callbacks = [*callbacks, lambda metrics, step: counts.append(len(path.read_text().splitlines()))]
        return real(*arguments, callbacks=callbacks, **options)

    monkeypatch.setattr(training, "run_training", watched)
    assert run(f"train --data classes.npz {QUICK} --history {path}")[0] == 0
    assert counts == [1, 2]


@pytest.mark.parametrize(
    ("flags", "described"),
    [
        ("--data two.npz --hidden 4", "network 3-4-1, relu, sigmoid: 21 parameters"),
        ("--data values.npz --hidden 4", "network 3-4-2, relu, linear: 26 parameters"),
        ("--data classes.npz --hidden", "network 3-3, relu, softmax: 12 parameters"),
        ("--data two.npz --output linear --hidden 4", "network 3-4-1, relu, linear: 21 parameters"),
        ("--data whole.npz --holdout 0.25", "whole.npz: 45 training and 15 test samples"),
        ("--data whole.npz", "whole.npz: 60 training"),
        ("--data circles", "circles: 300 training and 100 test samples"),
        ("--data circles --hidden 4 --output softmax", "network 2-4-2, relu, softmax: 22 parameters"),
        ("--data floats.npz --hidden 4", "network 3-4-3, relu, softmax: 31 parameters"),
        ("--data onehot.npz --hidden 4", "network 3-4-3, relu, softmax: 31 parameters"),
        ("--data classes.npz --hidden 4 --output linear", "network 3-4-1, relu, linear: 21 parameters"),
    ],
)
def test_the_network_fits_the_data(run, flags, described) -> None:
    code, out, err = run(f"train --epochs 1 --backend numpy {flags}")
    assert (code, err) == (0, "")
    assert described in out


def test_a_linear_output_has_a_loss_but_no_accuracy(run, tmp_path) -> None:
    code, out, _ = run(f"train --data values.npz {QUICK} --holdout 0.5 --save {tmp_path}/m")
    assert code == 0
    assert re.search(r"^test loss \d+\.\d{4}$", out, re.MULTILINE)
    code, out, _ = run(f"predict {tmp_path}/m --data values.npz --backend numpy")
    assert code == 0
    assert "accuracy" not in out


def test_patience_stops_and_the_best_is_saved(run, tmp_path) -> None:
    """With a rate of 0 no epoch is better than the first."""
    code, out, _ = run(
        f"train --data classes.npz --hidden 4 --epochs 50 --lr 0 --patience 3 --backend numpy --save {tmp_path}/m"
    )
    assert code == 0
    assert "stopped: no better epoch in the last 3" in out
    assert xpdl.load(tmp_path / "m").metadata["epochs"] == 4


RESUMABLE = "train --data classes.npz --hidden 4 --batch-size 16 --dropout 0.2 --lr 0.02 --backend numpy"


def resumable(flags):
    """The command with these flags in the place of its own."""
    command = RESUMABLE
    for flag in re.findall(r"--\S+", flags):
        command = re.sub(rf"{flag} \S+ ?", "", command)
    return f"{command} {flags}"


def test_a_run_is_resumed_from_its_checkpoint(run, tmp_path) -> None:
    """With more epochs; the model and the history are those of a run that never stopped, but for the seconds."""
    assert run(f"{RESUMABLE} --epochs 5 --save {tmp_path}/m1 --history {tmp_path}/h1")[0] == 0
    files = f"--checkpoint {tmp_path}/c --save {tmp_path}/m2 --history {tmp_path}/h2"
    assert run(f"{RESUMABLE} --epochs 2 --every 2 {files}")[0] == 0
    code, out, err = run(f"{RESUMABLE} --epochs 5 --every 2 --resume {tmp_path}/c {files}")
    assert (code, err) == (0, "")
    assert [line.split()[1] for line in out.splitlines() if line.startswith("epoch")] == ["3/5", "4/5", "5/5"]
    models = [xpdl.load(tmp_path / name) for name in ("m1", "m2")]
    assert np.array_equal(models[0].theta, models[1].theta)
    assert models[0].metadata == models[1].metadata
    histories = [[json.loads(line) for line in (tmp_path / name).read_text().splitlines()] for name in ("h1", "h2")]
    assert [{**line, "seconds": 0} for line in histories[0]] == [{**line, "seconds": 0} for line in histories[1]]


def test_lines_of_a_history_that_are_newer_than_the_checkpoint_are_written_anew(run, tmp_path) -> None:
    """A run that is killed may have written more epochs than are in its checkpoint, and a part of a line."""
    run(f"{RESUMABLE} --epochs 2 --checkpoint {tmp_path}/c --history {tmp_path}/h")
    kept = (tmp_path / "h").read_text()
    (tmp_path / "h").write_text(kept + kept.splitlines()[1].replace('"epoch": 2', '"epoch": 3') + '\n{"epoch": 4')
    assert run(f"{RESUMABLE} --epochs 4 --resume {tmp_path}/c --history {tmp_path}/h")[0] == 0
    text = (tmp_path / "h").read_text()
    assert text.startswith(kept)
    lines = [json.loads(line) for line in text.splitlines()]
    assert [(line["epoch"], line["step"]) for line in lines] == [(1, 4), (2, 8), (3, 12), (4, 16)]


def test_patience_is_resumed_too(run, tmp_path) -> None:
    flags = f"--lr 0 --patience 3 --checkpoint {tmp_path}/c"
    run(resumable(f"{flags} --epochs 3"))
    code, out, _ = run(resumable(f"{flags} --epochs 50 --resume {tmp_path}/c"))
    assert code == 0
    assert [line.split()[1] for line in out.splitlines() if line.startswith("epoch")] == ["4/50"]
    code, out, _ = run(resumable(f"{flags} --epochs 50 --resume {tmp_path}/c"))
    assert code == 0
    assert "epoch" not in out


UNRESUMABLE = {
    # flags: what the line on stderr must say
    "--resume absent": "absent",
    "--resume model.safetensors": "model.safetensors is not a run of xpdl: it has no SHA-256",
    "--resume .": "directory",
    "--resume {c} --seed 1": "another run: seed is 0 in the file and 1 here",
    "--resume {c} --hidden 5": r"another run: network sizes is \[3, 4, 3\] in the file and \[3, 5, 3\] here",
    "--resume {c} --batch-size 8": "another run: batch_size is 16 in the file and 8 here",
    "--resume {c} --dtype float64": "another run: dtype is 'float32' in the file and 'float64' here",
    "--resume {c} --optimizer sgd": "another run: optimizer run/state/1 is .* in the file and 'nothing' here",
    "--resume {c} --data whole.npz": None,  # the same training samples: it is the same run
    "--resume {c} --data whole.npz --holdout 0.5": "another run: x is .* in the file and .* here",
    "--resume {c} --epochs 1": "epochs must be at least 2, .* got 1",
    "--checkpoint no/c": "no/c|No such file",
    "--checkpoint .": "directory|busy",
    "--checkpoint {c} --every 0": "every must be at least 1, got 0",
    "--checkpoint {c} --every 1.5": "--every.*1.5",
}


@pytest.mark.parametrize("flags", UNRESUMABLE)
def test_what_cannot_be_resumed_or_kept_is_said_before_the_training(run, tmp_path, flags) -> None:
    checkpoint, said = tmp_path / "c", UNRESUMABLE[flags]
    run(f"{RESUMABLE} --epochs 2 --checkpoint {checkpoint}")
    before = checkpoint.read_bytes()
    epochs = "" if "--epochs" in flags else "--epochs 3"
    code, out, err = run(resumable(f"{flags.format(c=checkpoint)} {epochs}"))
    assert code == (2 if said else 0)
    if said:
        assert re.fullmatch(r"xpdl: error: .+\n", err)
        assert re.search(said, err), err
        assert "epoch " not in out
    assert checkpoint.read_bytes() == before


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
    assert run(f"train {QUICK} --data {data} --save {tmp_path}/m")[0] == 0
    code, out, err = run(f"predict {tmp_path}/m --data {name} --backend numpy")
    assert (code, err) == (0, "")
    _, _, counts = table(out)
    assert counts.sum() == (21 if name == "two.npz" else 60)
    accuracy = float(re.search(r"test accuracy (\S+) %", out).group(1))
    assert 100 * np.trace(counts) / counts.sum() == pytest.approx(accuracy, abs=0.01)


TABLE = r"(PASS|FAIL|INCONCLUSIVE) +difference (\S+), (complex step|central differences) in (float\d\d)"


@pytest.mark.parametrize(
    ("flags", "method", "tensors"),
    [
        ("", "complex step", ["W1 2x4", "W2 4x1", "b1 4", "b2 1"]),
        ("--data spiral --sizes 2 3 5 3 --method central", "central differences", ["W1 2x3", "W3 5x3", "b3 3"]),
        ("--data classes.npz --activation gelu --dropout 0.5 --l2 0.1", "complex step", ["W1 3x4", "b2 3"]),
        ("--data values.npz --samples 5 --dtype float32 --backend array_api_strict", "complex step", ["W2 4x2"]),
        ("model.safetensors --data classes.npz", "complex step", ["W1 3x4", "W2 4x3"]),
    ],
)
def test_check_prints_the_report(run, flags, method, tensors) -> None:
    code, out, err = run(f"check {flags}")
    assert (code, err) == (0, "")
    assert re.match(TABLE, out).group(1, 3) == ("PASS", method)
    assert [row for row in tensors if not re.search(rf"^{row} +PASS", out, re.MULTILINE)] == []


def test_check_ends_with_1_if_the_gradient_is_wrong(run, monkeypatch) -> None:
    tanh = xpdl.activations.ACTIVATIONS["tanh"]
    wrong = xpdl.Activation(tanh.forward, lambda da, z, a: da * (1 - a))
    monkeypatch.setitem(xpdl.activations.ACTIVATIONS, "tanh", wrong)
    code, out, err = run("check --activation tanh")
    assert (code, err) == (1, "")
    assert re.search("^W1 2x4 +FAIL", out, re.MULTILINE)
    assert re.search("^W2 4x1 +PASS", out, re.MULTILINE)


def test_the_demo_plants_a_bug_and_names_it(run) -> None:
    code, out, err = run("check --demo")
    assert (code, err) == (0, "")
    assert [verdict for verdict, *_ in re.findall(TABLE, out)] == ["FAIL", "PASS"]
    assert "db2 is 300 x the numeric gradient: n = 300; the mean over samples is missing" in out
    before, after = map(float, re.search(r"cost (\S+) before and (\S+) after", out).groups())
    assert after < before


def test_backends_prints_a_line_for_each(run) -> None:
    code, out, err = run("backends")
    assert (code, err) == (0, "")
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert set(lines) == {"numpy", "cupy", "torch", "jax", "array_api_strict"}
    assert lines["numpy"] == "ready"
    assert lines["cupy"] == "ready" or "install" in lines["cupy"]


@pytest.mark.parametrize("name", ["torch", "jax", "array_api_strict:device1"])
def test_train_runs_on_other_backends(run, name) -> None:
    pytest.importorskip(name.partition(":")[0])
    code, out, _ = run(f"train --data classes.npz --hidden 4 --epochs 1 --backend {name}")
    assert code == 0
    assert f"; backend {name}\n" in out


@pytest.mark.parametrize("command", ["", "--help", "train --help", "predict --help"])
def test_help(run, command) -> None:
    code, out, err = run(command)
    assert (code, err) == (0, "")
    assert "Usage" in out
    assert ("train" in out) if command in ("", "--help") else ("--data" in out)


def test_version(run) -> None:
    assert run("--version") == (0, f"{xpdl.__version__}\n", "")


BAD = {
    "train --data classes.npz --precision tf32": r"precision must be one of float32 on Backend\('numpy'\), got 'tf32'",
    "train --data classes.npz --precision half": "precision must be one of 3xtf32, float32, tf32, got 'half'",
    # command: what the line on stderr must say
    "trian": "trian.*train",
    "train --epoch 3": "--epoch",
    "train extra": "extra",
    "train --data nothere.npz": "nothere.npz.*glyphs",
    "train --data mnsit": "did you mean 'mnist'",
    "train --data bad.csv": "bad.csv, line 2: expected 2 cells, got 1",
    "train --data .": "train-images",
    "train --data junk.safetensors": "npz",
    "train --data signs.npz": r"y must be 0 or 1, got y\[\d+\] = -1",
    "train --data classes.npz --output sigmoid": r"y must be 0 or 1, got y\[2\] = 2",
    "train --data classes.npz --holdout 0.5": "classes.npz has a test part already",
    "train --data whole.npz --holdout 1.5": "fraction .*1.5",
    "train --data classes.npz --hidden 0": "sizes must be at least 1, got 0",
    "train --data classes.npz --hidden 1000000000000000": "Unable to allocate .*PiB",
    "train --data classes.npz --hidden a": "--hidden.*a",
    "train --data classes.npz --activation rleu": "'rleu'; did you mean 'relu'",
    "train --data classes.npz --output sofmax": "'sofmax'; did you mean 'softmax'",
    "train --data classes.npz --init xaver": "'xaver'; did you mean 'xavier'",
    "train --data classes.npz --dropout 1": "dropout must be .* got 1",
    "train --data classes.npz --l2 -1": "l2 must be .* got -1",
    "train --data classes.npz --optimizer adm": "optimizer must be .*'adm'; did you mean 'adam'",
    "train --data classes.npz --optimizer sgd --beta1 0.9": "beta1 is not for the optimizer 'sgd', got 0.9",
    "train --data classes.npz --optimizer momentum --beta2 0.9": "beta2 is not for the optimizer 'momentum', got 0.9",
    "train --data classes.npz --beta2 1": r"beta2 must be finite and in \[0, 1\), got 1",
    "train --data classes.npz --validation 1": "fraction .*1",
    "train --data classes.npz --lr nan": "lr must be finite.* got nan",
    "train --data classes.npz --lr fast": "--lr.*fast",
    "train --data classes.npz --schedule cosin": "schedule must be .*'cosin'; did you mean 'cosine'",
    "train --data classes.npz --schedule exponential --decay 0": "decay must be .* got 0",
    "train --data classes.npz --epochs -1": "epochs must be at least 0, got -1",
    "train --data classes.npz --epochs 1.5": "--epochs.*1.5",
    "train --data classes.npz --hidden 4.7": "--hidden.*4.7",
    "train --data classes.npz --seed 0.5": "--seed.*0.5",
    "train --data classes.npz --batch-size 0": "batch_size must be at least 1, got 0",
    "train --data classes.npz --patience 0": "patience must be at least 1, got 0",
    "train --data classes.npz --backend nmupy": "'nmupy'; did you mean 'numpy'",
    "train --data classes.npz --backend cupy:99": "backend 'cupy:99'",
    "train --data classes.npz --dtype float16": "dtype must be float32 or float64, got 'float16'",
    "train --data classes.npz --seed -1": r"seed must be in \[0, 2\*\*64\), got -1",
    "train --data classes.npz --history no/h": "no/h",
    "train --data classes.npz --save no/m": "no",
    "train --data classes.npz --save .": "save|directory",
    "train --data classes.npz --optimizer sgd --lr 1e30 --epochs 3": "step .* of epoch .*: NaN or infinity",
    "predict": "model",
    "predict nothere.safetensors": "nothere.safetensors",
    "predict junk.safetensors": "junk.safetensors is not an xpdl model",
    "predict .": "directory",
    "predict model.safetensors --data wide.npz": r"x must have shape \(n, 3\).* got shape \(6, 4\)",
    "predict model.safetensors --data signs.npz": r"y must be labels 0\.\.2 .*got y\[\d+\] = -1",
    "check nothere.safetensors": "nothere.safetensors",
    "check model.safetensors --sizes 3 4 3": "--sizes describes a fresh network, and model.safetensors has one",
    "check model.safetensors --activation tanh": "--activation describes a fresh network",
    "check junk.safetensors": "junk.safetensors is not an xpdl model",
    "check model.safetensors --data wide.npz": r"x must have shape \(n, 3\).* got shape \(6, 4\)",
    "check --data classes.npz --sizes 3": "sizes must hold at least an input and an output size",
    "check --data classes.npz --sizes 2 4 3": r"x must have shape \(n, 2\)",
    "check --data classes.npz --samples 0": "samples must be at least 1, got 0",
    "check --data classes.npz --method simplex": "method must be .*'simplex'",
    "check --data classes.npz --dtype float16": "dtype must be float32 or float64, got 'float16'",
    "backends extra": "extra",
}


@pytest.mark.parametrize("command", BAD)
def test_what_is_wrong_is_one_line_on_stderr_and_exit_code_2(run, command) -> None:
    code, _, err = run(command + (" --backend numpy" if "--data" in command and "--backend" not in command else ""))
    assert code == 2
    assert re.fullmatch(r"xpdl: error: .+\n", err)
    assert re.search(BAD[command], err), err


@pytest.mark.parametrize(
    ("error", "said"), [(ValueError("first\n  second\n"), "first second"), (MemoryError(), "MemoryError()")]
)
def test_an_error_of_several_lines_or_none_is_said_in_one(run, monkeypatch, error, said) -> None:
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(training, "parts_of", fail)
    assert run("train") == (2, "", f"xpdl: error: {said}\n")


@pytest.mark.parametrize("flag", ["save", "history"])
@pytest.mark.parametrize("path", ["no/m", "."])
def test_a_file_that_cannot_be_written_is_said_before_the_training(run, flag, path) -> None:
    """Not after hours of it."""
    code, out, _ = run(f"train --data classes.npz {QUICK} --{flag} {path}")
    assert code == 2
    assert "epoch" not in out


def test_a_bad_command_leaves_the_old_model(run, tmp_path) -> None:
    path = tmp_path / "m"
    run(f"train --data classes.npz {QUICK} --save {path}")
    before = path.read_bytes()
    assert run(f"train --data classes.npz {QUICK} --optimizer sgd --lr 1e30 --save {path}")[0] == 2
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


# --- as a process


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "xpdl", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def lines_of(path, count, process):
    """Wait until the file has so many lines."""
    deadline = time.monotonic() + 60
    while not path.exists() or path.read_text().count("\n") < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.skipif(os.name != "posix", reason="signals are of POSIX")
def test_ctrl_c_ends_training_with_a_model_and_a_whole_history(folder, tmp_path) -> None:
    model, history = tmp_path / "m", tmp_path / "h"
    flags = (
        f"--data {folder}/classes.npz --hidden 8 --epochs 10000000 --backend numpy --save {model} --history {history}"
    )
    process = start("train", *flags.split())
    lines_of(history, 3, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")
    assert re.search(r"^test accuracy \S+ %, test loss \S+$", out, re.MULTILINE)
    text = history.read_text()
    assert text.endswith("}\n")
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, len(lines) + 1))
    loaded = xpdl.load(model)
    assert loaded.metadata["epochs"] == len(lines) < 10_000_000
    assert not np.array_equal(loaded.theta, loaded.network.initialize(0))


@pytest.mark.skipif(os.name != "posix", reason="signals are of POSIX")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_training_with_a_checkpoint_that_can_be_resumed(run, folder, tmp_path, name) -> None:
    number = getattr(signal, name)
    flags = f"--data {folder}/classes.npz --hidden 8 --batch-size 7 --backend numpy --history {tmp_path}/h"
    process = start(
        "train", *flags.split(), "--epochs", "10000000", "--checkpoint", f"{tmp_path}/c", "--every", "1000000"
    )
    lines_of(tmp_path / "h", 3, process)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (128 + number, "")
    assert re.search(r"^test accuracy \S+ %, test loss \S+$", out, re.MULTILINE)
    done = (tmp_path / "h").read_text().count("\n")
    options = f"train {flags} --epochs {done + 2}"
    assert run(f"{options} --resume {tmp_path}/c --save {tmp_path}/m1")[0] == 0
    assert run(f"{options} --save {tmp_path}/m2")[0] == 0
    assert np.array_equal(*(xpdl.load(tmp_path / name).theta for name in ("m1", "m2")))


SECOND = """
import os, signal, sys, xpdl.cli, xpdl.files.checkpoint
write = xpdl.files.checkpoint.write_whole
def hang(*arguments):
    if os.path.exists(sys.argv[1]):
        os.kill(os.getpid(), signal.{first})
        os.kill(os.getpid(), signal.{second})
    write(*arguments)
xpdl.files.checkpoint.write_whole = hang
sys.exit(xpdl.cli.main(["train", "--data", "circles", "--backend", "numpy", "--checkpoint", sys.argv[1]]))
"""


@pytest.mark.skipif(os.name != "posix", reason="signals are of POSIX")
@pytest.mark.parametrize(
    ("first", "second", "code"),
    [("SIGINT", "SIGINT", 130), ("SIGTERM", "SIGINT", 130), ("SIGTERM", "SIGTERM", -15), ("SIGINT", "SIGTERM", -15)],
)
def test_a_second_signal_ends_the_program_at_once(tmp_path, first, second, code) -> None:
    """With the checkpoint before.  A process that SIGTERM itself has ended is -15 for Python and 143 for a shell."""
    text = SECOND.format(first=first, second=second)
    done = subprocess.run([sys.executable, "-c", text, f"{tmp_path}/c"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (code, "")
    assert resuming.read_sealed(tmp_path / "c")[1]["epoch"] == 0


def test_a_run_that_is_killed_leaves_a_history_of_whole_lines(folder, tmp_path) -> None:
    history = tmp_path / "h"
    flags = f"--data {folder}/classes.npz --hidden 8 --epochs 10000000 --backend numpy --history {history}"
    process = start("train", *flags.split())
    lines_of(history, 1, process)
    process.kill()
    process.communicate(timeout=60)
    text = history.read_text()
    assert text.endswith("}\n")
    assert [json.loads(line)["epoch"] for line in text.splitlines()] == list(range(1, text.count("\n") + 1))


@pytest.mark.skipif(os.name != "posix", reason="signals are of POSIX")
def test_ctrl_c_before_the_training_is_exit_code_130_without_a_traceback() -> None:
    text = """
import signal, sys, xpdl.cli, xpdl.cli.training
xpdl.cli.training.parts_of = lambda *arguments, **options: signal.raise_signal(signal.SIGINT)
sys.exit(xpdl.cli.main(["train"]))
"""
    run = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout, run.stderr) == (130, "", "")


@pytest.mark.parametrize("lines", [1, 3])
def test_a_reader_that_has_seen_enough_is_no_traceback(folder, lines) -> None:
    """As in ``xpdl train | head -1``."""
    process = start(
        "train", "--data", f"{folder}/classes.npz", "--hidden", "8", "--epochs", "20000", "--backend", "numpy"
    )
    for _ in range(lines):
        assert process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=60) == 1


def test_the_command_is_installed_under_its_name() -> None:
    """``xpdl`` is ``python -m xpdl``."""
    command = Path(sys.executable).with_name("xpdl")
    if not command.exists():
        pytest.skip("xpdl is not installed as a command here")
    outputs = [
        subprocess.run([*call, "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
        for call in ([str(command)], [sys.executable, "-m", "xpdl"])
    ]
    assert outputs[0] == outputs[1] == f"{xpdl.__version__}\n"


def test_ranks_are_started_with_the_same_flags(run, monkeypatch) -> None:
    from xpdl import cli

    calls = []
    monkeypatch.setattr(cli, "launch", lambda ranks, arguments: calls.append((ranks, arguments)) or 7)
    assert run("train --data classes.npz --ranks 3")[0] == 7
    assert calls == [(3, ["train", "--data", "classes.npz", "--ranks", "3"])]
    assert run(f"train --data classes.npz {QUICK} --ranks 1")[0] == 0
    assert len(calls) == 1
    assert run("train --ranks 0")[::2] == (2, "xpdl: error: ranks must be at least 1, got 0\n")


def test_ranks_say_everything_once(run, folder, tmp_path) -> None:
    """Real ones: one description, one line an epoch, one accuracy, one history, one model: those of a single rank."""
    pytest.importorskip("mpi4py", reason="mpi4py is not installed")
    if not any((Path(path) / "mpiexec").exists() for path in [Path(sys.executable).parent, *os.get_exec_path()]):
        pytest.skip("there is no mpiexec")
    flags = f"train --data classes.npz {QUICK} --dtype float64 --batch-size 7 --dropout 0.2"
    code, alone, _ = run(f"{flags} --save {tmp_path}/1 --history {tmp_path}/h1")
    environment = os.environ | {"PYTHONPATH": str(Path(xpdl.__file__).parents[1])}
    command = [sys.executable, "-m", "xpdl", *f"{flags} --save {tmp_path}/2 --history {tmp_path}/h2 --ranks 2".split()]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (code, "")
    timeless = re.compile(r"  [0-9.]+ s$|saved .*", re.MULTILINE)
    assert timeless.sub("", done.stdout) == timeless.sub("", alone).replace("backend numpy", "backend numpy, 2 ranks")
    np.testing.assert_allclose(xpdl.load(tmp_path / "2").theta, xpdl.load(tmp_path / "1").theta, rtol=0, atol=1e-12)
    texts = [(tmp_path / name).read_text() for name in ("h1", "h2")]
    losses = [[json.loads(line)["loss"] for line in text.splitlines()] for text in texts]
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)


def test_what_is_wrong_is_said_once_by_rank_0(run, monkeypatch) -> None:
    """The others wait for it; if rank 0 has nothing to say, the error is theirs alone and comes with a traceback."""
    from xpdl import cli

    waits = []
    monkeypatch.setattr(cli.time, "sleep", waits.append)
    monkeypatch.setattr(cli, "fail_stop", lambda: True)
    monkeypatch.setattr(cli, "started", lambda: (0, 2))
    assert run("predict junk.safetensors")[0] == 2
    assert waits == []
    monkeypatch.setattr(cli, "started", lambda: (1, 2))
    with pytest.raises(xpdl.ModelFileError) as caught:
        run("predict junk.safetensors")
    assert caught.value.__notes__ == ["on rank 1"]
    assert waits == [cli.PATIENCE]
