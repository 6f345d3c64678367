"""The learning rate of ``xpdl train``: each schedule with its lengths in epochs."""

import numpy as np
import pytest

from xpdl import schedules
from xpdl.cli.learning_rate import SCHEDULES, RateFlags, learning_rate

FLAGS = RateFlags(lr=0.1, decay=0.5, decay_every=2, warmup=0, length=10)
EXPECTED = {  # for 4 steps per epoch
    "exponential": schedules.exponential(0.1, 0.5, every=8),
    "inverse_time": schedules.inverse_time(0.1, 0.5, every=8),
    "inverse_sqrt": schedules.inverse_sqrt(0.1, every=8),
    "step": schedules.step(0.1, 0.5, every=8),
    "cosine": schedules.cosine(0.1, 40),
}


def test_every_schedule_is_tested() -> None:
    assert SCHEDULES.keys() == EXPECTED.keys() | {"constant"}


@pytest.mark.parametrize("name", EXPECTED)
def test_lengths_are_in_epochs(name) -> None:
    """The last batch of an epoch may be smaller: 13 samples in batches of 4 are 4 steps."""
    rate = learning_rate(name, FLAGS, n=13, batch_size=4)
    for step in (0.0, 1.0, 7.0, 8.0, 39.0):
        assert rate(np.asarray(step)) == EXPECTED[name](np.asarray(step))


def test_a_constant_rate_is_a_number() -> None:
    assert learning_rate("constant", FLAGS, 13, 4) == 0.1


def test_warm_up_is_in_epochs_too() -> None:
    rate = learning_rate("constant", FLAGS._replace(warmup=2), n=13, batch_size=4)
    assert [float(rate(np.asarray(step))) for step in (0.0, 3.0, 7.0, 20.0)] == pytest.approx([0.0125, 0.05, 0.1, 0.1])


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("cosin", {}, "schedule must be .*'cosin'; did you mean 'cosine'"),
        ("constant", {"decay": float("nan")}, "decay must be finite"),
        ("constant", {"warmup": -1}, "warmup must be .* got -4"),
        ("step", {"decay": 0.0}, "factor must be greater than 0"),
    ],
)
def test_flags_that_are_wrong_are_named(name, change, said) -> None:
    with pytest.raises(ValueError, match=said):
        learning_rate(name, FLAGS._replace(**change), 13, 4)


def test_a_batch_size_of_0_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        learning_rate("constant", FLAGS, 13, 0)
