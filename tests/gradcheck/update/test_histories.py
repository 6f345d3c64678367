"""Histories: large and small beside epsilon, and with a theta to decay only if it decays."""

import numpy as np
import pytest

from xpdl.gradcheck.update.histories import long_histories, short_histories
from xpdl.gradcheck.update.measure import Measurements

NOTHING = Measurements(1e10, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.9, 0.999, 1.0)
DECAYING = NOTHING._replace(epsilon=1e-4, decay=0.1, balance=0.3)


def test_short_histories_have_three_steps() -> None:
    assert {len(grads) for _, grads in short_histories(DECAYING)} == {3}
    assert {theta for theta, _ in short_histories(NOTHING)} == {0.0}
    assert {theta for theta, _ in short_histories(DECAYING)} == {0.0, 1.0}


def test_gradients_are_large_beside_epsilon_and_as_small() -> None:
    sizes = [float(np.max(np.abs(grads))) for theta, grads in short_histories(DECAYING) if theta == 0]
    assert max(sizes) == DECAYING.unit == 100
    assert min(sizes) < 1e-4


def test_a_seed_is_one_set_of_long_histories() -> None:
    one, same, other = (long_histories(DECAYING, 12, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert {len(grads) for _, grads in one} == {12}
    for (a, g), (b, h), (_, k) in zip(one, same, other, strict=True):
        assert a == b
        assert np.array_equal(g, h)
        assert not np.array_equal(g, k)
    assert [theta for theta, _ in one] == pytest.approx([0, 0, 0, 0, 1, -1])
