"""Callbacks: which epoch is the best, and when waiting for a better one ends."""

import json
import math

import numpy as np
import pytest

from xpdl import EarlyStopping, KeepBest, StopTraining
from xpdl.callbacks import Metrics


def feed(callback, values, key="loss"):
    """Call the callback with these values; return the number of epochs until it stops, or of all epochs."""
    for epoch, value in enumerate(values, start=1):
        metrics = Metrics({"epoch": epoch, key: value}, lambda epoch=epoch: np.array([epoch]))
        try:
            callback(metrics, 10 * epoch)
        except StopTraining:
            return epoch
    return len(values)


def test_metrics_are_a_dict_of_numbers() -> None:
    metrics = Metrics({"epoch": 1, "loss": 0.5}, lambda: np.zeros(3))
    assert json.loads(json.dumps(metrics)) == {"epoch": 1, "loss": 0.5}
    assert dict(**metrics) == {"epoch": 1, "loss": 0.5}


def test_theta_is_copied_from_the_device_only_when_it_is_asked_for() -> None:
    copies = []
    metrics = Metrics({"loss": 0.5}, lambda: copies.append(1) or np.zeros(3))
    assert copies == []
    assert metrics.theta.tolist() == [0, 0, 0]
    assert copies == [1]


@pytest.mark.parametrize(
    ("key", "values", "best"),
    [
        ("loss", [3.0, 1.0, 2.0], 2),
        ("loss", [1.0, 1.0], 1),
        ("loss", [1.0], 1),
        ("loss", [-1.0, -2.0], 2),
        ("loss", [math.nan, 2.0, math.nan, 1.0, math.nan], 4),
        ("loss", [math.inf, 2.0], 2),
        ("validation_loss", [3.0, 1.0, 2.0], 2),
        ("validation_accuracy", [0.5, 0.9, 0.7], 2),
        ("accuracy", [0.5, 0.9, 0.9], 2),
        ("validation_accuracy", [0.0, 0.0], 1),
    ],
)
def test_the_first_epoch_with_the_lowest_loss_or_highest_accuracy_is_the_best(key, values, best) -> None:
    keep = KeepBest(key)
    assert feed(keep, values, key) == len(values)
    assert keep.theta.tolist() == [best]
    assert keep.metrics == {"epoch": best, key: values[best - 1]}


@pytest.mark.parametrize("values", [[], [math.nan], [math.nan, math.nan]])
def test_without_a_number_nothing_is_kept(values) -> None:
    keep = KeepBest()
    feed(keep, values)
    assert keep.theta is None
    assert keep.metrics == {}


def test_the_loss_of_validation_counts_where_there_is_one() -> None:
    keep = KeepBest()
    for epoch, (loss, validation) in enumerate([(3.0, 1.0), (2.0, 2.0)], start=1):
        numbers = {"epoch": epoch, "loss": loss, "validation_loss": validation}
        keep(Metrics(numbers, lambda epoch=epoch: np.array([epoch])), epoch)
    assert keep.theta.tolist() == [1]


def test_an_unknown_metric_is_an_error_that_suggests_a_close_one() -> None:
    with pytest.raises(ValueError, match="monitor must be one of epoch, loss, got 'los'; did you mean 'loss'"):
        feed(KeepBest("los"), [1.0])


@pytest.mark.parametrize(
    ("patience", "values", "epochs"),
    [
        (1, [3.0, 2.0, 2.0, 1.0], 3),
        (2, [3.0, 4.0, 2.0, 3.0, 3.0, 0.0], 5),
        (2, [3.0, 2.0, 1.0], 3),
        (3, [1.0, math.nan, math.nan, math.nan, 0.0], 4),
        (2, [math.nan, math.nan, 0.0], 2),
        (5, [1.0] * 20, 6),
    ],
)
def test_early_stopping_waits_so_many_epochs_for_a_better_one(patience, values, epochs) -> None:
    """Each better epoch resets the count."""
    assert feed(EarlyStopping(patience), values) == epochs


def test_early_stopping_keeps_the_best_epoch() -> None:
    stopping = EarlyStopping(2, "validation_accuracy")
    assert feed(stopping, [0.5, 0.9, 0.8, 0.7, 1.0], "validation_accuracy") == 4
    assert stopping.theta.tolist() == [2]


def test_early_stopping_says_why() -> None:
    stopping, metrics = EarlyStopping(1), Metrics({"epoch": 2, "loss": 1.0}, lambda: np.zeros(1))
    stopping(metrics, 1)
    with pytest.raises(StopTraining, match="no better epoch in the last 1"):
        stopping(metrics, 2)


@pytest.mark.parametrize(("callback", "epochs"), [(KeepBest(), 3), (EarlyStopping(2), 3)], ids=["best", "stopping"])
def test_a_new_run_starts_afresh(callback, epochs) -> None:
    """Its first epoch has number 1; the best loss and the waiting of the earlier run no longer count."""
    feed(callback, [0.1, 0.2, 0.3])
    assert feed(callback, [9.0, 8.0, 8.5]) == epochs
    assert callback.theta.tolist() == [2]
    assert callback.metrics == {"epoch": 2, "loss": 8.0}
