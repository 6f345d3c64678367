"""What threads share: one value for all, and a setting of the process that comes back as it was."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier, Event, Lock, Thread
import time
import warnings

import pytest

from xpdl.backends.shared import Setting, Shared, ignoring, once

THREADS = 8


def in_threads(function):
    """The results of ``function(barrier)`` in threads that begin together."""
    barrier = Barrier(THREADS)
    with ThreadPoolExecutor(THREADS) as pool:
        return [future.result() for future in [pool.submit(function, barrier) for _ in range(THREADS)]]


def test_threads_that_ask_together_get_one_value() -> None:
    @once
    def made(key):
        time.sleep(0.01)  # a plain cache would make one for each thread now
        return object()

    def ask(barrier):
        barrier.wait()
        return made("key")

    assert len(set(in_threads(ask))) == 1
    assert made("key") is not made("another")


def test_a_value_is_forgotten_on_request_and_an_error_is_not_kept() -> None:
    answers = iter([OSError("busy"), 1, 2])

    @once
    def made():
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    with pytest.raises(OSError, match="busy"):
        made()
    assert [made(), made()] == [1, 1]
    made.cache_clear()
    assert made() == 2


def test_the_last_thread_to_leave_restores_what_the_first_had_found() -> None:
    changes = []

    @contextmanager
    def changed():
        changes.append("on")
        yield
        changes.append("off")

    context, inside, go = Shared(changed, Lock()), Event(), Event()

    def first():
        with context:
            inside.set()
            go.wait()

    thread = Thread(target=first)
    thread.start()
    inside.wait()
    with context:
        go.set()
        thread.join()
        assert changes == ["on"]
    assert changes == ["on", "off"]


def test_filters_of_warnings_are_left_as_they_were_by_any_number_of_threads() -> None:
    before, context = warnings.filters[:], ignoring(UserWarning)

    def warn(barrier):
        barrier.wait()
        for _ in range(100):
            with context:
                warnings.warn("nothing to see", UserWarning, stacklevel=1)

    in_threads(warn)
    assert warnings.filters == before


class Library:
    value = "the user's"

    def read(self):
        return self.value

    def write(self, value):
        self.value = value


def test_threads_that_want_another_value_of_a_setting_wait() -> None:
    library = Library()
    setting = Setting("the precision", library.read, library.write)

    def use(barrier):
        number = barrier.wait() % 2
        for _ in range(20):
            with setting.at(number):
                time.sleep(1e-4)
                assert library.value == number

    in_threads(use)
    assert library.value == "the user's"


def test_a_setting_in_blocks_within_one_another_is_that_of_the_innermost() -> None:
    library = Library()
    setting = Setting("the precision", library.read, library.write)
    with setting.at(1):
        with setting.at(2):
            with setting.at(1):
                assert library.value == 1
            assert library.value == 2
        assert library.value == 1
    assert library.value == "the user's"


def test_threads_do_not_wait_for_one_another_for_ever() -> None:
    library = Library()
    setting, inside, go = Setting("the precision", library.read, library.write), Event(), Event()

    def first():
        with setting.at(1):
            inside.set()
            go.wait()

    thread = Thread(target=first)
    thread.start()
    inside.wait()
    with setting.at(1), pytest.raises(RuntimeError, match="cannot be 2: another thread"), setting.at(2):
        pass
    go.set()
    thread.join()
    assert library.value == "the user's"
