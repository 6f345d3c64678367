"""``--ranks`` becomes the launcher's command line; what launchers tell is read."""

import os
import sys

import pytest

from xpdl.distributed import launching
from xpdl.distributed.launching import command, launch, started


@pytest.fixture
def mpiexec(tmp_path, monkeypatch):
    """An mpiexec beside this Python, and another on the path."""
    for folder in ("beside", "elsewhere"):
        path = tmp_path / folder / "mpiexec"
        path.parent.mkdir()
        path.write_text("")
        path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "beside" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "elsewhere"))
    monkeypatch.setattr(launching, "find_spec", lambda name: name == "mpi4py" or None)
    for name in (name for pair in launching.TOLD for name in pair):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "beside" / "mpiexec"


def test_the_command_is_that_of_mpiexec(mpiexec) -> None:
    arguments = ["train", "--ranks", "3", "--data", "a folder"]
    line = [str(mpiexec), "-n", "3", sys.executable, "-P", "-m", "mpi4py", "-m", "xpdl", *arguments]
    assert command(3, ["-m", "xpdl", *arguments]) == line
    mpiexec.unlink()
    assert command(3, [])[0] == str(mpiexec.parents[1] / "elsewhere" / "mpiexec")


def test_what_is_missing_is_said(mpiexec, monkeypatch) -> None:
    monkeypatch.setattr(launching, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'ranks need MPI: pip install "xpdl\[mpi\]"'):
        command(2, [])
    monkeypatch.undo()
    monkeypatch.setattr(launching.shutil, "which", lambda *name, **path: None)
    with pytest.raises(ImportError, match="ranks need MPI"):
        command(2, [])


@pytest.mark.parametrize(
    ("ranks", "given", "threads"), [(2, None, "4"), (3, None, "2"), (16, None, "1"), (2, "7", "7")]
)
def test_the_launcher_takes_the_place_of_this_process(mpiexec, monkeypatch, ranks, given, threads) -> None:
    """The launcher also gives each rank its share of the cores."""
    calls = []
    monkeypatch.setattr(os, "execve", lambda *arguments: calls.append(arguments))
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    launch(ranks, ["train"])
    ((path, line, environment),) = calls
    assert (path, line) == (str(mpiexec), command(ranks, ["-m", "xpdl", "train"]))
    assert environment["OMP_NUM_THREADS"] == threads
    assert environment["PATH"] == os.environ["PATH"]
    assert environment["OMPI_MCA_hwloc_base_binding_policy"] == "none"


@pytest.mark.parametrize(("terminal", "expected"), [(True, "xterm"), (False, "dumb")])
def test_ranks_have_a_dumb_terminal_if_the_launcher_has_none(mpiexec, monkeypatch, terminal, expected) -> None:
    calls = []
    monkeypatch.setattr(os, "execve", lambda *arguments: calls.append(arguments))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    monkeypatch.setenv("TERM", "xterm")
    launch(2, ["train"])
    assert calls[0][2]["TERM"] == expected


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, (0, 1)),
        ({"PMI_RANK": "2", "PMI_SIZE": "4"}, (2, 4)),
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "3"}, (1, 3)),
        ({"PMI_RANK": "0", "PMI_SIZE": "1", "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "3"}, (1, 3)),
        ({"PMI_SIZE": "4"}, (0, 1)),
    ],
)
def test_rank_and_size_are_those_the_launcher_says(mpiexec, monkeypatch, told, expected) -> None:
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert started() == expected


def test_ranks_do_not_start_ranks(mpiexec, monkeypatch) -> None:
    monkeypatch.setenv("PMI_RANK", "0")
    monkeypatch.setenv("PMI_SIZE", "2")
    with pytest.raises(ValueError, match="ranks must be 2, the number of running ranks, got 3"):
        launch(3, [])


@pytest.mark.parametrize(
    "told", [("x", "4"), ("0", ""), ("-1", "2"), ("1.5", "2"), ("", ""), ("0", "9" * 5000), ("0", "\u0663")]
)
def test_variables_that_hold_no_numbers_are_of_no_launcher(monkeypatch, told) -> None:
    for name, value in zip(launching.TOLD[0], told, strict=True):
        monkeypatch.setenv(name, value)
    assert launching.started() == (0, 1)
