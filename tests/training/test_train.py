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
    net = Network([784, 64, 10], dropout=0.5, l2=1e-4)
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
