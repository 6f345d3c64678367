"""Progress of long work: a bar on a terminal, plain lines elsewhere, nothing if it is not wanted."""

from collections.abc import Iterator
from contextlib import contextmanager
import os
import sys
import time
from typing import Any

REFRESH = 0.1
"""Seconds between two updates of the bar."""


class Reporter:
    """Where work reports to; this one says nothing."""

    def advance(self, amount: float) -> None:
        """So much more is done."""

    def line(self, text: str) -> None:
        """A line that stays."""


class Lines(Reporter):
    """Only the lines."""

    def line(self, text: str) -> None:
        """Print it at once."""
        print(text, flush=True)


class Bar(Reporter):
    """A bar, with the lines above it."""

    def __init__(self, bar: Any, task: Any) -> None:
        self._bar, self._task = bar, task
        self._pending, self._due = 0.0, 0.0

    def advance(self, amount: float) -> None:
        """Move the bar, but not more often than the eye can see."""
        self._pending += amount
        if time.monotonic() >= self._due:
            self._bar.advance(self._task, self._pending)
            self._pending, self._due = 0.0, time.monotonic() + REFRESH

    def line(self, text: str) -> None:
        """Print it above the bar."""
        self._bar.console.print(text, highlight=False, markup=False, emoji=False, soft_wrap=True)


@contextmanager
def report(total: float, label: str, *, shown: bool = True) -> Iterator[Reporter]:
    """A reporter for ``total`` units of work."""
    if not shown:
        yield Reporter()
    elif not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        yield Lines()
    else:
        from rich.progress import Progress

        with Progress(transient=True) as bar:
            yield Bar(bar, bar.add_task(label, total=total))
