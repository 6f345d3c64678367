"""A table: every output of the commands, at every kind of target.  Nothing that exists is destroyed.

    kind of target                                    before                        the test
    device, pipe, socket, folder, links to them       a device was replaced         test_what_is_no_regular_file_...
    file of another program or of another output      it was overwritten            test_a_file_that_is_not_ours_...
    odd and long names                                ? and % had a meaning         test_names_that_the_system_...
    symlink, empty file                               the symlink was replaced      test_a_symlink_is_written_...
    file with a mode and an owner                     600 became 644                test_mode_and_owner_...
    read-only file                                    it was replaced               test_a_file_that_may_not_...
    read-only disk, full disk                         an error after the work       test_a_full_or_read_only_disk_...
    an input or another output, also through links    the data were destroyed       test_two_outputs_and_an_output_...
    checkpoint of another run                         it was overwritten            test_a_run_that_starts_...
    file that another run is writing                  both wrote                    test_a_second_run_...
    database or log of another program                tables were added             test_a_database_of_another_...
    history, picture, pipe or disk that fails         the model was lost            test_the_model_is_saved_...

Each test tries one output with all targets of its kind, because a command costs more than a test.
"""

from contextlib import closing, suppress
from itertools import count
import os
from pathlib import Path
import re
import shlex
import shutil
import socket
import sqlite3
import stat
import subprocess
import sys
from types import SimpleNamespace

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
def small_pictures(monkeypatch):
    """What a picture shows takes time, and is of no matter here."""
    figure = pytest.importorskip("matplotlib.figure").Figure
    pytest.importorskip("optuna")
    monkeypatch.setattr("xpdl.tuning.plot_trials", lambda study: figure((1, 1)))
    monkeypatch.setattr("xpdl.plots.weight_images", lambda *given, **options: SimpleNamespace(figure=figure((1, 1))))


@pytest.fixture
def targets(output, tmp_path):
    """targets(name="target") -> a path in a new folder, with the suffix that the output needs."""
    numbers = count()

    def new(name="target"):
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        return folder / f"{name}{SUFFIXES.get(output, '')}"

    return new


@pytest.fixture
def write(run, output, tmp_path):
    """write(path, flags) runs the command that writes this output there -> exit code, stdout, stderr."""
    numbers = count()
    return lambda path, flags="": run(f"{command(output, path, tmp_path / f'{next(numbers)}.journal')} {flags}")


def command(output, path, study):
    return COMMANDS[output].replace("{}", shlex.quote(str(path))).replace("{study}", str(study))


def device(path):
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))  # another null
    except (OSError, AttributeError):  # this user may not make devices
        path.symlink_to("/dev/null")


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
def test_what_is_no_regular_file_is_refused_before_the_work(write, targets, output, monkeypatch) -> None:
    """Also with --force."""
    for kind, make in IRREGULAR.items():
        target = targets("t")
        monkeypatch.chdir(target.parent)  # the path of a socket must be short
        make(Path(target.name))
        monkeypatch.undo()
        before = is_there(target)
        for flags in ("", "--force") if output not in ("storage", "journal") else ("",):
            code, out, err = write(target, flags)
            assert (code, err.count("\n")) == (2, 1), (kind, err)
            assert "epoch" not in out
            assert "trial" not in out
        now = is_there(target)
        assert (now.st_ino, now.st_mode) == (before.st_ino, before.st_mode), kind


FOREIGN = {
    "text": b"\\documentclass{article} % my thesis\n",
    "json": b'{"name": "settings"}\n',
    "binary": bytes(range(256)),
    "a picture of another program": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "one byte": b"x",
}


@pytest.fixture(scope="module")
def made(folder, tmp_path_factory):
    """A file of each output, by its kind."""
    place = tmp_path_factory.mktemp("made")
    before = Path.cwd()
    os.chdir(folder)
    try:
        for output in COMMANDS:
            line = command(output, place / f"{output}{SUFFIXES.get(output, '')}", place / "study.journal")
            assert xpdl.cli.main(shlex.split(line)) == 0
    finally:
        os.chdir(before)
    return {output: (place / f"{output}{SUFFIXES.get(output, '')}").read_bytes() for output in COMMANDS}


@every_output
def test_a_file_that_is_not_ours_is_replaced_by_force_only(write, targets, output, made) -> None:
    """Files of the other outputs are not ours either: a model is not overwritten by a checkpoint."""
    others = {kind: made[kind] for kind in made if KINDS.get(kind, kind) != KINDS.get(output, output)}
    for kind, content in (FOREIGN | others).items():
        target = targets()
        target.write_bytes(content)
        code, out, err = write(target)
        assert (code, err.count("\n"), target.read_bytes()) == (2, 1, content), (kind, err)
        assert "epoch" not in out
        if output not in ("storage", "journal"):
            assert "--force" in err
    if output not in ("storage", "journal"):
        assert write(target, "--force")[0] == 0
        assert target.read_bytes() != content


@posix
@every_output
def test_a_symlink_is_written_through(write, targets) -> None:
    """To an empty file, which holds nothing to lose, and to the place of a new one."""
    for exists in (True, False):
        target, real = targets(), targets("real")
        if exists:
            real.touch()
        target.symlink_to(real)
        assert write(target)[0] == 0
        assert target.is_symlink()
        assert real.stat().st_size > 0


@posix
@every_output
def test_mode_and_owner_of_a_file_are_kept(write, targets) -> None:
    for mode in (0o600, 0o664):
        target = targets()
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
def test_a_file_that_may_not_be_written_stays(write, targets, output) -> None:
    target = targets()
    target.touch()
    target.chmod(0o444)
    if output in ("history", "storage", "journal") and os.geteuid() == 0:
        pytest.skip("this user may write anywhere")
    assert write(target)[0] == 2
    assert target.stat().st_size == 0


DISKS = {"size=16k": "No space left", "ro": "Read-only|unable to open"}
"""Options of a disk: room for names only, or no writing.  What is said then."""


@posix
@every_output
def test_a_full_or_read_only_disk_is_an_error_before_the_work(write, targets) -> None:
    for options, said in DISKS.items():
        target = targets()
        disk = target.parent
        if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], capture_output=True).returncode:
            pytest.skip("this user may not mount")
        try:
            code, out, err = write(target)
            assert (code, err.count("\n"), "epoch" in out) == (2, 1, False)
            assert re.search(said, err)
            assert [*disk.iterdir()] == []
        finally:
            subprocess.run(["umount", disk], check=True)


@every_output
def test_names_that_the_system_allows_mean_themselves(write, targets, output) -> None:
    longest = 200 if output in ("storage", "journal") else 255  # SQLite and Optuna make files with longer names beside
    for stem in ("n" * (longest - len(SUFFIXES.get(output, ""))), "50%{x}?a=b&#é", " ", "a'b$1_^{"):
        path = targets(stem)
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
