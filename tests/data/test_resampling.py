"""Weights of folds and of bootstrap samples."""

from hypothesis import given, strategies as st
import numpy as np
import pytest

from xpdl.data import bootstraps, folds


@given(st.integers(2, 40), st.integers(2, 9), st.integers(0, 5))
def test_each_sample_is_left_out_by_one_network(n, k, seed) -> None:
    k = min(n, k)
    weight = folds(n, k, seed=seed)
    assert weight.shape == (k, n)
    assert (weight.sum(axis=0) == k - 1).all()
    assert np.ptp(weight.sum(axis=1)) <= 1
    assert np.array_equal(weight, folds(n, k, seed=seed))


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 5))
def test_a_bootstrap_sample_has_n_samples(n, k, seed) -> None:
    weight = bootstraps(n, k, seed=seed)
    assert weight.shape == (k, n)
    assert (weight.sum(axis=1) == n).all()
    assert np.array_equal(weight, bootstraps(n, k + 1, seed=seed)[:k])


def test_seeds_and_networks_have_their_own_draws() -> None:
    assert len({row.tobytes() for seed in (0, 1) for row in bootstraps(20, 3, seed=seed)}) == 6
    assert len({folds(20, 2, seed=seed).tobytes() for seed in range(3)}) == 3


@pytest.mark.parametrize("wrong", [(1, 2), (10, 1), (10, 11), (10.5, 2)])
def test_impossible_numbers_of_folds_are_refused(wrong) -> None:
    with pytest.raises((ValueError, TypeError), match="must be"):
        folds(*wrong)
