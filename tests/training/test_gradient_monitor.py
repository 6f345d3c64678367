"""Gradient checks during training: of the loss that is trained, when they are due, within their time."""

import numpy as np
import pytest

import xpdl
from xpdl import GradientError, Network
from xpdl.gradcheck.report import Report
from xpdl.training import gradient_monitor


def points(n=20):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 4)), rng.integers(0, 3, n)


def train(net, *, epochs=5, n=20, batch_size=8, backend="numpy", **options):
    options = {"progress": False, "backend": backend} | options
    return xpdl.train(net, *points(n), epochs=epochs, batch_size=batch_size, **options)


NET = Network([4, 6, 3], hidden="tanh", l2=0.1, dropout=0.3)
TANH = xpdl.activations.ACTIVATIONS["tanh"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_history_has_a_difference_for_each_epoch_that_was_checked(dtype) -> None:
    history = train(NET, check_gradients=2, dtype=dtype).history
    checked = {metrics["epoch"]: metrics.get("gradient_difference") for metrics in history}
    assert [epoch for epoch, difference in checked.items() if difference is not None] == [2, 4]
    assert all(
        0 <= difference < (1e-5 if dtype == "float32" else 1e-12) for difference in checked.values() if difference
    )


def test_nothing_is_checked_unless_asked() -> None:
    assert all("gradient_difference" not in metrics for metrics in train(NET).history)


@pytest.mark.parametrize("backend", ["numpy", "array_api_strict", "jax", "torch"])
def test_a_check_changes_nothing_of_the_training(backend) -> None:
    if xpdl.available_backends()[backend] != "ready":
        pytest.skip(xpdl.available_backends()[backend])
    plain, checked = (train(NET, epochs=2, backend=backend, **options) for options in ({}, {"check_gradients": 1}))
    assert np.array_equal(plain.theta, checked.theta)


def test_a_wrong_gradient_stops_the_run_before_it_starts() -> None:
    net = Network([4, 6, 3], hidden=xpdl.Activation(TANH.forward, lambda da, z, a: da))
    with pytest.raises(GradientError, match="wrong after 0 epochs") as caught:
        train(net, check_gradients=1)
    assert isinstance(caught.value.report, Report)
    assert caught.value.report.parameters["W1"].verdict == "FAIL"
    assert str(caught.value.report) in str(caught.value)


def test_a_gradient_that_goes_wrong_later_is_found_on_schedule() -> None:
    """The derivative is wrong only for saturated units, and large steps saturate them."""
    wrong = xpdl.Activation(TANH.forward, lambda da, z, a: da * (1 - a * a) * (np.abs(a) < 0.999))
    net = Network([4, 6, 3], hidden=wrong, init=1e-3)
    with pytest.raises(GradientError, match="wrong after 3 epochs"):
        train(net, check_gradients=3, optimizer=xpdl.sgd(300.0), epochs=9, dtype="float64")


def test_masks_samples_and_l2_are_those_of_the_first_step(monkeypatch) -> None:
    """The check before the first epoch uses 8 samples in the order of the epoch, and the masks of step 0."""
    seen = []

    def spy(net, theta, x, y, *, masks, weight):
        seen.append((net, theta.copy(), x, y, masks, weight))
        return xpdl.check_network(net, theta, x, y, masks=masks, weight=weight)

    monkeypatch.setattr(gradient_monitor, "check_network", spy)
    train(NET, epochs=1, check_gradients=5, seed=3, sample_weight=np.arange(1, 21))
    ((net, theta, x, y, masks, weight),) = seen
    rows = xpdl.randomness.permutation(3, 0, 20)[:8]
    assert net is NET
    assert np.array_equal(theta, NET.initialize(3))
    assert np.array_equal(x, points()[0][rows].astype("float32"))
    assert np.array_equal(y, np.eye(3)[points()[1][rows]])
    assert np.array_equal(weight, 1 + rows)
    expected = xpdl.dropout_masks(NET, 8, seed=3, step=0, dtype="float64")
    assert np.array_equal(masks[0], expected[0])


def test_checks_end_when_their_time_is_spent(monkeypatch) -> None:
    clock = [0.0]

    def check(self, epoch, theta):
        clock[0] += 1.0
        return xpdl.check_network(NET, theta, *points())

    monkeypatch.setattr(gradient_monitor.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(gradient_monitor.GradientMonitor, "check", check)
    asked = gradient_monitor.GradientMonitor(NET, lambda epoch, n: (*points(), None), 0, [20], every=1, seconds=2.5)
    assert [bool(asked(epoch, NET.initialize(0))) for epoch in range(6)] == [True] * 3 + [False] * 3


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"check_gradients": 0}, ValueError, "check_gradients must be at least 1, got 0"),
        ({"check_gradients": 1.5}, TypeError, r"check_gradients must be an integer, got 1\.5"),
        ({"check_gradients": 1, "check_seconds": -1}, ValueError, "check_seconds must be .*-1"),
    ],
)
def test_bad_options(options, error, message) -> None:
    with pytest.raises(error, match=message):
        train(NET, **options)
