"""Training: one seed is one run on every backend, arguments stay as they are, and networks learn."""

import numpy as np
import pytest

import xpdl
from xpdl import KeepBest, Network, adam, momentum, sgd
from xpdl.arrays import namespace

TRAINS = ["numpy", "strict-device1", "strict-no_float64", "jax", "torch", "cupy"]
on_each = pytest.mark.parametrize("lib", TRAINS, indirect=True)
DROPPING = Network([6, 16, 8, 3], l2=0.1, dropout=0.5)


@pytest.mark.parametrize("optimizer", [adam(0.01), momentum(0.05, nesterov=True)], ids=["adam", "momentum"])
@on_each
def test_one_seed_is_one_run_on_every_backend(lib, optimizer, samples, quiet_train, agree) -> None:
    x, y = samples(50)
    options = {"optimizer": optimizer, "epochs": 2, "batch_size": 8, "dtype": lib.dtype, "validation": (x, y)}
    actual = quiet_train(DROPPING, x, y, backend=lib.backend, seed=5, **options)
    expected = quiet_train(DROPPING, x, y, seed=5, **options)
    bound = 1e-9 if lib.dtype == "float64" else 1e-5
    agree(actual.theta, expected.theta, bound)
    for key in ("loss", "validation_loss"):
        agree([h[key] for h in actual.history], [h[key] for h in expected.history], bound)


@on_each
def test_two_runs_on_one_backend_are_bit_identical(lib, samples, quiet_train) -> None:
    x, y = samples(50)
    runs = [
        quiet_train(DROPPING, x, y, epochs=2, batch_size=8, validation=(x, y), backend=lib.backend, dtype=lib.dtype)
        for _ in range(2)
    ]
    assert np.array_equal(runs[0].theta, runs[1].theta)
    first, second = ([{**metrics, "seconds": 0} for metrics in run.history] for run in runs)
    assert first == second


def test_another_seed_is_another_run(samples, quiet_train) -> None:
    x, y = samples(50)
    theta = DROPPING.initialize(0)
    runs = [quiet_train(DROPPING, x, y, epochs=1, theta=theta, seed=seed).theta for seed in (0, 1)]
    assert not np.array_equal(*runs)


@on_each
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_initial_weights_are_the_same_bits_everywhere(lib, dtype, samples, quiet_train) -> None:
    if dtype == "float64" and lib.dtype == "float32":
        pytest.skip("has no float64")
    x, y = samples(5)
    result = quiet_train(DROPPING, x, y, epochs=0, seed=7, backend=lib.backend, dtype=dtype)
    assert result.theta.dtype == dtype
    assert np.array_equal(result.theta, DROPPING.initialize(7, dtype))


@pytest.mark.parametrize("name", ["array_api_strict:device1", "jax", "torch", "cupy"])
def test_an_epoch_of_mnist_with_dropout_is_the_same_everywhere(data_folder, name, quiet_train, agree) -> None:
    try:
        chosen = xpdl.backend(name)
    except (ImportError, RuntimeError) as error:
        pytest.skip(str(error))
    mnist = xpdl.data.load("mnist")
    net = Network([784, 64, 10], dropout=0.5, l2=1e-4, inputs=mnist.scaling)
    x, y = mnist.x[:6000], mnist.y[:6000]
    actual, expected = (quiet_train(net, x, y, epochs=1, backend=b, dtype="float64") for b in (chosen, "numpy"))
    agree(actual.theta, expected.theta, 1e-9)


@pytest.mark.parametrize("net", [Network([6, 5, 3], l2=0.1), DROPPING], ids=["plain", "dropout"])
@on_each
def test_samples_of_weight_0_are_left_out(lib, net, samples, quiet_train) -> None:
    """The run has the same bits as one without these samples, with batches of any size."""
    (x, y), out = samples(50), np.arange(50) % 3 == 1
    options = {"epochs": 2, "batch_size": 8, "backend": lib.backend, "dtype": lib.dtype}
    kept = quiet_train(net, x[~out], y[~out], **options)
    weighted = quiet_train(net, x, y, sample_weight=1.0 - out, **options)
    assert np.array_equal(weighted.theta, kept.theta)


@on_each
def test_a_whole_number_as_weight_repeats_a_sample(lib, samples, quiet_train, agree) -> None:
    """This holds if a step uses all samples.  It also holds for the validation scores."""
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
@pytest.mark.parametrize("own", [False, True], ids=["host arrays", "device arrays"])
def test_training_changes_none_of_its_arguments(lib, own, samples, quiet_train) -> None:
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
def test_the_result_shares_no_memory_with_where_it_started(lib, samples, quiet_train) -> None:
    theta = DROPPING.initialize(0, lib.dtype)
    result = quiet_train(DROPPING, *samples(4), theta=theta, epochs=0, backend=lib.backend, dtype=lib.dtype)
    assert np.array_equal(result.theta, theta)
    result.theta[:] = 0
    assert np.array_equal(theta, DROPPING.initialize(0, lib.dtype))


def test_targets_of_nan_are_refused(samples, quiet_train) -> None:
    with pytest.raises(ValueError, match="y must be finite"):
        quiet_train(Network([6, 3]), samples(4)[0], np.full((4, 3), np.nan))


def test_a_validation_loss_that_is_not_finite_is_said(quiet_train) -> None:
    net, x = Network([1, 1], output="linear"), np.ones((4, 1))
    with pytest.warns(UserWarning, match="the validation loss is not finite in epoch 1 and 1 others"):
        result = quiet_train(net, x, x, epochs=2, validation=(1e30 * x, x), backend="numpy")
    assert len(result.history) == 2


@on_each
def test_it_learns_to_tell_three_clouds_apart(lib, quiet_train) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(150) % 3
    x = rng.normal(size=(150, 2)) + 6 * np.array([[0, 1], [1, 0], [-1, -1]])[y]
    net = Network([2, 16, 3])
    options = {"backend": lib.backend, "dtype": lib.dtype}
    result = quiet_train(net, x, y, optimizer=adam(0.02), epochs=8, batch_size=32, validation=(x, y), **options)
    assert result.history[-1]["validation_accuracy"] >= 0.99
    assert result.history[-1]["loss"] < 0.2 * result.history[0]["loss"]


@on_each
def test_logistic_regression_finds_the_line_between_two_clouds(lib, quiet_train) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(100) % 2
    x = rng.normal(size=(100, 2)) + 6 * y[:, None] - 3
    options = {"backend": lib.backend, "dtype": lib.dtype}
    net = Network([2, 1], output="sigmoid")
    result = quiet_train(net, x, y, optimizer=sgd(0.5), epochs=10, batch_size=25, validation=(x, y), **options)
    assert result.history[-1]["validation_accuracy"] == 1.0


@on_each
def test_linear_regression_recovers_the_weights(lib, quiet_train) -> None:
    rng = np.random.default_rng(0)
    x, w, b = rng.normal(size=(64, 3)), rng.normal(size=(3, 2)), rng.normal(size=2)
    net = Network([3, 2], output="linear")
    options = {"backend": lib.backend, "dtype": lib.dtype, "batch_size": None}
    result = quiet_train(net, x, x @ w + b, optimizer=sgd(0.7), epochs=100, **options)
    lib.close(lib.put(result.theta), np.concatenate([w.ravel(), b]), scale=10)


@on_each
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_result_has_the_dtype_asked_for(lib, dtype, samples, quiet_train) -> None:
    if dtype == "float64" and lib.dtype == "float32":
        pytest.skip("has no float64")
    x, y = samples(16)
    net = Network([6, 4, 3], l2=0.1, dropout=0.5)
    result = quiet_train(net, x, y, epochs=1, batch_size=8, backend=lib.backend, dtype=dtype, callbacks=[KeepBest()])
    assert type(result.theta) is np.ndarray
    assert (result.theta.dtype, result.theta.shape) == (dtype, (net.size,))


@on_each
def test_options_given_as_numpy_scalars_are_plain_numbers(lib, samples, quiet_train) -> None:
    """A NumPy float64 must not turn a float32 run into a float64 one."""
    x, y = samples(16)
    options = {"epochs": 2, "batch_size": 8, "backend": lib.backend}
    plain = Network([6, 4, 3], l2=0.1, dropout=0.5, init=0.25)
    scalar = Network([6, 4, 3], l2=np.float64(0.1), dropout=np.float64(0.5), init=np.float64(0.25))
    expected = quiet_train(plain, x, y, optimizer=adam(0.01), **options)
    actual = quiet_train(scalar, x, y, optimizer=adam(np.float64(0.01)), **options)
    assert actual.theta.dtype == "float32"
    assert np.array_equal(actual.theta, expected.theta)


def clipped_error(s, p, y):
    xp, e = namespace(s), s - y
    return xp.clip(e, -1.0, 1.0)


def huber_cost(s, y):
    c = clipped_error(s, s, y)
    return namespace(s).sum(c * (s - y - 0.5 * c), axis=-1)


@on_each
def test_a_loss_of_your_own_is_one_run_on_every_backend(lib, samples, quiet_train, agree) -> None:
    """As long as all errors are small, the run is the same as with half their squares."""
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


@on_each
def test_balanced_classes_weigh_the_same(lib, samples, quiet_train, agree) -> None:
    x, _ = samples(40)
    y = np.array([0] * 24 + [1] * 12 + [2] * 4)
    options = {"epochs": 2, "batch_size": 8, "dtype": lib.dtype, "backend": lib.backend}
    weight = np.array([40 / (3 * 24)] * 24 + [40 / (3 * 12)] * 12 + [40 / (3 * 4)] * 4)
    expected = quiet_train(DROPPING, x, y, sample_weight=weight, **options).theta
    for factors in ("balanced", dict(enumerate(weight[[0, 24, 36]]))):
        for labels in (y, np.eye(3)[y]):
            assert np.array_equal(quiet_train(DROPPING, x, labels, class_weight=factors, **options).theta, expected)
    both = quiet_train(DROPPING, x, y, class_weight="balanced", sample_weight=np.arange(40.0), **options).theta
    agree(both, quiet_train(DROPPING, x, y, sample_weight=weight * np.arange(40), **options).theta, 1e-6)
    some = quiet_train(DROPPING, x, y, class_weight={2: 3.0}, **options).theta
    assert np.array_equal(some, quiet_train(DROPPING, x, y, sample_weight=np.where(y == 2, 3.0, 1.0), **options).theta)


def test_classes_of_one_sigmoid_have_weights(samples, quiet_train) -> None:
    x, y = samples(30, k=2)
    net = Network([6, 4, 1], output="sigmoid")
    expected = quiet_train(net, x, y, epochs=2, sample_weight=np.where(y == 1, 5.0, 1.0)).theta
    assert np.array_equal(quiet_train(net, x, y[:, None], epochs=2, class_weight={1: 5.0}).theta, expected)


@pytest.mark.parametrize(
    ("net", "factors", "message"),
    [
        (DROPPING, "equal", "class_weight must be one of balanced"),
        (DROPPING, {3: 1.0}, r"a label of class_weight must be in \[0, 3\), got 3"),
        (DROPPING, {0: -1.0}, "class_weight must be finite and at least 0"),
        (DROPPING, {"a": 1.0}, "a label of class_weight must be an integer"),
        (DROPPING, [1.0, 2.0, 3.0], "class_weight must be"),
        (Network([6, 3], output="linear"), "balanced", "class_weight needs an output that tells classes apart"),
        (Network([6, 3], output="sigmoid"), "balanced", "class_weight needs an output that tells classes apart"),
    ],
)
def test_wrong_class_weights_are_refused(net, factors, message, samples, quiet_train) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        quiet_train(net, *samples(9), class_weight=factors)


def missing_targets(output, n=40, k=3):
    """y with NaN where the weight is 0, and in the first row."""
    rng = np.random.default_rng(0)
    y = {"sigmoid": rng.random((n, k)), "poisson": rng.poisson(2, (n, k)) * 1.0}.get(output, rng.normal(size=(n, k)))
    weight = rng.uniform(0.5, 2.0, (n, k)) * (rng.random((n, k)) < 0.6)
    weight[0] = 0
    return np.where(weight > 0, y, np.nan), weight


@on_each
@pytest.mark.parametrize("output", [name for name, loss in xpdl.losses.LOSSES.items() if loss.per_output])
def test_missing_targets_do_not_count(output, lib, samples, quiet_train, agree) -> None:
    """The run is that by hand, whatever stands where a target is missing."""
    x, (y, weight) = samples(40)[0], missing_targets(output)
    net = Network([6, 4, 3], output=output, l2=0.1)
    options = {"batch_size": None, "optimizer": sgd(0.1), "backend": lib.backend, "dtype": lib.dtype, "epochs": 2}
    result = quiet_train(net, x, y, sample_weight=weight, validation=(x, y, weight), **options)
    assert np.isfinite(result.theta).all()
    theta, others = net.initialize(0, lib.dtype), np.where(weight > 0, y, 0.25 if output == "sigmoid" else 7.0)
    for _ in range(2):
        theta = theta - 0.1 * net.loss_and_grad(theta, x[1:], others[1:], weight=weight[1:])[1]
    agree(result.theta, theta, 1e-9 if lib.dtype == "float64" else 1e-5)
    z = net.forward(theta, x)[-1].z
    each = np.stack([net.head.value(z[:, [j]], others[:, [j]]) for j in range(3)], axis=1)
    assert result.history[-1]["validation_loss"] == pytest.approx((each * weight).sum() / (weight.sum() / 3), rel=1e-5)


def test_accuracy_looks_at_the_labels_that_are_there() -> None:
    """A sample counts by the mean weight of its outputs, and is right if all labels that are not missing are."""
    net, theta = Network([3, 3], output="sigmoid"), np.concatenate([10 * np.eye(3).ravel(), np.zeros(3)])
    x = np.array([[1, -1, 1], [1, 1, 1], [-1, -1, -1.0]])
    y = np.array([[1, 0, np.nan], [0, 1, 1], [np.nan, 0, 0]])
    weight = np.array([[1, 1, 0], [1, 2, 1], [0, 1, 1.0]])
    found = xpdl.evaluate(net, theta, x, y, sample_weight=weight, backend="numpy")["accuracy"]
    assert found == pytest.approx((2 + 2) / (2 + 4 + 2))


def test_missing_targets_on_disk_and_on_ranks(tmp_path, samples, quiet_train, on_ranks) -> None:
    x, (y, weight) = samples(40)[0], missing_targets("linear")
    net = Network([6, 4, 3], output="linear", l2=0.1)
    options = {"sample_weight": weight, "epochs": 3, "batch_size": 7, "dtype": "float64"}
    alone = quiet_train(net, x, y, **options).theta
    for result in on_ranks(2, lambda ranks: quiet_train(net, x, y, communicator=ranks, **options)):
        np.testing.assert_allclose(result.theta, alone, rtol=1e-9, atol=1e-12)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    mapped = [np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in "xy"]
    disk = quiet_train(net, *mapped, **options | {"batch_size": None}).theta
    np.testing.assert_allclose(
        disk, quiet_train(net, x, y, **options | {"batch_size": None}).theta, rtol=1e-9, atol=1e-12
    )


def test_missing_targets_are_checkpointed_and_checked(tmp_path, samples, quiet_train) -> None:
    x, (y, weight) = samples(40)[0], missing_targets("huber")
    net = Network([6, 4, 3], output="huber", dropout=0.2)
    options = {"sample_weight": weight, "batch_size": 8, "dtype": "float64"}
    expected = quiet_train(net, x, y, epochs=3, check_gradients=1, **options)
    assert all(metrics["gradient_difference"] < 1e-9 for metrics in expected.history)
    quiet_train(net, x, y, epochs=2, checkpoint=tmp_path / "run", **options)
    resumed = quiet_train(net, x, y, epochs=3, resume=tmp_path / "run", **options)
    assert resumed.theta.tobytes() == expected.theta.tobytes()


def test_labels_of_samples_of_weight_0_may_be_missing(samples, quiet_train) -> None:
    x, y = samples(30)
    weight = np.where(np.arange(30) < 3, 0.0, 1.0)
    gone = np.where(weight > 0, y, np.nan)
    for labels in (gone, np.where(weight[:, None] > 0, np.eye(3)[y], np.nan)):
        found = quiet_train(DROPPING, x, labels, sample_weight=weight, validation=(x, labels, weight), epochs=2).theta
        assert np.array_equal(found, quiet_train(DROPPING, x, y, sample_weight=weight, epochs=2).theta)


def test_a_target_that_counts_must_be_there(samples, quiet_train) -> None:
    x, (y, weight) = samples(40)[0], missing_targets("linear")
    with pytest.raises(ValueError, match=r"y must be finite, got nan at y\[5, 1\]"):
        quiet_train(
            Network([6, 3], output="linear"),
            x,
            np.where(np.arange(40)[:, None] == 5, y * [1, np.nan, 1], y),
            sample_weight=np.where(np.arange(40)[:, None] == 5, 1.0, weight),
        )


def test_soft_labels_of_sigmoids_are_trained(samples, quiet_train) -> None:
    """The best p is the mean of the labels."""
    x, y = np.zeros((4, 1)), np.array([0.2, 0.4, 0.9, 0.1])
    net = Network([1, 1], output="sigmoid")
    result = quiet_train(net, x, y, epochs=500, optimizer=adam(0.05), validation=(x, y), dtype="float64")
    assert net.predict_proba(result.theta, x)[0] == pytest.approx(0.4, abs=1e-3)
    assert result.history[-1]["validation_accuracy"] == 0.75
