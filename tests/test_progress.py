"""Progress: a bar on a terminal, lines elsewhere, nothing if it is switched off."""

import io
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from xpdl import Network, progress, train
from xpdl.progress import REFRESH, Bar, report

SHOW_CURSOR = "\x1b[?25h"


class Terminal(io.StringIO):
    """A terminal of 80 columns that records what is written to it."""

    def isatty(self) -> bool:
        return True

    @property
    def text(self) -> str:
        """The text without the escapes for colours and movements."""
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.getvalue())


@pytest.fixture
def terminal(monkeypatch):
    """A function that makes standard output a terminal."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)

    def switch():
        monkeypatch.setattr(sys, "stdout", Terminal())
        return sys.stdout

    return switch


def work(shown):
    with report(100, "training", shown=shown) as reporter:
        reporter.advance(50)
        reporter.line("half [bold]done[/bold] :smile: 0.5")
        reporter.advance(50)


def test_nothing_is_shown_if_it_is_switched_off(capfd) -> None:
    work(shown=False)
    assert capfd.readouterr() == ("", "")


def test_nothing_is_shown_on_a_terminal_if_it_is_switched_off(terminal) -> None:
    screen = terminal()
    work(shown=False)
    assert screen.getvalue() == ""


def test_a_dumb_terminal_gets_the_lines(terminal, monkeypatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    screen = terminal()
    work(shown=True)
    assert screen.getvalue() == "half [bold]done[/bold] :smile: 0.5\n"


def test_without_a_terminal_only_the_lines_are_printed(capfd) -> None:
    work(shown=True)
    assert capfd.readouterr() == ("half [bold]done[/bold] :smile: 0.5\n", "")


def test_a_line_is_printed_at_once(monkeypatch) -> None:
    """A reader at the end of a pipe sees each epoch of a long run when it ends."""
    flushed = []
    stream = SimpleNamespace(write=lambda text: None, flush=lambda: flushed.append(1), isatty=lambda: False)
    monkeypatch.setattr(sys, "stdout", stream)
    work(shown=True)
    assert flushed == [1]


def test_a_terminal_shows_a_bar_and_the_unchanged_lines(terminal) -> None:
    screen = terminal()
    work(shown=True)
    assert re.search(r"training .* 50%", screen.text)
    assert "half [bold]done[/bold] :smile: 0.5\n" in screen.text.replace("\r", "")
    assert screen.getvalue().rindex(SHOW_CURSOR) > screen.getvalue().rindex("50%")


def show_and_fail():
    with report(1, "training"):
        raise KeyboardInterrupt


def test_the_cursor_comes_back_when_the_work_fails(terminal) -> None:
    screen = terminal()
    with pytest.raises(KeyboardInterrupt):
        show_and_fail()
    assert SHOW_CURSOR in screen.getvalue()


def test_the_bar_moves_at_most_once_per_refresh(monkeypatch) -> None:
    """Progress in between is not lost."""
    now, moves = [100.0], []
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    bar = Bar(SimpleNamespace(advance=lambda task, amount: moves.append((task, amount))), "task")
    for _ in range(1000):
        bar.advance(2)
    assert moves == [("task", 2)]
    now[0] += 1.01 * REFRESH
    bar.advance(2)
    assert moves == [("task", 2), ("task", 2 * 1000)]


def test_training_on_a_terminal_prints_its_epochs_above_the_bar(terminal) -> None:
    x, y, screen = np.eye(3), np.arange(3), terminal()
    history = train(Network([3, 3]), x, y, epochs=3, backend="numpy").history
    lines = [line.split()[:4] for line in re.split(r"[\r\n]+", screen.text) if line.startswith("epoch")]
    assert lines == [["epoch", f"{metrics['epoch']}/3", "loss", f"{metrics['loss']:.4f}"] for metrics in history]
    assert "%" in screen.text


def test_a_long_line_is_not_broken_by_the_bar(terminal) -> None:
    """A terminal wraps lines itself; a line that is cut cannot be searched or copied."""
    line = "epoch 1/5  " + "  ".join(f"validation_number_{index} 0.123456" for index in range(5))
    screen = terminal()
    with report(1, "training") as reporter:
        reporter.line(line)
    assert line in screen.text


class Bare:
    """A stream that can only be written to, as some programs put in the place of stdout."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text


def failing(error):
    stream = Bare()
    stream.write = lambda text: (_ for _ in ()).throw(error)
    return stream


@pytest.mark.parametrize(
    "stream", [None, Bare(), failing(BrokenPipeError()), failing(OSError(28, "full")), failing(ValueError("closed"))]
)
def test_what_is_shown_never_ends_the_work(monkeypatch, stream) -> None:
    monkeypatch.setattr(sys, "stdout", stream)
    with progress.report(3, "working") as reporter:
        reporter.advance(1)
        reporter.line("half")
    assert not progress.on_terminal()
    if isinstance(stream, Bare) and "write" not in vars(stream):
        assert stream.text == "half\n"
    progress.LOST.clear()


def test_letters_that_a_stream_does_not_have_and_bytes_that_a_terminal_would_obey_are_escaped(monkeypatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    progress.say("é\x1b[2J\u202e postgresql://me:secret@host/db password=secret\tend")
    assert raw.getvalue() == b"\\xe9\\x1b[2J\\u202e postgresql://me:***@host/db password=***\tend\n"
