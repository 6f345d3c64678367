"""Files that are written: whole or longer, by one run at a time.  tests/cli/test_outputs.py has a table of targets."""

import os
from pathlib import Path
import subprocess
import sys
from threading import Thread

from hypothesis import given, settings, strategies as st
import pytest

from xpdl.files import outputs
from xpdl.files.outputs import Kind, append_line, check, distinct, is_of, locked, mend_last_line, regular, write_whole

ANY = Kind("anything", lambda head: True)
posix = pytest.mark.skipif(os.name != "posix", reason="these locks and files are of POSIX")


def test_an_output_is_really_written_before_the_work(tmp_path, monkeypatch) -> None:
    made = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: made.append(os.fstat(descriptor).st_size))
    assert check("save", tmp_path / "m", ANY) == Path(os.path.realpath(tmp_path / "m"))
    assert made == [outputs.PROBE]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", ".", "no/where", "file/m", "\0"])
def test_a_place_that_can_hold_no_file_is_an_error_that_names_it(tmp_path, monkeypatch, name) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises((OSError, ValueError)):
        regular(name, "save")


@given(st.lists(st.binary(max_size=20).filter(lambda line: b"\n" not in line), max_size=5), st.integers(0, 40))
@settings(deadline=None)
def test_a_file_of_lines_only_grows(tmp_path_factory, lines, cut) -> None:
    """Whatever a killed writer has left of the last line, all complete lines stay, and the next one stands alone."""
    path = tmp_path_factory.mktemp("lines") / "h"
    path.write_bytes(whole := b"".join(b'{"text": 1}' + b" " * len(line) + b"\n" for line in lines))
    with path.open("ab") as file:
        file.write(b'{"epoch": 7, "loss": 0.25, "seconds": 1.5}'[:cut])
    mend_last_line(path)
    append_line(path, b"{}")
    assert path.read_bytes() == whole + b"{}\n"


def test_a_last_line_without_an_end_is_kept(tmp_path) -> None:
    path = tmp_path / "h"
    path.write_bytes(b'{"epoch": 1}')
    mend_last_line(path)
    append_line(path, b"{}")
    assert path.read_bytes() == b'{"epoch": 1}\n{}\n'


def test_a_line_that_does_not_fit_on_the_disk_leaves_no_part(tmp_path) -> None:
    pytest.importorskip("resource", reason="limits are of POSIX")
    text = f"""
import pathlib, resource, signal
from xpdl.files.outputs import append_line
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
path = pathlib.Path({str(tmp_path / "h")!r})
append_line(path, b"{{}}")
try:
    append_line(path, b"0123456789")
except OSError as error:
    print(path.read_bytes(), error.errno)
"""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith(r"b'{}\n'"), done.stderr


def test_one_file_under_two_names_is_one_file(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a").touch()
    Path("hard").hardlink_to("a")
    Path("soft").symlink_to("a")
    Path("dangling").symlink_to("new")
    for one, other in (("a", "./a"), ("a", "hard"), ("a", "soft"), ("new", "dangling"), ("new", tmp_path / "new")):
        with pytest.raises(ValueError, match="save and history must be two files"):
            distinct({"save": one, "history": other}, {})
        with pytest.raises(ValueError, match="save must be another file than data"):
            distinct({"save": one}, {"data": other})
        distinct({"save": one}, {"data": other}, together=[("save", "data")])
    distinct({"save": "a", "history": "new"}, {"data": "b"})


def test_a_new_file_may_lie_beside_the_data(tmp_path) -> None:
    (tmp_path / "x.npy").touch()
    distinct({"save": tmp_path / "m"}, {"data": tmp_path})
    with pytest.raises(ValueError, match="another file"):
        distinct({"save": tmp_path / "x.npy"}, {"data": tmp_path})


def test_the_longest_name_is_written(tmp_path) -> None:
    for name in ("n" * 255, "é" * 127):
        write_whole(tmp_path / name, b"content")
        with locked(tmp_path / name):
            assert (tmp_path / name).read_bytes() == b"content"
    assert len([*tmp_path.iterdir()]) == 2


@posix
def test_a_private_file_is_never_readable_by_others(tmp_path, monkeypatch) -> None:
    path, modes = tmp_path / "m", []
    path.touch()
    path.chmod(0o600)
    monkeypatch.setattr(os, "fsync", lambda descriptor: modes.append(os.fstat(descriptor).st_mode & 0o777))
    write_whole(path, b"secret")
    assert modes[0] == 0o600
    assert path.stat().st_mode & 0o777 == 0o600


@posix
def test_one_run_at_a_time(tmp_path) -> None:
    """In one process, in threads and in processes; a lock that a killed process has left is none."""
    path = tmp_path / "run"
    said = []

    def try_it():
        try:
            with locked(path):
                said.append("had it")
        except BlockingIOError as error:
            said.append(str(error))

    text = f"from xpdl.files.outputs import locked\nwith locked({str(path)!r}): print('had it')"
    with locked(path):
        thread = Thread(target=try_it)
        thread.start()
        thread.join()
        done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60)
    assert said == [f"another run is writing '{path}'; give this one another file"]
    assert "BlockingIOError" in done.stderr
    (tmp_path / ".run.lock").touch()
    try_it()
    assert said[1] == "had it"
    assert list(tmp_path.iterdir()) == []


@posix
def test_a_lock_follows_symlinks_and_is_none_itself(tmp_path) -> None:
    (tmp_path / "link").symlink_to("run")
    with locked(tmp_path / "link"), pytest.raises(BlockingIOError), locked(tmp_path / "run"):
        pass
    (tmp_path / ".run.lock").symlink_to("victim")
    with pytest.raises(OSError, match="symbolic"), locked(tmp_path / "run"):
        pass
    assert not (tmp_path / "victim").exists()


@posix
@pytest.mark.parametrize("kind", ["file", "pipe"])
def test_a_file_in_the_place_of_a_lock_is_not_removed(tmp_path, kind) -> None:
    lock = tmp_path / ".run.lock"
    lock.write_bytes(b"mine") if kind == "file" else os.mkfifo(lock)
    with pytest.raises(FileExistsError, match="'.*/.run.lock' must be free to lock '.*/run'"), locked(tmp_path / "run"):
        pass
    assert lock.exists()


@posix
def test_a_lock_that_has_become_a_file_stays(tmp_path) -> None:
    with locked(tmp_path / "run"):
        (tmp_path / ".run.lock").write_bytes(b"a history of this name")
    assert (tmp_path / ".run.lock").exists()


def test_long_names_with_the_same_beginning_have_locks_of_their_own(tmp_path) -> None:
    with locked(tmp_path / ("n" * 200 + "1")), locked(tmp_path / ("n" * 200 + "2")):
        assert len([*tmp_path.iterdir()]) == (2 if os.name == "posix" else 0)


@posix
def test_a_file_of_another_user_is_not_replaced(tmp_path, monkeypatch) -> None:
    """In a folder where everybody may write, its owner would be another one."""
    (tmp_path / "theirs").write_bytes(b"x")
    monkeypatch.setattr(os, "access", lambda path, mode, **more: False)
    for write in (lambda path: check("save", path, ANY), lambda path: write_whole(path, b"y")):
        with pytest.raises(PermissionError, match="read-only"):
            write(tmp_path / "theirs")
    assert (tmp_path / "theirs").read_bytes() == b"x"


def test_a_kind_is_told_by_the_head_and_an_empty_file_is_of_every_kind(tmp_path) -> None:
    kind = Kind("text", lambda head: head.startswith(b"text"))
    for content, expected in ((None, True), (b"", True), (b"text", True), (b"other", False)):
        path = tmp_path / str(content)
        if content is not None:
            path.write_bytes(content)
        assert is_of(kind, path) is expected
