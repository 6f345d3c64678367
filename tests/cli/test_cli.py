"""The command line as a whole: help, the version, ranks, and one line with exit code 2 for each error."""

import io
import os
from pathlib import Path
import subprocess
import sys

import pytest

import xpdl
from xpdl import cli
from xpdl.cli import training


@pytest.mark.parametrize("command", ["", "--help", "train --help", "predict --help"])
def test_help(run, command) -> None:
    code, out, err = run(command)
    assert (code, err) == (0, "")
    assert "Usage" in out
    assert ("train" in out) if command in ("", "--help") else ("--data" in out)


def test_version(run) -> None:
    assert run("--version") == (0, f"{xpdl.__version__}\n", "")


def test_an_unknown_command_gets_the_closest_one(refused) -> None:
    refused("trian", "trian.*train")


@pytest.mark.parametrize(
    ("error", "said"), [(ValueError("first\n  second\n"), "first second"), (MemoryError(), "MemoryError()")]
)
def test_an_error_of_several_lines_or_none_is_one_line(run, monkeypatch, error, said) -> None:
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(training, "load_and_split", fail)
    assert run("train") == (2, "", f"xpdl: error: {said}\n")


@pytest.mark.skipif(os.name != "posix", reason="only POSIX has these signals")
def test_ctrl_c_before_the_training_is_exit_code_130_without_a_traceback() -> None:
    text = """
import signal, sys, xpdl.cli, xpdl.cli.training
xpdl.cli.training.load_and_split = lambda *arguments, **options: signal.raise_signal(signal.SIGINT)
sys.exit(xpdl.cli.main(["train"]))
"""
    run = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout, run.stderr) == (130, "", "")


@pytest.mark.parametrize("lines", [1, 3])
def test_a_closed_pipe_gives_no_traceback(start, folder, lines) -> None:
    """``xpdl train | head -1`` closes the pipe after a line."""
    flags = f"--data {folder}/classes.npz --hidden 8 --epochs 20000 --backend numpy"
    process = start("train", *flags.split())
    for _ in range(lines):
        assert process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=60) == 1


class WithoutTerminal:
    """What some programs put in the place of stdout."""

    def write(self, text):
        return len(text)

    def flush(self):
        pass


def failing(error):
    stream = WithoutTerminal()
    stream.write = lambda text: (_ for _ in ()).throw(error)
    return stream


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


STREAMS = {
    "None": lambda: None,
    "without isatty": WithoutTerminal,
    "closed": closed,
    "a closed pipe": lambda: failing(BrokenPipeError()),
    "full": lambda: failing(OSError(28, "full")),
    "ASCII": lambda: io.TextIOWrapper(io.BytesIO(), encoding="ascii"),
    "Latin-1": lambda: io.TextIOWrapper(io.BytesIO(), encoding="latin-1"),
}
CODES = {"a closed pipe": 1, "full": 2}
LINES = ["backends", "train --data classes.npz --epochs 1 --backend numpy --save m", "x é"]
HELP = ["--version", "train --help"]  # other libraries print these, and expect to be able to


@pytest.mark.parametrize("name", STREAMS)
def test_every_command_stands_up_to_every_stream(folder, monkeypatch, name) -> None:
    """As stdout and as stderr."""
    monkeypatch.chdir(folder)
    for stream in ("stdout", "stderr"):
        for line in LINES + HELP * (name not in {"closed", *CODES}):
            with monkeypatch.context() as patch:
                patch.setattr(sys, stream, STREAMS[name]())
                code = cli.main(line.split())
            expected = 2 if line == "x é" else CODES.get(name, 0) if stream == "stdout" else 0
            assert code == expected, (stream, line)
    xpdl.load(folder / "m")


def test_ranks_are_started_with_the_same_flags(run, monkeypatch) -> None:
    calls = []
    monkeypatch.setattr(cli, "launch", lambda ranks, arguments: calls.append((ranks, arguments)) or 7)
    assert run("train --data classes.npz --ranks 3")[0] == 7
    assert calls == [(3, ["train", "--data", "classes.npz", "--ranks", "3"])]
    assert run("train --data classes.npz --hidden 4 --epochs 2 --backend numpy --ranks 1")[0] == 0
    assert len(calls) == 1
    assert run("train --ranks 0")[::2] == (2, "xpdl: error: --ranks must be at least 1, got 0\n")


def test_rank_0_alone_reports_an_error_of_all_ranks(run, monkeypatch) -> None:
    """The other ranks wait for rank 0.  Another rank reports an error that only it has, with a traceback."""
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
