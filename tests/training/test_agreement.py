"""Ranks that would compute different runs are refused; here the ranks are threads."""

import numpy as np
import pytest

import xpdl
from xpdl import Network, train
from xpdl.distributed import Serial
from xpdl.training import loop
from xpdl.training.agreement import check_agreement

rng = np.random.default_rng(0)
X, Y, WEIGHT = rng.normal(size=(45, 6)), np.arange(45) % 3, rng.uniform(0.1, 3, size=45)
WEIGHT[::7] = 0
NET = Network([6, 7, 5, 3], l2=0.3, dropout=[0.5, 0.0])


def run(net=NET, x=X, y=Y, **options):
    """45 samples in batches of 11: the last has one, so that of several ranks all but one have none."""
    return train(
        net, x, y, **{"batch_size": 11, "epochs": 3, "backend": "numpy", "progress": False, "seed": 3} | options
    )


DIFFERENCES = {
    "dtype": {"dtype": "float64"},
    "seed": {"seed": 4},
    "network l2": {"net": Network([6, 7, 5, 3], l2=0.2, dropout=[0.5, 0.0])},
    "batch_size": {"batch_size": 12},
    "x": {"x": X + 1e-6},
    "y": {"y": (Y + 1) % 3},
    "sample_weight": {"sample_weight": WEIGHT},
    "optimizer run/state/1": {"optimizer": xpdl.sgd(0.1)},
    "update rates schedule rate": {"optimizer": xpdl.adam(0.1)},
    "update rates schedule every": {"optimizer": xpdl.adam(xpdl.schedules.inverse_sqrt(1e-3))},
    "update kernel beta2": {"optimizer": xpdl.adam(beta2=0.99)},
    "update kernel weight_decay": {"optimizer": xpdl.adamw()},
    "theta": {"theta": NET.initialize(7)},
    "epochs": {"epochs": 4},
    "validation": {"validation": (X, Y)},
    "library": {"backend": "array_api_strict"},
}


def test_ranks_that_describe_the_same_run_agree(on_ranks) -> None:
    assert on_ranks(3, lambda ranks: check_agreement(ranks, {"seed": 1, "network": {"l2": 0.5}})) == [None] * 3
    check_agreement(Serial(), {"seed": 1})


def test_every_rank_is_told_every_difference_from_rank_0(on_ranks) -> None:
    def describe(ranks):
        with pytest.raises(ValueError, match="seed is 0 on rank 0 and 1 on rank 1; epochs is 3 on rank 0 and 4 on"):
            check_agreement(ranks, {"seed": ranks.rank, "epochs": 3 + ranks.rank, "dtype": "float32"})

    on_ranks(2, describe)


@pytest.mark.parametrize("name", DIFFERENCES)
def test_ranks_that_would_compute_something_else_are_refused(name, on_ranks) -> None:
    def train_on(ranks):
        with pytest.raises(
            ValueError, match=f"the ranks have different runs: .*{name} is .* on rank 0 and .* on rank 2"
        ):
            run(communicator=ranks, **DIFFERENCES[name] if ranks.rank == 2 else {})

    on_ranks(3, train_on)


def test_ranks_of_another_version_are_refused(on_ranks, monkeypatch) -> None:
    """All threads have the same version, so the version of the second rank is changed in transit."""
    real = loop.gather

    def gather(ranks, value):
        return real(ranks, value | {"version": f"0.0.{ranks.rank}"} if "version" in value else value)

    monkeypatch.setattr("xpdl.training.agreement.gather", gather)
    with pytest.raises(ValueError, match="version is '0.0.0' on rank 0 and '0.0.1' on rank 1"):
        on_ranks(2, lambda ranks: run(communicator=ranks))
