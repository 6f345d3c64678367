"""Signals during a run: the first one makes the run end after the step in progress, the second ends it at once."""

from collections.abc import Iterator
from contextlib import contextmanager
import signal
import threading
from types import FrameType


class Interrupt:
    """The number of the signal that asks the run to end; 0 if none has come."""

    signal = 0

    @property
    def requested(self) -> bool:
        """Whether a signal has come."""
        return self.signal != 0


@contextmanager
def interruptible(*signals: signal.Signals) -> Iterator[Interrupt]:
    """Within the block, the first of these signals sets ``requested``, and a second one has its usual effect.

    Nothing changes in other threads than the main one, which cannot handle signals, or for signals that are ignored.
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
    """Return the current handler of a signal; Python's default if it was not set by Python."""
    default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    found = signal.getsignal(number)
    return default if found is None else found
