"""Memory: what functions keep between calls is put back, wherever it can be reached."""

from functools import partial

from xpdl.gradcheck.function.memory import Memory


class Counter:
    def __init__(self):
        self.calls, self.log = 0, []

    def __call__(self, theta=None):
        self.calls += 1
        self.log.append(theta)

    count = __call__


COUNTER = Counter()


def by_global_name(theta=None):
    COUNTER.count(theta)


def test_attributes_lists_and_dicts_are_put_back() -> None:
    counter, kept = Counter(), {"last": 1.0}

    def closure(theta=None):
        kept["last"] = theta
        counter(theta)

    for function in (counter, counter.count, partial(counter, 1), lambda: counter(2), closure):
        memory = Memory(function)
        function()
        assert (counter.calls, len(counter.log)) == (1, 1)
        memory.restore()
        assert (counter.calls, counter.log, kept) == (0, [], {"last": 1.0})


def test_a_global_name_is_followed() -> None:
    memory = Memory(by_global_name)
    by_global_name(3)
    memory.restore()
    assert (COUNTER.calls, COUNTER.log) == (0, [])


def test_functions_without_memory_are_no_error() -> None:
    Memory(abs, print, int).restore()
