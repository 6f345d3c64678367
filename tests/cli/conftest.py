"""What the tests of the commands share: small data files, and a way to run a command in this process."""

import re
import shlex
import subprocess
import sys

import numpy as np
import pytest

import xpdl
from xpdl import Network
from xpdl.cli import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of small data files, a file that is no model, and a model.

    classes.npz has three classes and a test part, two.npz two classes; whole.npz has no test part; the labels of
    onehot.npz are one-hot, of floats.npz floating, of signs.npz -1 and 1; values.npz has two targets, wide.npz four
    features; bad.csv is malformed.
    """
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
    """run("train --data classes.npz ...") runs the command in ``folder`` -> exit code, stdout, stderr."""
    monkeypatch.chdir(folder)

    def run(command):
        code = main(shlex.split(command))
        return code, *capfd.readouterr()

    return run


@pytest.fixture
def refused(run):
    """refused("train --lr fast", pattern): one line on stderr matches the pattern, exit code 2 -> stdout."""

    def refused(command, pattern):
        code, out, err = run(command)
        assert code == 2
        assert re.fullmatch(r"xpdl: error: .+\n", err)
        assert re.search(pattern, err), err
        return out

    return refused


@pytest.fixture
def start():
    """start("train", ...) starts the command in a process of its own."""

    def start(*arguments: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "xpdl", *arguments]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start
