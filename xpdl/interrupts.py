"""Ctrl-C during a run: the first asks it to end after the step in progress, the second ends it at once."""

from collections.abc import Iterator
from contextlib import contextmanager
import signal
import threading
from types import FrameType


class Interrupt:
    """Whether the user has asked to stop."""

    requested = False


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Within the block SIGINT sets ``requested``; a second one raises ``KeyboardInterrupt`` as usual.

    Where signals cannot be handled (in other than the main thread) or are ignored, nothing changes.
    """
    interrupt = Interrupt()
    previous = signal.getsignal(signal.SIGINT) or signal.default_int_handler
    if threading.current_thread() is not threading.main_thread() or previous is signal.SIG_IGN:
        yield interrupt
        return

    def handle(number: int, frame: FrameType | None) -> None:
        interrupt.requested = True
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, handle)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, previous)
