"""Callbacks: which epoch is the best, and when waiting for a better one ends."""

import json
import math

import numpy as np
import pytest

from xpdl import EarlyStopping, KeepBest, StopTraining
from xpdl.callbacks import Metrics
from xpdl.training.callbacks import Callbacks


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
def test_after_a_reset_nothing_counts_that_was_before(callback, epochs) -> None:
    feed(callback, [0.1, 0.2, 0.3])
    callback.reset()
    assert feed(callback, [9.0, 8.0, 8.5]) == epochs
    assert callback.theta.tolist() == [2]
    assert callback.metrics == {"epoch": 2, "loss": 8.0}


@pytest.mark.parametrize(
    ("key", "mode", "best"), [("auc", "max", 2), ("auc", "min", 1), ("loss", "max", 2), ("accuracy", "min", 1)]
)
def test_mode_says_which_way_is_better(key, mode, best) -> None:
    keep = KeepBest(key, mode=mode)
    feed(keep, [0.5, 0.9, 0.7], key)
    assert keep.theta.tolist() == [best]


@pytest.mark.parametrize("kind", [KeepBest, lambda *given, **options: EarlyStopping(3, *given, **options)])
@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        (["auc"], {}, "monitor must be a loss or an accuracy for mode='auto', got 'auc'; mode='min' or mode='max'"),
        (["epoch"], {}, "got 'epoch'; mode='min' or mode='max'"),
        (["lose"], {"mode": "max"}, "must be one of auc, epoch, got 'lose'; mode='min' or mode='max'"),
        (["auc"], {"mode": "higher"}, "mode must be one of auto, max, min, got 'higher'"),
        (["auc"], {"min_delta": -1.0}, "min_delta must be finite and at least 0"),
        (["auc"], {"start_epoch": -1}, "start_epoch must be at least 0"),
    ],
)
def test_what_is_not_known_is_an_error(kind, given, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        feed(kind(*given, **options), [1.0], "auc")


def test_an_epoch_is_better_by_more_than_min_delta() -> None:
    stopping = EarlyStopping(2, min_delta=0.5)
    assert feed(stopping, [3.0, 2.6, 2.4, 2.0, 1.95, 0.0]) == 5
    assert stopping.metrics == {"epoch": 3, "loss": 2.4}


def test_epochs_before_start_epoch_do_not_count() -> None:
    stopping = EarlyStopping(2, start_epoch=4)
    assert feed(stopping, [0.1, 0.2, 0.3, 3.0, 3.5, 3.6, 0.0]) == 6
    assert stopping.metrics == {"epoch": 4, "loss": 3.0}
    assert feed(keep := KeepBest(start_epoch=9), [0.1, 0.2]) == 2
    assert keep.theta is None


class Kept:
    """A callback that keeps a theta and cannot begin anew."""

    theta = None

    def __call__(self, metrics, step) -> None:
        if self.theta is None or metrics["loss"] < 1:
            self.theta = metrics.theta


def test_what_was_kept_in_an_earlier_run_does_not_count() -> None:
    own = Kept()
    callbacks = Callbacks([own])
    callbacks.begin(from_file=False)
    feed(callbacks, [2.0])
    assert callbacks.theta.tolist() == [1]
    callbacks.begin(from_file=False)
    feed(callbacks, [3.0, 3.0])
    assert (callbacks.theta, own.theta.tolist()) == (None, [1])
    feed(callbacks, [3.0, 0.5])
    assert callbacks.theta.tolist() == [2]
