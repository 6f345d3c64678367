"""Packing and unpacking theta."""

import numpy as np
import pytest

from xpdl.layout import Layout

LAYOUT = Layout((3, 4, 2))


def test_weights_come_first_then_biases() -> None:
    """The order is part of the file format and of every L2 term."""
    assert LAYOUT.names == ["W1", "W2", "b1", "b2"]
    assert LAYOUT.shapes == [(3, 4), (4, 2), (4,), (2,)]
    assert (LAYOUT.size, LAYOUT.n_weights) == (26, 20)


def test_unpack_gives_each_entry_its_place(lib) -> None:
    (w1, b1), (w2, b2) = LAYOUT.unpack(lib.put(np.arange(26.0)))
    lib.close(w1, np.arange(12.0).reshape(3, 4))
    lib.close(w2, np.arange(12.0, 20.0).reshape(4, 2))
    lib.close(b1, np.arange(20.0, 24.0))
    lib.close(b2, np.arange(24.0, 26.0))


@pytest.mark.parametrize("lead", [(), (5,), (2, 3)])
def test_pack_inverts_unpack_for_any_leading_axes(lib, lead) -> None:
    theta = np.random.default_rng(0).standard_normal((*lead, 26))
    theta = theta.astype(lib.dtype)
    lib.close(lib.call(lambda t: LAYOUT.pack(LAYOUT.unpack(t)), lib.put(theta)), theta)


def test_unpack_gives_views_on_numpy() -> None:
    theta = np.zeros(26)
    for w, b in LAYOUT.unpack(theta):
        w += 1
        b += 2
    assert theta.tolist() == [1.0] * 20 + [2.0] * 6


def test_pack_copies() -> None:
    theta = np.zeros(26)
    packed = LAYOUT.pack(LAYOUT.unpack(theta))
    assert not np.shares_memory(theta, packed)
