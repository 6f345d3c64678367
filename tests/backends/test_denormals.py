"""Denormal numbers: zero in the block, themselves before and after it, in this thread only."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from xpdl.backends import denormals
from xpdl.backends.denormals import FLUSH, Flushed

known = pytest.mark.skipif(denormals.PLACE is None or Flushed.libm is None, reason="this system is not in the table")
SMALL = np.full(64, 1e-38, "float32")
"""Half of it is a denormal number."""


def halved():
    """Half of a small number."""
    return float((SMALL * np.float32(0.5))[0])


@known
def test_in_a_block_they_are_zero_and_outside_they_are_not() -> None:
    assert halved() > 0
    with Flushed():
        assert halved() == 0
    assert halved() > 0


@known
def test_blocks_may_be_inside_one_another() -> None:
    with Flushed():
        with Flushed():
            assert halved() == 0
        assert halved() == 0
    assert halved() > 0


@known
def test_an_error_in_the_block_ends_it() -> None:
    with pytest.raises(ZeroDivisionError), Flushed():
        raise ZeroDivisionError
    assert halved() > 0


@known
def test_another_thread_is_as_it_was() -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(halved).result()  # the thread is there before the block
        with Flushed():
            assert pool.submit(halved).result() > 0


@known
def test_normal_numbers_are_what_they_are() -> None:
    x = np.geomspace(2e-38, 1e38, 1000, dtype="float32")
    with Flushed():
        inside = x * np.float32(1.5)
    assert np.array_equal(inside, x * np.float32(1.5))


def test_where_the_system_is_unknown_nothing_is_changed(monkeypatch) -> None:
    monkeypatch.setattr(Flushed, "libm", None)
    with Flushed():
        assert halved() > 0
    assert ("Linux", "x86_64") in FLUSH
