"""Which calls of a step go to the side, what waits for what, and that both branches meet again in the end."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

from xpdl.backends.cuda.streams import MAIN, SIDE, Use, make, span, turns


def use(read, written):
    """Of memory whose bytes are letters."""
    return Use(*([(ord(letter), ord(letter) + 1) for letter in letters] for letters in (read, written)))


@pytest.mark.parametrize(
    ("uses", "expected"),
    {
        "one": ([("", "a")], [(MAIN, None)]),
        "a chain": ([("", "a"), ("a", "b"), ("b", "c")], [(MAIN, None)] * 3),
        "what nobody waits for": ([("", "a"), ("a", "b"), ("a", "c"), ("c", "d")],
                                  [(MAIN, None), (SIDE, 0), (MAIN, None), (MAIN, None)]),
        "both are waited for": ([("", "a"), ("a", "b"), ("a", "c"), ("c", "d"), ("bd", "e")],
                                [(MAIN, None), (SIDE, 0), (MAIN, None), (MAIN, None), (MAIN, 1)]),
        "a write after a read": ([("", "a"), ("", "b"), ("b", "c"), ("c", "e"), ("a", "d"), ("e", "a")],
                                 [(SIDE, None), (MAIN, None), (MAIN, None), (MAIN, None), (SIDE, None), (MAIN, 4)]),
        "a write after a write": ([("", "a"), ("", "b"), ("b", "c"), ("c", "a")],
                                  [(SIDE, None), (MAIN, None), (MAIN, None), (MAIN, 0)]),
        "once is enough": ([("", "a"), ("", "b"), ("b", "c"), ("ca", "d"), ("da", "e")],
                           [(SIDE, None), (MAIN, None), (MAIN, None), (MAIN, 0), (MAIN, None)]),
    }.values(),
)  # fmt: skip
def test_turns(uses, expected) -> None:
    assert turns([use(*letters) for letters in uses]) == expected


class Stream:
    """What is done on it must be done after ``known``."""

    current: "Stream | None" = None

    def __init__(self):
        self.known = set()

    def __enter__(self):
        Stream.current = self

    def __exit__(self, *error):
        Stream.current = None

    def record(self):
        return set(self.known)

    def wait_event(self, event):
        self.known |= event


@pytest.mark.parametrize("seed", range(20))
def test_calls_are_after_all_that_they_need_and_the_end_is_after_all(seed) -> None:
    rng = np.random.default_rng(seed)
    uses = [use(*("".join(rng.choice([*"abcdefgh"], size)) for size in (2, 1))) for _ in range(12)]
    main, side = Stream(), Stream()
    before = {"what came before"}
    main.known |= before

    def call(number):
        for earlier in range(number):
            one, other = uses[earlier], uses[number]
            kinds = product((one.read, one.written), (other.read, other.written))
            apart = all(set(a).isdisjoint(b) for a, b in list(kinds)[1:])
            assert apart or earlier in Stream.current.known
        assert before <= Stream.current.known
        Stream.current.known.add(number)

    make([lambda number=number: call(number) for number in range(12)], turns(uses), main, side)
    assert main.known == before | set(range(12))


@pytest.mark.parametrize(
    "view", [np.s_[:], np.s_[2:5, 1:3], np.s_[::-1, ::2], np.s_[3, ::-1], np.s_[4, 2, ...], np.s_[::3, :]]
)
def test_the_span_of_a_view(view) -> None:
    whole = np.zeros((7, 5), dtype="int16")
    x = whole[view]
    address = x.__array_interface__["data"][0]
    first, end = np.lib.array_utils.byte_bounds(np.asarray(x))
    assert span(SimpleNamespace(data=SimpleNamespace(ptr=address), **{name: getattr(x, name) for name in
                ("shape", "strides", "itemsize")})) == (first, end)  # fmt: skip
