"""Memory: what functions keep between calls is put back, wherever it can be reached."""

from functools import partial

import pytest

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


def wrapped(function):
    return lambda: function()


@pytest.mark.parametrize(("depth", "restored"), [(1, True), (4, True), (5, False)])
def test_four_references_are_followed(depth, restored) -> None:
    function = counter = Counter()
    for _ in range(depth):
        function = wrapped(function)
    memory = Memory(function)
    function()
    memory.restore()
    assert counter.calls == (0 if restored else 1)


def test_the_first_thousand_items_are_followed() -> None:
    counters = [Counter() for _ in range(2000)]
    memory = Memory(lambda: counters)
    for counter in counters:
        counter()
    memory.restore()
    assert [counter.calls for counter in counters] == [0] * 1000 + [1] * 1000


class Global:
    def __call__(self):
        COUNTER.count()


def test_defaults_and_methods_are_followed_and_what_is_not_there_yet_is_not() -> None:
    def by_default(counter=COUNTER):
        counter()

    def by_keyword(*, counter=COUNTER):
        counter()

    def by_name(end=False):
        by_default()
        return later if end else None

    for function in (by_default, by_keyword, by_name, Global()):
        memory = Memory(function)
        function()
        assert COUNTER.calls == 1
        memory.restore()
        assert COUNTER.calls == 0
    later = 0
