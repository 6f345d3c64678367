"""Coupling: entries that influence each other are seen, and only those."""

import numpy as np
import pytest

from xpdl import adam, momentum, sgd
from xpdl.gradcheck.update.coupling import is_coupled

GRADS = np.random.default_rng(0).standard_normal(12)


@pytest.mark.parametrize("optimizer", [sgd(0.1), momentum(0.1), adam()])
def test_ours_keep_entries_apart(subject, optimizer) -> None:
    assert not is_coupled(subject(optimizer), GRADS)


@pytest.mark.parametrize("of", [np.mean, np.linalg.norm, np.max])
def test_a_mean_a_norm_and_a_maximum_couple(subject, of) -> None:
    assert is_coupled(subject((lambda theta: None, lambda theta, grad, state: (theta - grad * of(grad), state))), GRADS)
