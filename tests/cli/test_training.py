"""xpdl train: what it prints and writes, how it is resumed, and how a signal ends it."""

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
from xpdl.cli import training
from xpdl.cli.outputs import valid_epochs
from xpdl.files import checkpoint as checkpoint_files

QUICK = "--hidden 4 --epochs 2 --backend numpy"


def test_train_prints_the_network_each_epoch_and_the_test_accuracy(run) -> None:
    code, out, err = run("train --data classes.npz --hidden 8 --epochs 30 --lr 0.02 --batch-size 16 --backend numpy")
    assert (code, err) == (0, "")
    first, label, scaled, second, *epochs, last = out.splitlines()
    assert first == "classes.npz: 54 training, 6 validation and 21 test samples"
    assert label == "  label y: 3 classes: 0 27, 1 27, 2 27"
    assert scaled.startswith("  x is standardised: ")
    assert second == "network 3-8-3, relu, softmax: 59 parameters; backend numpy"
    assert [line.split()[1] for line in epochs] == [f"{number}/30" for number in range(1, 31)]
    accuracy, loss = re.fullmatch(r"test accuracy (\S+) %, test loss (\S+)", last).groups()
    assert float(accuracy) > 80
    assert float(loss) < 1


def test_train_gives_the_same_model_as_the_library(run, tmp_path) -> None:
    """Each flag stands for an argument of the library."""
    flags = (
        "--hidden 5 4 --activation tanh --init xavier --dropout 0.2 --l2 0.01 --optimizer momentum --lr 0.05 "
        "--beta1 0.8 "
        "--epochs 3 --batch-size 16 --dtype float64 --seed 7 --backend numpy "
        "--schedule step --decay 0.5 --decay-every 2 --warmup 1"
    )
    code, _, _ = run(f"train --data classes.npz --validation 0 {flags} --save {tmp_path}/m")
    assert code == 0
    data = xpdl.data.load("classes.npz")
    net = Network([3, 5, 4, 3], hidden="tanh", init="xavier", dropout=0.2, l2=0.01, inputs=data.scaling)
    rate = xpdl.schedules.warmup(xpdl.schedules.step(0.05, 0.5, every=2 * 4), 4)
    options = {"epochs": 3, "batch_size": 16, "dtype": "float64", "seed": 7, "backend": "numpy", "progress": False}
    result = xpdl.train(net, data.x, data.y, optimizer=xpdl.momentum(rate, beta=0.8), **options)
    model = xpdl.load(tmp_path / "m")
    assert model.network == net
    assert np.array_equal(model.theta, result.theta)
    split = {"holdout": None, "validation": 0.0, "rows": 60, "options": {}}
    assert model.metadata == {"data": "classes.npz", "seed": 7, "epochs": 3, "split": split}


def test_with_a_validation_part_the_test_part_is_used_only_at_the_end(run, tmp_path) -> None:
    code, out, err = run(f"train --data classes.npz --validation 0.25 {QUICK} --save {tmp_path}/m")
    assert (code, err) == (0, "")
    first, *_, last, score, _ = out.splitlines()
    assert first == "classes.npz: 45 training, 15 validation and 21 test samples"
    data, model = xpdl.data.load("classes.npz"), xpdl.load(tmp_path / "m")
    part = xpdl.data.Dataset(data.x, data.y).split(0.25, 0)
    for line, samples in ((last, part.test), (score, data.test)):
        found = xpdl.evaluate(model.network, model.theta, *samples, backend="numpy")
        assert f"loss {found['loss']:.4f}" in line
    net = Network([3, 4, 3], inputs=xpdl.Scaling.fit(part.x))
    result = xpdl.train(net, part.x, part.y, epochs=2, batch_size=4, backend="numpy", progress=False)
    assert np.array_equal(model.theta, result.theta)


def test_history_is_one_json_object_per_epoch(run, tmp_path) -> None:
    code, out, _ = run(f"train --data classes.npz {QUICK} --batch-size 16 --history {tmp_path}/h")
    assert code == 0
    lines = [json.loads(line) for line in (tmp_path / "h").read_text().splitlines()]
    assert [(line["epoch"], line["step"]) for line in lines] == [(1, 4), (2, 8)]
    keys = {"epoch", "step", "loss", "seconds", "validation_loss", "validation_accuracy"}
    assert all(set(line) == keys for line in lines)
    assert f"loss {lines[1]['loss']:.4f}" in out


def test_history_is_written_at_the_end_of_each_epoch(run, tmp_path, monkeypatch) -> None:
    """A long run can be watched while it goes on."""
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
        ("--data whole.npz --holdout 0.25", "whole.npz: 41 training, 4 validation and 15 test samples"),
        ("--data whole.npz", "whole.npz: 43 training, 5 validation and 12 test samples"),
        ("--data whole.npz --holdout 0 --validation 0", "whole.npz: 60 training samples"),
        ("--data signs.npz", "label y: 2 classes: -1 40, 1 20"),
        ("--data circles", "circles: 270 training, 30 validation and 100 test samples"),
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
    assert re.search(r"^test RMSE \S+, test R2 \S+, test loss \d+\.\d{4}$", out, re.MULTILINE)
    code, out, _ = run(f"predict {tmp_path}/m --data values.npz --backend numpy")
    assert code == 0
    assert "accuracy" not in out


def test_patience_stops_the_run_and_the_best_epoch_is_saved(run, tmp_path) -> None:
    """With a learning rate of 0, no epoch is better than the first."""
    code, out, _ = run(
        f"train --data classes.npz --hidden 4 --epochs 50 --lr 0 --patience 3 --backend numpy --save {tmp_path}/m"
    )
    assert code == 0
    assert "stopped: no better epoch in the last 3" in out
    assert xpdl.load(tmp_path / "m").metadata["epochs"] == 4


@pytest.mark.parametrize("name", ["torch", "jax", "array_api_strict:device1"])
def test_train_runs_on_other_backends(run, name) -> None:
    pytest.importorskip(name.partition(":")[0])
    code, out, _ = run(f"train --data classes.npz --hidden 4 --epochs 1 --backend {name}")
    assert code == 0
    assert f"; backend {name}\n" in out


RESUMABLE = "train --data classes.npz --hidden 4 --batch-size 16 --dropout 0.2 --lr 0.02 --backend numpy"


def resumable(flags):
    """Return the command RESUMABLE with these flags, which replace its own."""
    command = RESUMABLE
    for flag in re.findall(r"--\S+", flags):
        command = re.sub(rf"{flag} \S+ ?", "", command)
    return f"{command} {flags}"


def test_a_run_is_resumed_from_its_checkpoint(run, tmp_path) -> None:
    """The resumed run has more epochs.  Model and history equal those of an uninterrupted run, except the seconds."""
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


def test_lines_of_a_history_are_never_deleted(run, tmp_path) -> None:
    """A killed run may have written more epochs than its checkpoint holds; the part of a line is no line."""
    run(f"{RESUMABLE} --epochs 2 --checkpoint {tmp_path}/c --history {tmp_path}/h")
    kept = (tmp_path / "h").read_text()
    (tmp_path / "h").write_text(kept + kept.splitlines()[1].replace('"epoch": 2', '"epoch": 3') + '\n{"epoch": 4')
    assert run(f"{RESUMABLE} --epochs 4 --resume {tmp_path}/c --history {tmp_path}/h")[0] == 0
    text = (tmp_path / "h").read_text()
    assert text.startswith(kept)
    lines = [json.loads(line) for line in text.splitlines()]
    assert [(line["epoch"], line["step"]) for line in lines] == [(1, 4), (2, 8), (3, 8), (3, 12), (4, 16)]
    assert [line["step"] for line in valid_epochs(lines)] == [4, 8, 12, 16]
    before = (tmp_path / "h").read_text()
    assert run(f"{RESUMABLE} --epochs 1 --history {tmp_path}/h")[0] == 0
    assert (tmp_path / "h").read_text().startswith(before)
    assert run(f"plot curves {tmp_path}/h --out {tmp_path}/h.svg")[0] == 0


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
    "--resume {c} --data whole.npz --holdout 0": None,  # the same training samples: it is the same run
    "--resume {c} --data whole.npz --holdout 0.5": "another run: x is .* in the file and .* here",
    "--resume {c} --epochs 1": "epochs must be at least 2, .* got 1",
    "--checkpoint no/c": "no/c|No such file",
    "--checkpoint .": "directory|busy",
    "--checkpoint {c} --every 0": "every must be at least 1, got 0",
    "--checkpoint {c} --every 1.5": "--every.*1.5",
}


@pytest.mark.parametrize("flags", UNRESUMABLE)
def test_a_checkpoint_that_cannot_be_used_is_an_error_before_the_training(run, tmp_path, flags) -> None:
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


BAD = {
    # command: what the line on stderr must say
    "train --data classes.npz --precision tf32": r"precision must be one of float32 on Backend\('numpy'\), got 'tf32'",
    "train --data classes.npz --precision half": "precision must be one of 3xtf32, float32, tf32, got 'half'",
    "train --epoch 3": "--epoch",
    "train extra": "extra",
    "train --data nothere.npz": "nothere.npz.*glyphs",
    "train --data mnsit": "did you mean 'mnist'",
    "train --data bad.csv": "bad.csv, line 2: expected 2 cells, got 1",
    "train --data .": "train-images",
    "train --data junk.safetensors": "npz",
    "train --data classes.npz --output sigmoid": r"y must be 0 or 1, got y\[\d+\] = 2",
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
    "train --data classes.npz --optimizer sgd --beta1 0.9": "beta1 is not an option of 'sgd', got 0.9",
    "train --data classes.npz --optimizer momentum --beta2 0.9": "beta2 is not an option of 'momentum', got 0.9",
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
    "train --data classes.npz --batch-size 0": "error: --batch-size must be at least 1, got 0",
    "train --data classes.npz --patience 0": "patience must be at least 1, got 0",
    "train --data classes.npz --backend nmupy": "'nmupy'; did you mean 'numpy'",
    "train --data classes.npz --backend cupy:99": "backend 'cupy:99'",
    "train --data classes.npz --dtype float16": "dtype must be float32 or float64, got 'float16'",
    "train --data classes.npz --seed -1": r"seed must be in \[0, 2\*\*64\), got -1",
    "train --data classes.npz --history no/h": "no/h",
    "train --data classes.npz --save no/m": "no",
    "train --data classes.npz --save .": "save|directory",
    "train --data classes.npz --optimizer sgd --lr 1e30 --epochs 3": "step .* of epoch .*: NaN or infinity",
}


@pytest.mark.parametrize("command", BAD)
def test_errors_are_one_line_on_stderr_with_exit_code_2(refused, command) -> None:
    refused(command if "--backend" in command else f"{command} --backend numpy", BAD[command])


@pytest.mark.parametrize("flag", ["save", "history"])
@pytest.mark.parametrize("path", ["no/m", "."])
def test_a_file_that_cannot_be_written_is_an_error_before_the_training(refused, flag, path) -> None:
    """The error must not come only after hours of training."""
    out = refused(f"train --data classes.npz {QUICK} --{flag} {path}", f"{flag} must be a file in a directory")
    assert "epoch" not in out


def test_a_command_that_fails_leaves_the_old_model(run, tmp_path) -> None:
    path = tmp_path / "m"
    run(f"train --data classes.npz {QUICK} --save {path}")
    before = path.read_bytes()
    assert run(f"train --data classes.npz {QUICK} --optimizer sgd --lr 1e30 --save {path}")[0] == 2
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def wait_for_lines(path, count, process):
    """Wait until the file has this many lines."""
    deadline = time.monotonic() + 60
    while not path.exists() or path.read_text().count("\n") < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.skipif(os.name != "posix", reason="only POSIX has these signals")
def test_ctrl_c_ends_the_training_with_a_model_and_a_complete_history(start, folder, tmp_path) -> None:
    model, history = tmp_path / "m", tmp_path / "h"
    flags = (
        f"--data {folder}/classes.npz --hidden 8 --epochs 10000000 --backend numpy --save {model} --history {history}"
    )
    process = start("train", *flags.split())
    wait_for_lines(history, 3, process)
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


@pytest.mark.skipif(os.name != "posix", reason="only POSIX has these signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_the_training_with_a_checkpoint_that_can_be_resumed(run, start, folder, tmp_path, name) -> None:
    number = getattr(signal, name)
    flags = f"--data {folder}/classes.npz --hidden 8 --batch-size 7 --backend numpy --history {tmp_path}/h"
    process = start(
        "train", *flags.split(), "--epochs", "10000000", "--checkpoint", f"{tmp_path}/c", "--every", "1000000"
    )
    wait_for_lines(tmp_path / "h", 3, process)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (128 + number, "")
    assert re.search(r"^test accuracy \S+ %, test loss \S+$", out, re.MULTILINE)
    done = (tmp_path / "h").read_text().count("\n")
    options = f"train {flags} --epochs {done + 2}"
    assert run(f"{options} --resume {tmp_path}/c --save {tmp_path}/m1")[::2] == (0, "")
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


@pytest.mark.skipif(os.name != "posix", reason="only POSIX has these signals")
@pytest.mark.parametrize(
    ("first", "second", "code"),
    [("SIGINT", "SIGINT", 130), ("SIGTERM", "SIGINT", 130), ("SIGTERM", "SIGTERM", -15), ("SIGINT", "SIGTERM", -15)],
)
def test_a_second_signal_ends_the_program_at_once(tmp_path, first, second, code) -> None:
    """The previous checkpoint remains.  A process that SIGTERM has ended is -15 for Python and 143 for a shell."""
    text = SECOND.format(first=first, second=second)
    done = subprocess.run([sys.executable, "-c", text, f"{tmp_path}/c"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (code, "")
    assert checkpoint_files.read_sealed(tmp_path / "c")[1]["epoch"] == 0


def test_a_killed_run_leaves_a_history_of_complete_lines(start, folder, tmp_path) -> None:
    history = tmp_path / "h"
    flags = f"--data {folder}/classes.npz --hidden 8 --epochs 10000000 --backend numpy --history {history}"
    process = start("train", *flags.split())
    wait_for_lines(history, 1, process)
    process.kill()
    process.communicate(timeout=60)
    text = history.read_text()
    assert text.endswith("}\n")
    assert [json.loads(line)["epoch"] for line in text.splitlines()] == list(range(1, text.count("\n") + 1))


def test_two_ranks_print_and_write_what_one_rank_does(run, folder, tmp_path) -> None:
    """Two processes of mpiexec print everything once: the description, a line per epoch and the accuracy."""
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


def test_images_are_scaled_by_the_network_that_is_saved(run, tmp_path) -> None:
    """The scaling that fits the data goes with the model, so pixels as floats get the same answers."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (60, 20)), np.arange(60) % 3
    for name, dtype in (("bytes", "uint8"), ("floats", "float32")):
        np.savez(tmp_path / f"{name}.npz", x=x.astype(dtype), y=y)
        code, _, err = run(f"train --data {tmp_path}/{name}.npz {QUICK} --save {tmp_path}/{name}")
        assert (code, err) == (0, "")
    one, other = (xpdl.load(tmp_path / name) for name in ("bytes", "floats"))
    assert one.network.inputs == other.network.inputs == xpdl.Scaling.images
    assert np.array_equal(one.theta, other.theta)
    scores = [
        run(f"predict {tmp_path}/{name} --data {tmp_path}/{name}.npz")[1].splitlines()[1]
        for name in ("bytes", "floats")
    ]
    assert scores[0] == scores[1]


@pytest.mark.parametrize("output", ["poisson", "absolute", "huber", "huber:0.5", "quantile:0.9"])
def test_train_has_every_loss(output, run, tmp_path) -> None:
    x = np.random.default_rng(0).normal(size=(60, 3))
    np.savez(tmp_path / "values.npz", x=x, y=np.abs(x[:, 0]), x_test=x[:9], y_test=np.abs(x[:9, 0]))
    code, out, err = run(f"train --data {tmp_path}/values.npz --output {output} {QUICK} --save {tmp_path}/m")
    assert (code, err) == (0, "")
    assert f", {output}: " in out
    assert xpdl.load(tmp_path / "m").network.output == output
    assert run(f"check {tmp_path}/m --data {tmp_path}/values.npz")[0] == 0


def test_layers_clipping_and_classes_are_arguments_of_the_library(run, tmp_path) -> None:
    flags = "--hidden 5 4 --activation tanh elu:0.5 --clip 0.01 --class-weight balanced --epochs 2 --backend numpy"
    code, out, err = run(f"train --data classes.npz --validation 0 {flags} --save {tmp_path}/m")
    assert (code, err) == (0, "")
    assert "network 3-5-4-3, tanh-elu:0.5, softmax" in out
    data = xpdl.data.load("classes.npz")
    net = Network([3, 5, 4, 3], hidden=["tanh", "elu:0.5"], inputs=data.scaling)
    optimizer = xpdl.optimizers.clipped(xpdl.adam(), 0.01)
    options = {"epochs": 2, "batch_size": 6, "backend": "numpy", "progress": False, "class_weight": "balanced"}
    result = xpdl.train(net, data.x, data.y, optimizer=optimizer, **options)
    model = xpdl.load(tmp_path / "m")
    assert model.network == net
    assert np.array_equal(model.theta, result.theta)


def test_several_seeds_are_an_ensemble_in_one_file(run, tmp_path) -> None:
    flags = f"--data classes.npz {QUICK} --seed 4 --seeds 3 --save {tmp_path / 'm'} --history {tmp_path / 'h'}"
    code, out, _ = run(f"train --batch-size 6 --validation 0 {flags}")
    model = xpdl.load(tmp_path / "m")
    data = xpdl.data.load("classes.npz")
    alone = [
        xpdl.train(model.network, data.x, data.y, batch_size=6, epochs=2, seed=seed, backend="numpy", progress=False)
        for seed in (4, 5, 6)
    ]
    alone = [result.theta for result in alone]
    assert code == 0
    np.testing.assert_allclose(model.theta, alone, rtol=0, atol=1e-6)
    accuracy = [xpdl.evaluate(model.network, theta, *data.test, backend="numpy")["accuracy"] for theta in alone]
    numbers = 100 * np.array([np.mean(accuracy), np.std(accuracy, ddof=1), max(accuracy), min(accuracy)])
    spread = "mean {:.2f} %, deviation {:.2f} %, best {:.2f} %, worst {:.2f} %".format(*numbers)
    assert f"test accuracy: {spread}" in out
    probabilities = np.mean([model.network.predict_proba(theta, data.test[0]) for theta in alone], axis=0)
    right = 100 * np.mean(probabilities.argmax(axis=1) == data.test[1])
    line = f"ensemble of 3: test accuracy {right:.2f} %"
    assert line in out
    assert line in run(f"predict {tmp_path / 'm'} --data classes.npz --backend numpy")[1]
    assert len(json.loads((tmp_path / "h").read_text().splitlines()[-1])["loss"]) == 3
    assert run(f"plot curves {tmp_path / 'h'} --out {tmp_path / 'h.png'}")[0] == 0
