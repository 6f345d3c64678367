"""Signals during a run: the first asks it to end after the step in progress, the second ends it at once."""

from collections.abc import Iterator
from contextlib import contextmanager
import signal
import threading
from types import FrameType


class Interrupt:
    """Whether somebody has asked to stop, and by which signal."""

    signal = 0

    @property
    def requested(self) -> bool:
        """Whether there was a signal."""
        return self.signal != 0


@contextmanager
def interruptible(*signals: signal.Signals) -> Iterator[Interrupt]:
    """Within the block the first of these signals makes ``requested`` true; the second does what it did before.

    Where signals cannot be handled (in other than the main thread) or are ignored, nothing changes.
    """
    interrupt, previous = Interrupt(), {number: _handler(number) for number in signals}
    if threading.current_thread() is not threading.main_thread():
        previous = {}
    previous = {number: handler for number, handler in previous.items() if handler is not signal.SIG_IGN}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def handle(number: int, frame: FrameType | None) -> None:
        interrupt.signal = number
        restore()

    for number in previous:
        signal.signal(number, handle)
    try:
        yield interrupt
    finally:
        restore()


def _handler(number: signal.Signals) -> "signal._HANDLER":
    """What the signal does now; what another language has set cannot be asked for, so Python's default."""
    default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    found = signal.getsignal(number)
    return default if found is None else found
