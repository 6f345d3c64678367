"""A table: every output of the commands, at every kind of target.  Nothing that exists is destroyed."""

from contextlib import closing, suppress
import os
from pathlib import Path
import shlex
import shutil
import socket
import sqlite3
import stat
import subprocess
import sys

import numpy as np
import pytest

import xpdl
from xpdl.cli import outputs
import xpdl.files.checkpoint
from xpdl.files.outputs import locked

TRAIN = "train --data classes.npz --hidden 4 --backend numpy"
ONCE = f"{TRAIN} --epochs 1"
TUNE = "tune --data classes.npz --trials 1 --epochs 1 --backend numpy"
COMMANDS = {
    "save": f"{ONCE} --save {{}}",
    "checkpoint": f"{ONCE} --checkpoint {{}}",
    "history": f"{ONCE} --history {{}}",
    "tune --save": f"{TUNE} --storage {{study}} --save {{}}",
    "storage": f"{TUNE} --storage {{}}",
    "journal": f"{TUNE} --storage {{}}",
    "plot": f"{TUNE} --storage {{study}} --plot {{}}",
    "out": "plot weights model.safetensors --shape 1 3 --out {}",
}
KINDS = {"tune --save": "save", "out": "plot"}
"""Outputs of the same kind."""

SUFFIXES = {"out": ".png", "plot": ".svg", "journal": ".journal", "storage": ".db"}
every_output = pytest.mark.parametrize("output", COMMANDS)
posix = pytest.mark.skipif(os.name != "posix", reason="these kinds of files are of POSIX")


@pytest.fixture(autouse=True)
def needed():
    pytest.importorskip("matplotlib")
    pytest.importorskip("optuna")


@pytest.fixture
def target(output, tmp_path):
    """A path in a folder of its own, with the suffix that the output needs."""
    return tmp_path / f"target{SUFFIXES.get(output, '')}"


@pytest.fixture
def write(run, output, tmp_path):
    """write(path, flags) runs the command that writes this output there -> exit code, stdout, stderr."""
    return lambda path, flags="": run(f"{command(output, path, tmp_path)} {flags}")


def command(output, path, folder):
    return COMMANDS[output].replace("{}", shlex.quote(str(path))).replace("{study}", f"{folder}/study.db")


def device(path):
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))  # another null
    except (OSError, AttributeError):
        pytest.skip("this user may not make devices")


def unix_socket(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def is_there(path):
    with suppress(OSError):
        return path.lstat()
    return None


IRREGULAR = {
    "device": device,
    "pipe": lambda path: os.mkfifo(path),
    "socket": unix_socket,
    "folder": lambda path: path.mkdir(),
    "symlink to a device": lambda path: path.symlink_to("/dev/null"),
    "symlink to a folder": lambda path: path.symlink_to("/tmp"),
    "symlink to itself": lambda path: path.symlink_to(path),
    "symlink to nowhere": lambda path: path.symlink_to(path.parent / "no" / "where"),
}


@posix
@every_output
@pytest.mark.parametrize("kind", IRREGULAR)
def test_what_is_no_regular_file_is_refused_before_the_work(write, target, kind) -> None:
    """Also with --force."""
    IRREGULAR[kind](target)
    before = is_there(target)
    for flags in ("", "--force") if "storage" not in kind else ("",):
        code, out, err = write(target, flags)
        assert (code, err.count("\n")) == (2, 1), err
        assert "epoch" not in out
        assert "trial" not in out
    now = is_there(target)
    assert (now.st_ino, now.st_mode) == (before.st_ino, before.st_mode)


FOREIGN = {
    "text": b"\\documentclass{article} % my thesis\n",
    "json": b'{"name": "settings"}\n',
    "binary": bytes(range(256)),
    "a picture of another program": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "one byte": b"x",
}


@every_output
@pytest.mark.parametrize("kind", FOREIGN)
def test_a_file_that_is_not_ours_is_replaced_by_force_only(write, target, output, kind) -> None:
    target.write_bytes(FOREIGN[kind])
    code, out, err = write(target)
    assert (code, err.count("\n"), target.read_bytes()) == (2, 1, FOREIGN[kind]), err
    assert "epoch" not in out
    if output not in ("storage", "journal"):
        assert "--force" in err
        assert write(target, "--force")[0] == 0
        assert target.read_bytes() != FOREIGN[kind]


@every_output
def test_files_of_the_other_outputs_are_not_ours_either(run, output, write, target, tmp_path) -> None:
    """A model is not overwritten by a checkpoint, nor a history by a picture."""
    for other in COMMANDS:
        if KINDS.get(other, other) == KINDS.get(output, output):
            continue
        path = tmp_path / f"other{SUFFIXES.get(other, '')}"
        assert run(command(other, path, tmp_path))[0] == 0
        target.write_bytes(before := path.read_bytes())
        assert write(target)[0] == 2
        assert target.read_bytes() == before
        for made in tmp_path.iterdir():
            made.unlink()


@every_output
def test_an_empty_file_is_written(write, target) -> None:
    target.touch()
    assert write(target)[0] == 0
    assert target.stat().st_size > 0


@posix
@every_output
@pytest.mark.parametrize("exists", [True, False])
def test_a_symlink_is_written_through(write, target, tmp_path, exists) -> None:
    (tmp_path / "elsewhere").mkdir()
    real = tmp_path / "elsewhere" / target.name
    if exists:
        real.touch()
    target.symlink_to(real)
    assert write(target)[0] == 0
    assert target.is_symlink()
    assert real.stat().st_size > 0


@posix
@every_output
@pytest.mark.parametrize("mode", [0o600, 0o664, 0o640])
def test_mode_and_owner_of_a_file_are_kept(write, target, mode) -> None:
    target.touch()
    target.chmod(mode)
    if os.geteuid() == 0:
        os.chown(target, 1234, 4321)
    before = target.stat()
    assert write(target)[0] == 0
    now = target.stat()
    assert (now.st_mode, now.st_uid, now.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


@posix
@every_output
def test_a_file_that_may_not_be_written_stays(write, target, output) -> None:
    target.touch()
    target.chmod(0o444)
    if output in ("history", "storage", "journal") and os.geteuid() == 0:
        pytest.skip("this user may write anywhere")
    assert write(target)[0] == 2
    assert target.stat().st_size == 0


@posix
@every_output
def test_a_full_disk_is_an_error_before_the_work(write, target, tmp_path) -> None:
    """A disk of 16 KiB, which has room for names only."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("this user may not mount")
    try:
        code, out, err = write(folder / target.name)
        assert (code, err.count("\n")) == (2, 1)
        assert "No space left" in err
        assert "epoch" not in out
        assert [path for path in folder.iterdir() if "study" not in path.name] == []
    finally:
        subprocess.run(["umount", folder], check=True)


@posix
@every_output
def test_a_read_only_disk_is_an_error_before_the_work(write, target, tmp_path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("this user may not mount")
    try:
        code, out, err = write(folder / target.name)
        assert (code, err.count("\n")) == (2, 1)
        assert "Read-only" in err or "unable to open" in err
        assert "epoch" not in out
    finally:
        subprocess.run(["umount", folder], check=True)


@every_output
@pytest.mark.parametrize("stem", ["long", "50%{x}?a=b&#é", " ", "a'b", "$1_^{"])
def test_names_that_the_system_allows_mean_themselves(write, target, output, stem) -> None:
    longest = 200 if output in ("storage", "journal") else 255  # SQLite and Optuna make files with longer names beside
    path = target.with_name(("n" * (longest - len(target.suffix)) if stem == "long" else stem) + target.suffix)
    code, _, err = write(path)
    assert (code, err) == (0, "")
    assert path.stat().st_size > 0


# One file for two purposes


@pytest.fixture
def data(folder, tmp_path):
    """Data in a file and in a folder, a model and a history, all in a folder of their own."""
    shutil.copy(folder / "classes.npz", tmp_path / "data.npz")
    (tmp_path / "shards").mkdir()
    for name in "xy":
        np.save(tmp_path / "shards" / f"{name}.npy", np.load(folder / "classes.npz")[name])
    shutil.copy(folder / "model.safetensors", tmp_path / "model.png")
    (tmp_path / "link.npz").symlink_to("data.npz")
    (tmp_path / "hard.npz").hardlink_to(tmp_path / "data.npz")
    (tmp_path / "h.svg").write_text('{"epoch": 1, "loss": 0.5}\n')
    return tmp_path


BASE = "train --data {}/data.npz --hidden 4 --epochs 1 --backend numpy"
ONE_FILE = [
    *(
        f"{BASE} --{flag} {{}}/{name}.npz"
        for flag in ("save", "checkpoint", "history")
        for name in ("data", "link", "hard")
    ),
    *(f"{BASE.replace('data.npz', 'shards')} --{flag} {{}}/shards/x.npy" for flag in ("save", "checkpoint", "history")),
    f"{BASE} --save {{}}/new --history {{}}/new",
    f"{BASE} --save {{}}/new --checkpoint {{}}/../{{name}}/new",
    f"{BASE} --checkpoint {{}}/new --history {{}}/new",
    f"{BASE} --resume {{}}/run --checkpoint {{}}/other --history {{}}/run",
    "tune --data {}/data.npz --storage {}/s.db --save {}/s.db --trials 1 --backend numpy",
    "tune --data {}/data.npz --storage {}/s.db --save {}/new.png --plot {}/new.png --trials 1 --backend numpy",
    "plot weights {}/model.png --out {}/model.png",
    "plot curves {}/h.svg --out {}/h.svg",
]


@pytest.mark.parametrize("line", ONE_FILE)
def test_two_outputs_and_an_output_and_an_input_are_two_files(run, data, line) -> None:
    """Also with --force."""
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    code, _, err = run(f"{line.replace('{name}', data.name).replace('{}', str(data))} --force")
    assert code == 2
    assert "must be two files" in err or "must be another file" in err
    assert {path: path.read_bytes() for path in data.rglob("*") if path.is_file()} == before


# A checkpoint of another run


@pytest.mark.parametrize("flags", ["--epochs 1", "--epochs 1 --seed 1", "--epochs 5", "--epochs 1 --optimizer sgd"])
def test_a_run_that_starts_does_not_replace_a_checkpoint(run, tmp_path, flags) -> None:
    run(f"{ONCE} --checkpoint {tmp_path}/run")
    before = (tmp_path / "run").read_bytes()
    code, _, err = run(f"{TRAIN} {flags} --checkpoint {tmp_path}/run")
    assert (code, (tmp_path / "run").read_bytes()) == (2, before)
    assert "--resume auto" in err
    assert "--force" in err
    assert run(f"{TRAIN} {flags} --checkpoint {tmp_path}/run --force")[0] == 0
    assert (tmp_path / "run").read_bytes() != before or flags == "--epochs 1"


def test_one_command_starts_a_run_and_goes_on_with_it(run, tmp_path) -> None:
    line = f"{TRAIN} --checkpoint {tmp_path}/run --resume auto --epochs {{}} --history {tmp_path}/h"
    for epochs, shown in ((2, ["1/2", "2/2"]), (2, []), (3, ["3/3"])):
        code, out, err = run(line.format(epochs))
        assert (code, err) == (0, "")
        assert [words.split()[1] for words in out.splitlines() if words.startswith("epoch")] == shown
    assert len((tmp_path / "h").read_text().splitlines()) == 3
    assert "needs a checkpoint" in run(f"{TRAIN} --resume auto")[2]


def test_a_run_that_resumes_one_file_does_not_replace_another(run, tmp_path) -> None:
    for name in "ab":
        run(f"{ONCE} --seed {'ab'.index(name)} --checkpoint {tmp_path}/{name}")
    before = (tmp_path / "b").read_bytes()
    code, _, err = run(f"{TRAIN} --epochs 2 --resume {tmp_path}/a --checkpoint {tmp_path}/b")
    assert (code, (tmp_path / "b").read_bytes()) == (2, before)
    assert "would be lost" in err


@posix
@pytest.mark.parametrize("flag", ["checkpoint", "history"])
def test_a_second_run_on_one_file_is_refused(run, tmp_path, flag) -> None:
    with locked(tmp_path / "file"):
        code, out, err = run(f"{ONCE} --{flag} {tmp_path}/file")
        assert (code, "epoch" in out) == (2, False)
        assert "another run is writing" in err
    assert run(f"{ONCE} --{flag} {tmp_path}/file")[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


# What a run has trained is saved


def test_the_model_is_saved_although_the_history_fails(run, tmp_path, monkeypatch) -> None:
    def fail(*arguments):
        raise OSError("no space left")

    monkeypatch.setattr(outputs, "append_line", fail)
    code, out, err = run(f"{TRAIN} --epochs 3 --history {tmp_path}/h --save {tmp_path}/m")
    assert (code, err) == (2, "xpdl: error: no space left\n")
    assert "epoch 3/3" in out
    assert xpdl.load(tmp_path / "m").metadata["epochs"] == 3


def test_the_model_is_saved_although_the_last_checkpoint_fails(run, tmp_path, monkeypatch) -> None:
    write, calls = xpdl.files.checkpoint.write_whole, []

    def fail_at_last(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise OSError("no space left")
        write(*arguments)

    monkeypatch.setattr(xpdl.files.checkpoint, "write_whole", fail_at_last)
    code, _, err = run(f"{TRAIN} --epochs 2 --checkpoint {tmp_path}/c --save {tmp_path}/m")
    assert (code, err) == (2, "xpdl: error: no space left\n")
    assert xpdl.load(tmp_path / "m").metadata["epochs"] == 2


@pytest.mark.parametrize("name", ["evaluate", "say"])
def test_the_model_is_saved_although_what_follows_fails(run, tmp_path, monkeypatch, name) -> None:
    def fail(*arguments, **options):
        raise OSError("broken")

    monkeypatch.setattr(f"xpdl.cli.prediction.{name}", fail)
    assert run(f"{ONCE} --save {tmp_path}/m")[0] == 2
    assert xpdl.load(tmp_path / "m").metadata["epochs"] == 1


def test_the_best_model_is_saved_although_its_picture_fails(run, tmp_path, monkeypatch) -> None:
    def fail(*arguments, **options):
        raise OSError("broken")

    monkeypatch.setattr("xpdl.cli.tuning.save_picture", fail)
    code, _, err = run(f"{TUNE} --storage {tmp_path}/s.db --save {tmp_path}/m --plot {tmp_path}/p.png")
    assert (code, err) == (2, "xpdl: error: broken\n")
    assert xpdl.load(tmp_path / "m").metadata["epochs"] == 1


def test_a_model_whose_folder_has_gone_is_saved_elsewhere(run, tmp_path, monkeypatch) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    train = xpdl.cli.training.run_training

    def train_and_lose_the_folder(*arguments, **options):
        folder.rmdir()
        return train(*arguments, **options)

    monkeypatch.setattr("xpdl.cli.training.run_training", train_and_lose_the_folder)
    code, _, err = run(f"{ONCE} --save {folder}/m")
    rescue = Path(err.partition("the model is in '")[2].partition("'")[0])
    assert (code, xpdl.load(rescue).metadata["epochs"]) == (2, 1)
    shutil.rmtree(rescue.parent)


@posix
@pytest.mark.parametrize("closing", ["| true", ">&-", "> /dev/full", "| head -1"])
def test_a_stdout_that_is_closed_or_full_costs_no_model(folder, tmp_path, closing) -> None:
    line = f"{sys.executable} -m xpdl {ONCE} --save {tmp_path}/m {closing}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], cwd=folder, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr
    assert xpdl.load(tmp_path / "m").metadata["epochs"] == 1
    assert done.returncode in {"| true": [1], ">&-": [0], "> /dev/full": [2], "| head -1": [0, 1]}[closing]


# Storage of others


def test_a_database_of_another_program_is_not_written(run, tmp_path) -> None:
    path = tmp_path / "accounts.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE accounts (name TEXT)")
        database.commit()
    before = path.read_bytes()
    code, _, err = run(f"{TUNE} --storage {path}")
    assert (code, path.read_bytes()) == (2, before)
    assert "is not a database of studies" in err
    with pytest.raises(FileExistsError):
        xpdl.tuning.tune(xpdl.Network([1, 1]), [[0.0]], [0], validation=([[0.0]], [0]), storage=path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "line", ["", '{"op_code": 0}', '{"op_code": "x", "worker_id": 3}', "not json", '{"op_code": 99}']
)
def test_a_journal_of_another_program_or_a_broken_one_is_an_error(run, tmp_path, line) -> None:
    path = tmp_path / "s.journal"
    path.write_text(f'{{"time": 1, "level": "INFO"}}\n{line}\n' if not line else f"{line}\n")
    before = path.read_bytes()
    code, _, err = run(f"{TUNE} --storage {path}")
    assert (code, err.count("\n"), path.read_bytes()) == (2, 1, before), err
