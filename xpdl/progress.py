"""Show the progress of long work: a bar on a terminal, plain lines elsewhere, and nothing if it is switched off.

What is shown never ends the work: a stream may be closed, full, missing, or unable to write a letter.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
import os
import sys
import time
from typing import Any

from xpdl.checks import plain

REFRESH = 0.1
"""Seconds between two updates of the bar."""


SILENT = (AttributeError, OSError, ValueError)
"""Errors of a stream that is None or of another kind, a closed pipe or a full disk, and a stream that is closed."""


LOST: dict[str, OSError] = {}
"""The last error of each stream, by its name: a closed pipe, as in ``xpdl ... | head``, or a full disk."""


def say(text: str, to: str = "stdout", *, coloured: bool = False) -> None:
    """Print a text to "stdout" or "stderr" at once, if that is possible; only a coloured one may steer a terminal."""
    stream, shown = getattr(sys, to), text if coloured else plain(text)
    with suppress(*SILENT):
        encoding = getattr(stream, "encoding", None) or "utf-8"
        try:
            stream.write(f"{shown}\n".encode(encoding, "backslashreplace").decode(encoding))
            stream.flush()
        except OSError as error:
            LOST[to] = error


def on_terminal() -> bool:
    """Return whether stdout is a terminal."""
    with suppress(*SILENT):
        return bool(sys.stdout.isatty())
    return False


class Reporter:
    """Receives the progress of some work; this one shows nothing."""

    def advance(self, amount: float) -> None:
        """Note that this amount of work has been done."""

    def line(self, text: str) -> None:
        """Show a line that stays."""


class Lines(Reporter):
    """Prints the lines, without a bar."""

    def line(self, text: str) -> None:
        """Print the line at once."""
        say(text)


class Bar(Reporter):
    """Shows a bar, and the lines above it."""

    def __init__(self, bar: Any, task: Any) -> None:
        self._bar, self._task = bar, task
        self._pending, self._due = 0.0, 0.0

    def advance(self, amount: float) -> None:
        """Move the bar, at most once in REFRESH seconds."""
        self._pending += amount
        if time.monotonic() >= self._due:
            with suppress(*SILENT):
                self._bar.advance(self._task, self._pending)
            self._pending, self._due = 0.0, time.monotonic() + REFRESH

    def line(self, text: str) -> None:
        """Print the line above the bar."""
        with suppress(*SILENT):
            self._bar.console.print(plain(text), highlight=False, markup=False, emoji=False, soft_wrap=True)


@contextmanager
def report(total: float, label: str, *, shown: bool = True) -> Iterator[Reporter]:
    """Within the block, give a reporter for ``total`` units of work."""
    if not shown:
        yield Reporter()
    elif not on_terminal() or os.environ.get("TERM") == "dumb":
        yield Lines()
    else:
        from rich.progress import Progress

        with Progress(transient=True) as bar:
            yield Bar(bar, bar.add_task(label, total=total))
