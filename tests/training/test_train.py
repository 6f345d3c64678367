"""Training: one seed is one run everywhere, what a step touches, what callbacks see, and how a run ends."""

import json
import math
import re
import signal
import threading

import numpy as np
import pytest

import xpdl
from xpdl import (
    DivergenceError,
    EarlyStopping,
    KeepBest,
    Network,
    Optimizer,
    StopTraining,
    adam,
    dropout_masks,
    momentum,
    sgd,
    train,
)
from xpdl.arrays import namespace
from xpdl.backends.numpy import BLOCK
from xpdl.files.train_state import Carry
from xpdl.optimizers import OPTIMIZERS, elementwise
from xpdl.randomness import permutation
from xpdl.training.step import Data, make_step

TRAINS = ["numpy", "strict-device1", "strict-no_float64", "jax", "torch", "cupy"]
on_each = pytest.mark.parametrize("lib", TRAINS, indirect=True)


def samples(n, d=6, k=3, seed=0):
    """n points in k overlapping clouds, labels in turn."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % k
    return rng.normal(size=(n, d)) + rng.normal(size=(k, d))[y], y


def quiet_train(net, x, y, **options):
    return train(net, x, y, **{"backend": "numpy", "progress": False, **options})


def agree(actual, expected, bound):
    """Equal to ``bound``, relative to the largest number."""
    np.testing.assert_allclose(actual, expected, rtol=0, atol=bound * np.abs(expected).max())


# --- one seed is one run


DROPPING = Network([6, 16, 8, 3], l2=0.1, dropout=0.5)


@pytest.mark.parametrize("optimizer", [adam(0.01), momentum(0.05, nesterov=True)], ids=["adam", "momentum"])
@on_each
def test_one_seed_is_one_run_on_every_backend(lib, optimizer) -> None:
    x, y = samples(50)
    options = {"optimizer": optimizer, "epochs": 2, "batch_size": 8, "dtype": lib.dtype, "validation": (x, y)}
    actual = quiet_train(DROPPING, x, y, backend=lib.backend, seed=5, **options)
    expected = quiet_train(DROPPING, x, y, seed=5, **options)
    bound = 1e-9 if lib.dtype == "float64" else 1e-5
    agree(actual.theta, expected.theta, bound)
    for key in ("loss", "validation_loss"):
        agree([h[key] for h in actual.history], [h[key] for h in expected.history], bound)


@on_each
def test_two_runs_on_one_backend_are_bit_identical(lib) -> None:
    x, y = samples(50)
    runs = [
        quiet_train(DROPPING, x, y, epochs=2, batch_size=8, validation=(x, y), backend=lib.backend, dtype=lib.dtype)
        for _ in range(2)
    ]
    assert np.array_equal(runs[0].theta, runs[1].theta)
    first, second = ([{**metrics, "seconds": 0} for metrics in run.history] for run in runs)
    assert first == second


def test_another_seed_is_another_run() -> None:
    x, y = samples(50)
    theta = DROPPING.initialize(0)
    runs = [quiet_train(DROPPING, x, y, epochs=1, theta=theta, seed=seed).theta for seed in (0, 1)]
    assert not np.array_equal(*runs)


@on_each
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_initial_weights_are_the_same_bits_everywhere(lib, dtype) -> None:
    if dtype == "float64" and lib.dtype == "float32":
        pytest.skip("has no float64")
    x, y = samples(5)
    result = quiet_train(DROPPING, x, y, epochs=0, seed=7, backend=lib.backend, dtype=dtype)
    assert result.theta.dtype == dtype
    assert np.array_equal(result.theta, DROPPING.initialize(7, dtype))


@pytest.mark.parametrize("name", ["array_api_strict:device1", "jax", "torch", "cupy"])
def test_an_epoch_of_mnist_with_dropout_is_the_same_everywhere(data_folder, name) -> None:
    try:
        chosen = xpdl.backend(name)
    except (ImportError, RuntimeError) as error:
        pytest.skip(str(error))
    mnist = xpdl.data.load("mnist")
    net = Network([784, 64, 10], dropout=0.5, l2=1e-4)
    x, y = mnist.x[:6000], mnist.y[:6000]
    actual, expected = (quiet_train(net, x, y, epochs=1, backend=b, dtype="float64") for b in (chosen, "numpy"))
    agree(actual.theta, expected.theta, 1e-9)


# --- weights


@pytest.mark.parametrize("net", [Network([6, 5, 3], l2=0.1), DROPPING], ids=["plain", "dropout"])
@on_each
def test_samples_of_weight_0_are_left_out(lib, net) -> None:
    """To the last bit, in batches of any size."""
    (x, y), out = samples(50), np.arange(50) % 3 == 1
    options = {"epochs": 2, "batch_size": 8, "backend": lib.backend, "dtype": lib.dtype}
    kept = quiet_train(net, x[~out], y[~out], **options)
    weighted = quiet_train(net, x, y, sample_weight=1.0 - out, **options)
    assert np.array_equal(weighted.theta, kept.theta)


@on_each
def test_a_whole_number_as_weight_repeats_a_sample(lib) -> None:
    """Where a step sees all samples; also in the scores of the validation."""
    (x, y), weight, net = samples(20), np.arange(20) % 4, Network([6, 5, 3], hidden="tanh", l2=0.1)
    options = {"epochs": 30, "batch_size": None, "backend": lib.backend, "dtype": lib.dtype}
    many = [np.repeat(a, weight, axis=0) for a in (x, y)]
    repeated = quiet_train(net, *many, validation=many, **options)
    weighted = quiet_train(net, x, y, sample_weight=weight, validation=(x, y, weight), **options)
    agree(weighted.theta, repeated.theta, 1e-9 if lib.dtype == "float64" else 1e-4)
    assert not np.allclose(weighted.theta, quiet_train(net, x, y, **options).theta, rtol=0.01)
    for name in ("loss", "validation_loss", "validation_accuracy"):
        agree([h[name] for h in weighted.history], [h[name] for h in repeated.history], 1e-4)


@on_each
def test_a_step_takes_the_weights_of_its_own_samples(lib) -> None:
    """Against steps by hand, in two batches of which the last is smaller."""
    (x, y), weight, net, rate = samples(10), np.linspace(0.5, 2, 10), Network([6, 5, 3]), 0.1
    theta = net.initialize(0, lib.dtype)
    for rows in np.split(permutation(0, 0, 10), [8]):
        theta = theta - rate * net.loss_and_grad(theta, x[rows].astype(lib.dtype), y[rows], None, weight[rows])[1]
    options = {"epochs": 1, "batch_size": 8, "backend": lib.backend, "dtype": lib.dtype, "optimizer": sgd(rate)}
    agree(quiet_train(net, x, y, sample_weight=weight, **options).theta, theta, 10 * lib.tolerance)


# --- batches


def by_hand(net, x, y, optimizer, *, epochs, batch, seed):
    """theta after each step, and the mean cost of each epoch."""
    theta, n = net.initialize(seed, "float64"), len(x)
    state, thetas, losses = optimizer.init(theta), [], []
    for epoch in range(epochs):
        order, total = permutation(seed, epoch, n), 0.0
        for start in range(0, n, batch):
            rows = order[start : start + batch]
            masks = dropout_masks(net, len(rows), seed=seed, step=len(thetas), dtype="float64")
            cost, grad = net.loss_and_grad(theta, x[rows], y[rows], masks)
            theta, state = optimizer.update(theta, grad, state)
            thetas.append(theta.copy())
            total += float(cost) * len(rows)
        losses.append(total / n)
    return thetas, losses


@pytest.mark.parametrize(("n", "batch"), [(24, 8), (25, 8), (27, 8), (7, None), (7, 100), (1, 1), (3, 1)])
def test_every_sample_is_used_once_an_epoch_in_the_order_of_the_seed(n, batch) -> None:
    """Also those of the smaller last batch."""
    x, y = samples(n)
    result = quiet_train(DROPPING, x, y, optimizer=adam(0.01), epochs=3, batch_size=batch, seed=11, dtype="float64")
    thetas, losses = by_hand(DROPPING, x, y, adam(0.01), epochs=3, batch=batch or n, seed=11)
    agree(result.theta, thetas[-1], 1e-12)
    agree([metrics["loss"] for metrics in result.history], losses, 1e-12)


def test_without_shuffling_every_epoch_takes_the_samples_as_they_come() -> None:
    x, y = samples(10)
    result = quiet_train(DROPPING, x, y, optimizer=sgd(0.1), epochs=2, batch_size=4, shuffle=False, dtype="float64")
    theta = DROPPING.initialize(0, "float64")
    for step in range(6):
        rows = slice(4 * (step % 3), 4 * (step % 3) + 4)
        masks = dropout_masks(DROPPING, len(x[rows]), seed=0, step=step, dtype="float64")
        theta -= 0.1 * DROPPING.loss_and_grad(theta, x[rows], y[rows], masks)[1]
    agree(result.theta, theta, 1e-13)


@pytest.mark.parametrize("batch", [1, 5, 8, 23, 24, 25, None])
def test_the_loss_of_an_epoch_is_the_mean_over_samples_not_over_batches(batch) -> None:
    """Without learning it is the cost of all samples, whatever the batches."""
    x, y = samples(24)
    net = Network([6, 4, 3])
    result = quiet_train(net, x, y, optimizer=sgd(0.0), epochs=2, batch_size=batch, dtype="float64")
    expected = float(net.loss(net.initialize(0, "float64"), x, y))
    assert [metrics["loss"] for metrics in result.history] == pytest.approx([expected] * 2, rel=1e-14)


@pytest.mark.parametrize("n", [100, 10_000])
def test_the_loss_of_many_steps_keeps_its_digits(n) -> None:
    """Every sample costs log 2, and so does the mean, in float32 too."""
    net = Network([1, 2])
    theta, y = np.zeros(net.size), np.zeros(n, int)
    result = quiet_train(net, np.ones((n, 1)), y, optimizer=sgd(0.0), batch_size=1, epochs=1, theta=theta)
    assert result.history[0]["loss"] == pytest.approx(math.log(2), rel=1e-5)


# --- the step


def counting(optimizer):
    """The optimizer, and a list that grows with each call of its update."""
    calls = []

    def update(theta, grad, state):
        calls.append(1)
        return optimizer.update(theta, grad, state)

    return Optimizer(optimizer.init, update), calls


@pytest.mark.parametrize(("n", "traces"), [(24, 1), (25, 2)])
def test_jax_compiles_the_step_once_for_each_batch_size(n, traces) -> None:
    """Of a compiled step only the tracing calls Python: nothing in it depends on values, and no value is a constant."""
    pytest.importorskip("jax")
    optimizer, calls = counting(adam(xpdl.schedules.cosine(0.01, 12)))
    quiet_train(
        DROPPING, *samples(n), optimizer=optimizer, epochs=3, batch_size=8, backend="jax", validation=samples(9)
    )
    assert len(calls) == traces


def step_arguments(lib, net, optimizer, x, y, rows, lanes):
    """The arguments of a step; of those it may change, every array is fresh."""
    theta = lib.put(net.initialize(0, lib.dtype)) * 1.0
    zeros = lib.backend.zeros
    data = Data(lib.put(x), lib.put(np.eye(3)[y]), lib.put(np.asarray(rows, "int32")), lib.put(lanes))
    run = Carry(theta, optimizer.init(theta), zeros((), "int32"), zeros((), lib.dtype), zeros((), "int32"))
    masks = [None if mask is None else lib.put(mask) for mask in dropout_masks(net, len(lanes), seed=0, step=0)]
    return run, data, masks


def test_the_step_is_one_text_for_every_library_eager_or_traced(lib) -> None:
    """It takes the batch at the offset, and changes nothing it is not given to change: data may be read-only."""
    x, y = samples(10)
    net, rows, lanes = DROPPING, [3, 1, 4, 0, 5, 9, 2, 6, 8, 7], np.arange(4, dtype="int32")
    optimizer = sgd(0.5)
    run, data, masks = step_arguments(lib, net, optimizer, x, y, rows, lanes)
    run = run._replace(offset=run.offset + 2, mean=run.mean + 1.5)
    run = lib.call(make_step(net, optimizer.update), run, data, masks)
    theta = net.initialize(0, "float64" if lib.dtype == "float64" else "float32").astype("float64")
    cost, grad = net.loss_and_grad(
        theta, x[[4, 0, 5, 9]], y[[4, 0, 5, 9]], dropout_masks(net, 4, seed=0, step=0, dtype="float64")
    )
    lib.close(run.theta, theta - 0.5 * grad, scale=10)
    lib.close(run.mean, (2 * 1.5 + 4 * cost) / 6, scale=10)
    assert (int(lib.host(run.offset)), int(lib.host(run.finite))) == (6, 1)


def address(array):
    return array.data_ptr() if hasattr(array, "data_ptr") else array.__array_interface__["data"][0]


@pytest.mark.parametrize("lib", ["numpy", "torch"], indirect=True)
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("units", [4, BLOCK // 9 + 1])
@pytest.mark.parametrize("compiled", [False, True])
def test_the_step_reuses_its_memory(lib, name, units, compiled) -> None:
    """theta, the optimizer's state and the counters stay where they are, also if theta is longer than a cache block.

    A compiled step may move them once, to memory of its own.
    """
    x, y = samples(10)
    net, optimizer = Network([6, units, 3], dropout=0.5), OPTIMIZERS[name](0.01)
    run, data, masks = step_arguments(lib, net, optimizer, x, y, range(10), np.arange(2, dtype="int32"))
    step = make_step(net, optimizer.fused(lib.backend.fuse))
    if compiled:
        step = lib.backend.compile(step)
        for _ in range(3):
            run = step(run, data, masks)
    before = [address(array) for array in (run.theta, *run.state, *run[2:])]
    start = lib.host(run.theta).copy()
    for _ in range(2):
        run = step(run, data, masks)
    assert [address(array) for array in (run.theta, *run.state, *run[2:])] == before
    assert not np.array_equal(lib.host(run.theta), start)


@pytest.mark.parametrize("units", [4, BLOCK // 9 + 1])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_fused_update_is_the_update(name, units) -> None:
    optimizer = OPTIMIZERS[name](0.01)
    size = Network([6, units, 3]).size
    rng = np.random.default_rng(0)
    plain, fused = rng.normal(size=size), rng.normal(size=0)
    fused = plain.copy()
    states = [optimizer.init(plain), optimizer.init(fused)]
    update = optimizer.fused(xpdl.backend("numpy").fuse)
    for _ in range(3):
        grad = rng.normal(size=size)
        plain, states[0] = optimizer.update(plain, grad, states[0])
        fused, states[1] = update(fused, grad, states[1])
    assert np.array_equal(fused, plain)


def test_a_kernel_that_makes_new_vectors_is_refused() -> None:
    """Half of its blocks would be lost."""
    optimizer = elementwise(0, lambda t: (0.1,), lambda theta, grad, lr: (theta - lr * grad,))
    with pytest.raises(TypeError, match="must return vectors it was given, changed by augmented assignment"):
        quiet_train(DROPPING, *samples(8), optimizer=optimizer, epochs=1)


def test_training_leaves_the_arithmetic_of_the_process_as_it_was() -> None:
    """Inside an update NumPy takes denormal numbers for zero; outside they exist."""
    quiet_train(DROPPING, *samples(16), epochs=1)
    smallest = np.array([1e-38], "float32")
    assert float(smallest[0] * np.float32(0.25)) > 0
    assert (smallest * np.float32(0.25)).tolist() != [0.0]


@on_each
@pytest.mark.parametrize("own", [False, True], ids=["host arrays", "device arrays"])
def test_training_changes_none_of_its_arguments(lib, own) -> None:
    x, y = samples(20)
    net = Network([6, 4, 3], dropout=0.5)
    given = [x, np.eye(3)[y], net.initialize(1, "float64"), x + 1, y]
    given = [np.asarray(a, lib.dtype) if a.dtype.kind == "f" else a for a in given]
    arrays = [lib.put(a) if own else a.copy() for a in given]
    x, y, theta, xv, yv = arrays
    options = {"epochs": 2, "batch_size": 8, "backend": lib.backend, "dtype": lib.dtype}
    result = quiet_train(net, x, y, theta=theta, validation=(xv, yv), callbacks=[KeepBest()], **options)
    assert not np.array_equal(result.theta, given[2])
    for array, before in zip(arrays, given, strict=True):
        assert np.array_equal(lib.host(array) if own else array, before)


@on_each
def test_the_result_shares_no_memory_with_where_it_started(lib) -> None:
    theta = DROPPING.initialize(0, lib.dtype)
    result = quiet_train(DROPPING, *samples(4), theta=theta, epochs=0, backend=lib.backend, dtype=lib.dtype)
    assert np.array_equal(result.theta, theta)
    result.theta[:] = 0
    assert np.array_equal(theta, DROPPING.initialize(0, lib.dtype))


# --- history and callbacks


REGRESSION = Network([3, 1], output="linear")
LINE = np.eye(3), np.arange(3.0)


def test_the_history_holds_plain_numbers_of_each_epoch() -> None:
    x, y = samples(20)
    history = quiet_train(DROPPING, x, y, epochs=3, validation=(x, y)).history
    assert [metrics["epoch"] for metrics in history] == [1, 2, 3]
    for metrics in history:
        assert set(metrics) == {"epoch", "loss", "seconds", "validation_loss", "validation_accuracy"}
        assert {key: type(value) for key, value in metrics.items()} == dict.fromkeys(metrics, float) | {"epoch": int}
        assert metrics["seconds"] > 0
    assert json.loads(json.dumps(history)) == history


def test_without_validation_the_history_says_nothing_of_it() -> None:
    history = quiet_train(DROPPING, *samples(20), epochs=1).history
    assert set(history[0]) == {"epoch", "loss", "seconds"}


@on_each
def test_validation_metrics_are_those_of_the_parameters_after_the_epoch(lib) -> None:
    """Without dropout, without L2."""
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


def test_callbacks_are_called_after_each_epoch_with_numbers_and_the_steps_done() -> None:
    seen = []
    result = quiet_train(
        DROPPING, *samples(25), epochs=3, batch_size=8, callbacks=[lambda metrics, step: seen.append((metrics, step))]
    )
    assert [step for _, step in seen] == [4, 8, 12]
    assert [dict(metrics) for metrics, _ in seen] == result.history
    assert all(isinstance(metrics, dict) for metrics, _ in seen)


def test_a_function_like_that_of_mlflow_is_a_callback() -> None:
    logged = {}

    def log_metrics(metrics: dict[str, float], step: int | None = None, synchronous: bool | None = None) -> None:
        logged[step] = {str(key): float(value) for key, value in metrics.items()}

    quiet_train(DROPPING, *samples(16), epochs=2, batch_size=8, callbacks=[log_metrics])
    assert list(logged) == [2, 4]
    assert math.isfinite(logged[4]["loss"])


def test_a_callback_cannot_change_the_history() -> None:
    result = quiet_train(DROPPING, *samples(8), epochs=2, callbacks=[lambda metrics, step: metrics.clear()])
    assert len(result.history[1]) == 3


@on_each
def test_a_callback_gets_copies_of_the_parameters(lib) -> None:
    """Each belongs to its epoch, and stays what it is when training goes on in the same memory."""
    thetas = []

    def keep(metrics, step):
        thetas.append(metrics.theta)

    options = {"backend": lib.backend, "dtype": lib.dtype, "batch_size": 8}
    result = quiet_train(DROPPING, *samples(16), epochs=3, callbacks=[keep], **options)
    assert np.array_equal(thetas[2], result.theta)
    assert np.array_equal(thetas[0], quiet_train(DROPPING, *samples(16), epochs=1, **options).theta)
    assert not np.array_equal(thetas[0], thetas[1])


@on_each
def test_stop_training_ends_the_run_with_what_was_learned(lib) -> None:
    def stop(metrics, step):
        if metrics["epoch"] == 2:
            raise StopTraining("enough")

    options = {"backend": lib.backend, "dtype": lib.dtype}
    result = quiet_train(DROPPING, *samples(16), epochs=9, callbacks=[stop], **options)
    assert [metrics["epoch"] for metrics in result.history] == [1, 2]
    assert not result.interrupted
    assert np.array_equal(result.theta, quiet_train(DROPPING, *samples(16), epochs=2, **options).theta)


def test_the_last_epoch_is_seen_by_the_callbacks_after_the_one_that_stops(capfd) -> None:
    """A log is complete, and the best epoch is kept, in whatever order the callbacks stand."""

    def stop(metrics, step):
        if metrics["epoch"] == 3:
            raise StopTraining("enough")

    seen, best = [], KeepBest()
    callbacks = [stop, best, lambda metrics, step: seen.append(metrics["epoch"])]
    result = quiet_train(REGRESSION, *LINE, optimizer=sgd(0.1), epochs=9, callbacks=callbacks)
    assert seen == [1, 2, 3]
    assert best.metrics == result.history[2]
    assert np.array_equal(result.theta, best.theta)


def test_another_error_in_a_callback_is_the_caller_s() -> None:
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


def test_keep_best_decides_the_parameters_of_the_result() -> None:
    thetas, best = [], KeepBest()
    keep = [lambda metrics, step: thetas.append(metrics.theta), best]
    result = quiet_train(epochs=7, callbacks=keep, **worse_from(5))
    losses = [metrics["validation_loss"] for metrics in result.history]
    assert np.argmin(losses) == 3
    assert len(losses) == 7
    assert np.array_equal(result.theta, thetas[3])
    assert best.metrics == result.history[3]


def test_early_stopping_ends_the_run_and_keeps_the_best() -> None:
    thetas = []
    callbacks = [lambda metrics, step: thetas.append(metrics.theta), EarlyStopping(2)]
    result = quiet_train(epochs=50, callbacks=callbacks, **worse_from(5))
    assert len(result.history) == 4 + 2
    assert np.array_equal(result.theta, thetas[3])


@pytest.mark.parametrize("epochs", [0, 1])
def test_a_kept_best_of_an_earlier_run_does_not_leak_into_the_next(epochs) -> None:
    """result.theta always is of this run and of this network."""
    best = KeepBest()
    x, y = samples(30)
    quiet_train(Network([6, 9, 3]), x, y, epochs=30, optimizer=adam(0.05), callbacks=[best])
    net = Network([6, 4, 3])
    result = quiet_train(net, x, y, epochs=epochs, optimizer=sgd(0.0), callbacks=[best])
    assert np.array_equal(result.theta, net.initialize(0))


# --- what ends a run: divergence


def exploding(step):
    """Gradient descent whose rate becomes infinite at a step, counted from 0."""
    return sgd(lambda t: 0.1 / namespace(t).astype(t < step, t.dtype))


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
def test_divergence_is_an_error_that_names_the_place_and_keeps_the_last_good_parameters(lib, step, where, good) -> None:
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
def test_a_cost_that_is_not_finite_in_the_very_first_step_gives_back_the_start(lib) -> None:
    theta = np.full(4, 1e25 if lib.dtype == "float32" else 1e200, lib.dtype)
    with pytest.raises(DivergenceError, match="the cost in step 1 of epoch 1") as caught:
        quiet_train(REGRESSION, np.ones((5, 3)), np.ones(5), theta=theta, backend=lib.backend, dtype=lib.dtype)
    assert np.array_equal(caught.value.result.theta, theta)
    assert caught.value.result.history == []


def test_callbacks_do_not_see_an_epoch_that_diverged() -> None:
    seen = []
    with pytest.raises(DivergenceError):
        quiet_train(
            Network([6, 3]), *samples(8), optimizer=exploding(1), batch_size=4, callbacks=[lambda m, s: seen.append(s)]
        )
    assert seen == []


def test_a_label_given_as_a_one_hot_row_of_nan_never_trains() -> None:
    with pytest.raises(ValueError, match="y must be finite"):
        quiet_train(Network([6, 3]), samples(4)[0], np.full((4, 3), np.nan))


# --- what ends a run: Ctrl-C


@pytest.fixture
def sigint():
    """A way to set the handler of SIGINT; at first it is Python's own, and afterwards what it was."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda handler: signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGINT, before)


def interrupting(optimizer, at, times=1):
    """The optimizer, with SIGINT in its update number ``at``, and the list of its calls."""
    counted, calls = counting(optimizer)

    def update(theta, grad, state):
        result = counted.update(theta, grad, state)
        for _ in range(times if len(calls) == at else 0):
            signal.raise_signal(signal.SIGINT)
        return result

    return Optimizer(optimizer.init, update), calls


def test_ctrl_c_ends_the_run_after_the_step_in_progress(sigint) -> None:
    x, y = samples(24)
    optimizer, calls = interrupting(adam(0.01), at=5)
    result = quiet_train(DROPPING, x, y, optimizer=optimizer, epochs=9, batch_size=8, seed=2, dtype="float64")
    assert result.interrupted
    assert len(calls) == 5
    thetas, losses = by_hand(DROPPING, x, y, adam(0.01), epochs=2, batch=8, seed=2)
    agree(result.theta, thetas[4], 1e-12)
    assert [metrics["loss"] for metrics in result.history] == pytest.approx(losses[:1], rel=1e-12)


@on_each
def test_ctrl_c_between_epochs_ends_the_run_on_every_backend(lib, sigint) -> None:
    def press(metrics, step):
        signal.raise_signal(signal.SIGINT)

    x, y = samples(24)
    result = quiet_train(DROPPING, x, y, epochs=9, callbacks=[press], backend=lib.backend, dtype=lib.dtype)
    assert result.interrupted
    assert len(result.history) == 1
    assert np.isfinite(result.theta).all()
    assert not np.array_equal(result.theta, DROPPING.initialize(0, lib.dtype))


def test_a_second_ctrl_c_ends_the_run_at_once(sigint) -> None:
    optimizer, calls = interrupting(adam(), at=2, times=2)
    with pytest.raises(KeyboardInterrupt):
        quiet_train(DROPPING, *samples(24), optimizer=optimizer, epochs=9, batch_size=8)
    assert len(calls) == 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_run_that_nobody_interrupts_is_not_interrupted() -> None:
    assert not quiet_train(DROPPING, *samples(8), epochs=1).interrupted


@pytest.mark.parametrize("ending", ["as planned", "interrupted", "diverged", "error"])
def test_the_handler_of_ctrl_c_is_what_it_was_however_the_run_ends(sigint, ending) -> None:
    def handler(number, frame):
        raise AssertionError("the first Ctrl-C is for the run")

    sigint(handler)
    optimizer = {"interrupted": interrupting(adam(), at=1)[0], "diverged": exploding(0)}.get(ending, adam())
    callbacks = [lambda metrics, step: 1 / 0] if ending == "error" else []
    try:
        quiet_train(DROPPING, *samples(24), optimizer=optimizer, epochs=2, batch_size=8, callbacks=callbacks)
    except (DivergenceError, ZeroDivisionError):
        assert ending in ("diverged", "error")
    assert signal.getsignal(signal.SIGINT) is handler


def test_the_second_ctrl_c_goes_to_the_handler_there_was(sigint) -> None:
    received = []
    sigint(lambda number, frame: received.append(number))
    optimizer, calls = interrupting(adam(), at=2, times=2)
    result = quiet_train(DROPPING, *samples(24), optimizer=optimizer, epochs=9, batch_size=8)
    assert (received, len(calls), result.interrupted) == ([signal.SIGINT], 2, True)


def test_where_ctrl_c_is_ignored_it_stays_ignored(sigint) -> None:
    """As in a background job of a shell script, which a Ctrl-C in the foreground must not end."""
    sigint(signal.SIG_IGN)
    optimizer, calls = interrupting(adam(), at=2)
    result = quiet_train(DROPPING, *samples(24), optimizer=optimizer, epochs=2, batch_size=8)
    assert (len(calls), result.interrupted) == (6, False)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_training_works_in_a_thread() -> None:
    """Where signals cannot be handled, and are left alone."""
    results, before = [], signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=lambda: results.append(quiet_train(DROPPING, *samples(8), epochs=2)))
    thread.start()
    thread.join()
    assert np.array_equal(results[0].theta, quiet_train(DROPPING, *samples(8), epochs=2).theta)
    assert signal.getsignal(signal.SIGINT) is before


# --- what is printed


def test_without_progress_nothing_is_printed(capfd) -> None:
    quiet_train(DROPPING, *samples(8), epochs=2, callbacks=[EarlyStopping(1)], optimizer=sgd(0.0))
    assert capfd.readouterr() == ("", "")


def test_where_there_is_no_terminal_an_epoch_is_a_line(capfd) -> None:
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


def test_the_reason_of_an_early_end_is_printed(capfd) -> None:
    quiet_train(DROPPING, *samples(8), epochs=9, callbacks=[EarlyStopping(2)], optimizer=sgd(0.0), progress=True)
    assert capfd.readouterr().out.splitlines()[-1] == "stopped: no better epoch in the last 2"


# --- it learns


@on_each
def test_it_learns_to_tell_three_clouds_apart(lib) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(150) % 3
    x = rng.normal(size=(150, 2)) + 6 * np.array([[0, 1], [1, 0], [-1, -1]])[y]
    net = Network([2, 16, 3])
    options = {"backend": lib.backend, "dtype": lib.dtype}
    result = quiet_train(net, x, y, optimizer=adam(0.02), epochs=8, batch_size=32, validation=(x, y), **options)
    assert result.history[-1]["validation_accuracy"] >= 0.99
    assert result.history[-1]["loss"] < 0.2 * result.history[0]["loss"]


@on_each
def test_logistic_regression_finds_the_line_between_two_clouds(lib) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(100) % 2
    x = rng.normal(size=(100, 2)) + 6 * y[:, None] - 3
    options = {"backend": lib.backend, "dtype": lib.dtype}
    net = Network([2, 1], output="sigmoid")
    result = quiet_train(net, x, y, optimizer=sgd(0.5), epochs=10, batch_size=25, validation=(x, y), **options)
    assert result.history[-1]["validation_accuracy"] == 1.0


@on_each
def test_linear_regression_recovers_the_weights(lib) -> None:
    rng = np.random.default_rng(0)
    x, w, b = rng.normal(size=(64, 3)), rng.normal(size=(3, 2)), rng.normal(size=2)
    net = Network([3, 2], output="linear")
    options = {"backend": lib.backend, "dtype": lib.dtype, "batch_size": None}
    result = quiet_train(net, x, x @ w + b, optimizer=sgd(0.7), epochs=100, **options)
    lib.close(lib.put(result.theta), np.concatenate([w.ravel(), b]), scale=10)


@on_each
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_result_has_the_dtype_asked_for(lib, dtype) -> None:
    if dtype == "float64" and lib.dtype == "float32":
        pytest.skip("has no float64")
    x, y = samples(16)
    net = Network([6, 4, 3], l2=0.1, dropout=0.5)
    result = quiet_train(net, x, y, epochs=1, batch_size=8, backend=lib.backend, dtype=dtype, callbacks=[KeepBest()])
    assert type(result.theta) is np.ndarray
    assert (result.theta.dtype, result.theta.shape) == (dtype, (net.size,))


@on_each
def test_options_given_as_numpy_scalars_are_plain_numbers(lib) -> None:
    """A NumPy float64 must not turn a float32 run into a float64 one."""
    x, y = samples(16)
    options = {"epochs": 2, "batch_size": 8, "backend": lib.backend}
    plain = Network([6, 4, 3], l2=0.1, dropout=0.5, init=0.25)
    scalar = Network([6, 4, 3], l2=np.float64(0.1), dropout=np.float64(0.5), init=np.float64(0.25))
    expected = quiet_train(plain, x, y, optimizer=adam(0.01), **options)
    actual = quiet_train(scalar, x, y, optimizer=adam(np.float64(0.01)), **options)
    assert actual.theta.dtype == "float32"
    assert np.array_equal(actual.theta, expected.theta)


# --- a loss of your own


def clipped_error(s, p, y):
    xp, e = namespace(s), s - y
    return xp.clip(e, -1.0, 1.0)


def huber_cost(s, y):
    c = clipped_error(s, s, y)
    return namespace(s).sum(c * (s - y - 0.5 * c), axis=-1)


@on_each
def test_a_loss_of_your_own_is_one_run_on_every_backend(lib) -> None:
    """As long as all errors are small it is the run with half their squares."""
    huber = xpdl.Loss(huber_cost, clipped_error)
    x, y = samples(50)
    targets = np.stack([np.sin(x[:, 0]), 100.0 * (y == 1)], axis=1)
    options = {"epochs": 3, "batch_size": 8, "dtype": lib.dtype, "seed": 5, "optimizer": adam(0.01)}
    nets = [Network([6, 16, 2], output=output, l2=0.1, dropout=0.5) for output in (huber, "linear")]
    actual = quiet_train(nets[0], x, targets, backend=lib.backend, validation=(x, targets), **options)
    expected = quiet_train(nets[0], x, targets, validation=(x, targets), **options)
    agree(actual.theta, expected.theta, 1e-9 if lib.dtype == "float64" else 1e-5)
    assert expected.history[-1]["validation_loss"] < expected.history[0]["validation_loss"]
    small = [quiet_train(net, x, 1e-3 * targets, theta=np.zeros(net.size), **options).theta for net in nets]
    agree(small[0], small[1], 1e-5)
