"""The configuration of a run: the order of an epoch, and which rank is rank 0."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

import xpdl
from xpdl.distributed import Serial
from xpdl.randomness import permutation
from xpdl.training.run_config import RunConfig


def config(seed=3, communicator=Serial(), **options):  # noqa: B008
    return RunConfig(xpdl.Network([2, 3]), xpdl.backend("numpy"), "float32", seed, communicator, **options)


def test_each_epoch_has_the_order_of_its_seed_and_number() -> None:
    assert np.array_equal(config().order(2, 20), permutation(3, 2, 20))
    assert not np.array_equal(config().order(2, 20), config().order(1, 20))
    assert not np.array_equal(config().order(2, 20), config(seed=4).order(2, 20))


def test_without_shuffling_the_order_is_that_of_the_samples() -> None:
    assert config(shuffle=False).order(2, 20).tolist() == list(range(20))


def test_only_rank_0_leads() -> None:
    assert [config(communicator=Serial(rank, 3)).is_rank_0 for rank in range(3)] == [True, False, False]


def test_it_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        config().seed = 4
