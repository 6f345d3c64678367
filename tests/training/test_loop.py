"""The loop over epochs: its batches, the history, callbacks, divergence, and what it prints."""

import json
import math
import re

import numpy as np
import pytest

from xpdl import DivergenceError, EarlyStopping, KeepBest, Network, StopTraining, adam, dropout_masks, sgd
from xpdl.arrays import namespace

TRAINS = ["numpy", "strict-device1", "strict-no_float64", "jax", "torch", "cupy"]
on_each = pytest.mark.parametrize("lib", TRAINS, indirect=True)
DROPPING = Network([6, 16, 8, 3], l2=0.1, dropout=0.5)


@pytest.mark.parametrize(("n", "batch"), [(24, 8), (25, 8), (27, 8), (7, None), (7, 100), (1, 1), (3, 1)])
def test_every_sample_is_used_once_an_epoch_in_the_order_of_the_seed(
    n, batch, samples, quiet_train, agree, by_hand
) -> None:
    """The samples of the smaller last batch count, too."""
    x, y = samples(n)
    result = quiet_train(DROPPING, x, y, optimizer=adam(0.01), epochs=3, batch_size=batch, seed=11, dtype="float64")
    thetas, losses = by_hand(DROPPING, x, y, adam(0.01), epochs=3, batch=batch or n, seed=11)
    agree(result.theta, thetas[-1], 1e-12)
    agree([metrics["loss"] for metrics in result.history], losses, 1e-12)


def test_without_shuffling_every_epoch_has_the_order_of_the_samples(samples, quiet_train, agree) -> None:
    x, y = samples(10)
    result = quiet_train(DROPPING, x, y, optimizer=sgd(0.1), epochs=2, batch_size=4, shuffle=False, dtype="float64")
    theta = DROPPING.initialize(0, "float64")
    for step in range(6):
        rows = slice(4 * (step % 3), 4 * (step % 3) + 4)
        masks = dropout_masks(DROPPING, len(x[rows]), seed=0, step=step, dtype="float64")
        theta -= 0.1 * DROPPING.loss_and_grad(theta, x[rows], y[rows], masks)[1]
    agree(result.theta, theta, 1e-13)


@pytest.mark.parametrize("batch", [1, 5, 8, 23, 24, 25, None])
def test_the_loss_of_an_epoch_is_the_mean_over_samples_not_over_batches(batch, samples, quiet_train) -> None:
    """With a learning rate of 0 it is the cost of all samples, for batches of any size."""
    x, y = samples(24)
    net = Network([6, 4, 3])
    result = quiet_train(net, x, y, optimizer=sgd(0.0), epochs=2, batch_size=batch, dtype="float64")
    expected = float(net.loss(net.initialize(0, "float64"), x, y))
    assert [metrics["loss"] for metrics in result.history] == pytest.approx([expected] * 2, rel=1e-14)


@pytest.mark.parametrize("n", [100, 10_000])
def test_the_loss_of_many_steps_keeps_its_digits(n, quiet_train) -> None:
    """Every sample costs log 2, and so does the mean, in float32 too."""
    net = Network([1, 2])
    theta, y = np.zeros(net.size), np.zeros(n, int)
    result = quiet_train(net, np.ones((n, 1)), y, optimizer=sgd(0.0), batch_size=1, epochs=1, theta=theta)
    assert result.history[0]["loss"] == pytest.approx(math.log(2), rel=1e-5)


REGRESSION = Network([3, 1], output="linear")
LINE = np.eye(3), np.arange(3.0)


def test_the_history_holds_plain_numbers_of_each_epoch(samples, quiet_train) -> None:
    x, y = samples(20)
    history = quiet_train(DROPPING, x, y, epochs=3, validation=(x, y)).history
    assert [metrics["epoch"] for metrics in history] == [1, 2, 3]
    for metrics in history:
        assert set(metrics) == {"epoch", "loss", "seconds", "validation_loss", "validation_accuracy"}
        assert {key: type(value) for key, value in metrics.items()} == dict.fromkeys(metrics, float) | {"epoch": int}
        assert metrics["seconds"] > 0
    assert json.loads(json.dumps(history)) == history


def test_without_validation_the_history_says_nothing_of_it(samples, quiet_train) -> None:
    history = quiet_train(DROPPING, *samples(20), epochs=1).history
    assert set(history[0]) == {"epoch", "loss", "seconds"}


@on_each
def test_validation_metrics_are_those_of_the_parameters_after_the_epoch(lib, samples, quiet_train) -> None:
    """They are computed without dropout and without L2."""
    x, y = samples(30)
    xv, yv = samples(13, seed=1)
    net = Network([6, 5, 3], hidden="tanh", l2=0.5, dropout=0.3)
    options = {"backend": lib.backend, "dtype": lib.dtype, "batch_size": 7, "epochs": 3}
    result = quiet_train(net, x, y, validation=(xv, yv), **options)
    (w1, b1), (w2, b2) = net.unpack(result.theta.astype("float64"))
    z = np.tanh(xv @ w1 + b1) @ w2 + b2
    losses = np.log(np.exp(z).sum(axis=1)) - z[np.arange(13), yv]
    last = result.history[-1]
    assert last["validation_loss"] == pytest.approx(losses.mean(), rel=10 * lib.tolerance)
    assert last["validation_accuracy"] == pytest.approx((z.argmax(axis=1) == yv).mean(), rel=1e-6)


def test_callbacks_are_called_after_each_epoch_with_numbers_and_the_steps_done(samples, quiet_train) -> None:
    seen = []
    result = quiet_train(
        DROPPING, *samples(25), epochs=3, batch_size=8, callbacks=[lambda metrics, step: seen.append((metrics, step))]
    )
    assert [step for _, step in seen] == [4, 8, 12]
    assert [dict(metrics) for metrics, _ in seen] == result.history
    assert all(isinstance(metrics, dict) for metrics, _ in seen)


def test_a_function_like_that_of_mlflow_is_a_callback(samples, quiet_train) -> None:
    logged = {}

    def log_metrics(metrics: dict[str, float], step: int | None = None, synchronous: bool | None = None) -> None:
        logged[step] = {str(key): float(value) for key, value in metrics.items()}

    quiet_train(DROPPING, *samples(16), epochs=2, batch_size=8, callbacks=[log_metrics])
    assert list(logged) == [2, 4]
    assert math.isfinite(logged[4]["loss"])


def test_a_callback_cannot_change_the_history(samples, quiet_train) -> None:
    result = quiet_train(DROPPING, *samples(8), epochs=2, callbacks=[lambda metrics, step: metrics.clear()])
    assert len(result.history[1]) == 3


@on_each
def test_a_callback_gets_copies_of_the_parameters(lib, samples, quiet_train) -> None:
    """Each copy belongs to its epoch, and does not change when training continues in the same memory."""
    thetas = []

    def keep(metrics, step):
        thetas.append(metrics.theta)

    options = {"backend": lib.backend, "dtype": lib.dtype, "batch_size": 8}
    result = quiet_train(DROPPING, *samples(16), epochs=3, callbacks=[keep], **options)
    assert np.array_equal(thetas[2], result.theta)
    assert np.array_equal(thetas[0], quiet_train(DROPPING, *samples(16), epochs=1, **options).theta)
    assert not np.array_equal(thetas[0], thetas[1])


@on_each
def test_stop_training_ends_the_run_with_what_was_learned(lib, samples, quiet_train) -> None:
    def stop(metrics, step):
        if metrics["epoch"] == 2:
            raise StopTraining("enough")

    options = {"backend": lib.backend, "dtype": lib.dtype}
    result = quiet_train(DROPPING, *samples(16), epochs=9, callbacks=[stop], **options)
    assert [metrics["epoch"] for metrics in result.history] == [1, 2]
    assert not result.interrupted
    assert np.array_equal(result.theta, quiet_train(DROPPING, *samples(16), epochs=2, **options).theta)


def test_all_callbacks_see_the_epoch_in_which_one_stops_the_training(capfd, quiet_train) -> None:
    """So a log is complete and the best epoch is kept, for any order of the callbacks."""

    def stop(metrics, step):
        if metrics["epoch"] == 3:
            raise StopTraining("enough")

    seen, best = [], KeepBest()
    callbacks = [stop, best, lambda metrics, step: seen.append(metrics["epoch"])]
    result = quiet_train(REGRESSION, *LINE, optimizer=sgd(0.1), epochs=9, callbacks=callbacks)
    assert seen == [1, 2, 3]
    assert best.metrics == result.history[2]
    assert np.array_equal(result.theta, best.theta)


def test_another_error_in_a_callback_is_raised(samples, quiet_train) -> None:
    with pytest.raises(ZeroDivisionError):
        quiet_train(DROPPING, *samples(8), epochs=2, callbacks=[lambda metrics, step: 1 / 0])


def worse_from(epoch):
    """Options of a run of one step an epoch that learns, and from ``epoch`` (counted from 1) on unlearns."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 3))
    y = x @ rng.normal(size=3) + 0.1 * rng.normal(size=20)

    def rate(step):
        return 0.1 + 10 * namespace(step).astype(step >= epoch - 1, step.dtype)

    return {"net": REGRESSION, "x": x, "y": y, "optimizer": sgd(rate), "batch_size": None, "validation": (x, y)}


def test_keep_best_decides_the_parameters_of_the_result(quiet_train) -> None:
    thetas, best = [], KeepBest()
    keep = [lambda metrics, step: thetas.append(metrics.theta), best]
    result = quiet_train(epochs=7, callbacks=keep, **worse_from(5))
    losses = [metrics["validation_loss"] for metrics in result.history]
    assert np.argmin(losses) == 3
    assert len(losses) == 7
    assert np.array_equal(result.theta, thetas[3])
    assert best.metrics == result.history[3]


def test_early_stopping_ends_the_run_and_keeps_the_best(quiet_train) -> None:
    thetas = []
    callbacks = [lambda metrics, step: thetas.append(metrics.theta), EarlyStopping(2)]
    result = quiet_train(epochs=50, callbacks=callbacks, **worse_from(5))
    assert len(result.history) == 4 + 2
    assert np.array_equal(result.theta, thetas[3])


@pytest.mark.parametrize("epochs", [0, 1])
def test_the_best_of_an_earlier_run_does_not_leak_into_the_next(epochs, samples, quiet_train) -> None:
    """result.theta always belongs to this run and this network."""
    best = KeepBest()
    x, y = samples(30)
    quiet_train(Network([6, 9, 3]), x, y, epochs=30, optimizer=adam(0.05), callbacks=[best])
    net = Network([6, 4, 3])
    result = quiet_train(net, x, y, epochs=epochs, optimizer=sgd(0.0), callbacks=[best])
    assert np.array_equal(result.theta, net.initialize(0))


@pytest.mark.parametrize(
    ("step", "where", "good"),
    [
        (0, "the cost in step 2 of epoch 1", 0),
        (1, "the cost in step 3 of epoch 1", 0),
        (2, "the cost in step 4 of epoch 1", 0),
        (3, "a parameter after step 4 of epoch 1", 0),
        (9, "the cost in step 3 of epoch 3", 2),
        (11, "a parameter after step 4 of epoch 3", 2),
    ],
)
@on_each
def test_divergence_is_an_error_with_the_step_and_the_last_good_parameters(
    lib, step, where, good, samples, quiet_train, exploding
) -> None:
    """Of 25 samples in batches of 8, an epoch has 4 steps."""
    net, (x, y) = Network([6, 4, 3], hidden="tanh"), samples(25)
    options = {"batch_size": 8, "backend": lib.backend, "dtype": lib.dtype}
    with pytest.raises(DivergenceError, match=f"{where}.*NaN or infinity.*smaller learning rate") as caught:
        quiet_train(net, x, y, optimizer=exploding(step), epochs=3, **options)
    expected = quiet_train(net, x, y, optimizer=sgd(0.1), epochs=good, **options)
    result = caught.value.result
    assert np.array_equal(result.theta, expected.theta)
    assert [metrics["loss"] for metrics in result.history] == [metrics["loss"] for metrics in expected.history]


@on_each
def test_if_the_first_step_diverges_the_result_is_the_start(lib, quiet_train) -> None:
    theta = np.full(4, 1e25 if lib.dtype == "float32" else 1e200, lib.dtype)
    with pytest.raises(DivergenceError, match="the cost in step 1 of epoch 1") as caught:
        quiet_train(REGRESSION, np.ones((5, 3)), np.ones(5), theta=theta, backend=lib.backend, dtype=lib.dtype)
    assert np.array_equal(caught.value.result.theta, theta)
    assert caught.value.result.history == []


def test_callbacks_do_not_see_an_epoch_that_diverged(samples, quiet_train, exploding) -> None:
    seen = []
    with pytest.raises(DivergenceError):
        quiet_train(
            Network([6, 3]), *samples(8), optimizer=exploding(1), batch_size=4, callbacks=[lambda m, s: seen.append(s)]
        )
    assert seen == []


def test_without_progress_nothing_is_printed(capfd, samples, quiet_train) -> None:
    quiet_train(DROPPING, *samples(8), epochs=2, callbacks=[EarlyStopping(1)], optimizer=sgd(0.0))
    assert capfd.readouterr() == ("", "")


def test_without_a_terminal_an_epoch_is_a_line(capfd, samples, quiet_train) -> None:
    x, y = samples(16)
    history = quiet_train(DROPPING, x, y, epochs=3, validation=(x, y), progress=True).history
    out, err = capfd.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert len(lines) == 3
    for line, metrics in zip(lines, history, strict=True):
        assert line.startswith(f"epoch {metrics['epoch']}/3 ")
        assert f" loss {metrics['loss']:.4f} " in line
        assert f"validation_accuracy {metrics['validation_accuracy']:.4f}" in line
        assert re.search(r" \d+\.\d\d s$", line)


def test_the_reason_of_an_early_end_is_printed(capfd, samples, quiet_train) -> None:
    quiet_train(DROPPING, *samples(8), epochs=9, callbacks=[EarlyStopping(2)], optimizer=sgd(0.0), progress=True)
    assert capfd.readouterr().out.splitlines()[-1] == "stopped: no better epoch in the last 2"


class Later(EarlyStopping):
    """A subclass that does not call its base class in the first epochs."""

    def __call__(self, metrics, step) -> None:
        if metrics["epoch"] > 3:
            super().__call__(metrics, step)


@pytest.mark.parametrize("kind", [EarlyStopping, Later])
def test_a_result_that_stopped_early_trains_on(kind, samples, quiet_train) -> None:
    """The callback begins anew, so neither its patience nor what it has kept on other samples counts."""
    stop, options = kind(1, "loss"), {"batch_size": 8, "optimizer": sgd(0.0)}
    x, y = samples(24)
    result = quiet_train(DROPPING, x, y, epochs=9, callbacks=[stop], **options)
    begun = len(result.history)
    assert begun < 9
    longer = quiet_train(DROPPING, x, y, epochs=begun + 2, resume=result, callbacks=[stop], **options)
    assert len(longer.history) == begun + 2
    other = quiet_train(DROPPING, x, y, epochs=9, seed=5, callbacks=[stop], **options)
    assert np.array_equal(other.theta, DROPPING.initialize(5))
