"""Replayed steps: bit for bit what the step does, whatever changes between steps, and no memory is asked for."""

from functools import partial
from itertools import product

import numpy as np
import pytest

import xpdl
from xpdl import Network, schedules
from xpdl.backends.denormals import Flushed
from xpdl.backends.numpy_replay import LONG, TARGET
from xpdl.backends.replay import replayed
from xpdl.files.train_state import Carry
from xpdl.optimizers import OPTIMIZERS
from xpdl.pytree import flatten
from xpdl.training.dropout import dropout_masks
from xpdl.training.step import Data, make_step

NUMPY = xpdl.backend("numpy")
xp = NUMPY.xp
Replayed = partial(replayed.Replayed, TARGET)


def planned(step: replayed.Replayed) -> list[bool]:
    """Whether it is replayed now, for each choice of shapes."""
    return [isinstance(run, replayed.Plan) for run in step.runs.values()]


def as_it_is(step):
    """Not replayed, but with denormal numbers as zero as well."""

    def run(*arguments):
        with Flushed():
            return step(*arguments)

    return run


def train_by(wrap, net, optimizer, *, sizes=(8, 8, 5), epochs=3, dtype="float32", images=False):
    """The runs after each step of a training whose masks, order and last batch change, and the compiled step."""
    rng = np.random.default_rng(0)
    n, d, k = sum(sizes), net.sizes[0], net.sizes[-1]
    x = rng.integers(0, 256, (n, d)).astype(np.uint8) if images else rng.normal(size=(n, d)).astype(dtype)
    y = net.targets(np.zeros(1, dtype), x, np.eye(k, dtype=dtype)[rng.integers(0, k, n)])
    step = wrap(make_step(net, optimizer.update))
    theta = net.initialize(0, dtype)
    state, seen, number = optimizer.init(theta), [], 0
    for _ in range(epochs):
        order, zeros = rng.permutation(n).astype(np.int32), NUMPY.zeros
        run = Carry(theta, state, zeros((), "int32"), zeros((), dtype), zeros((), "int32"))
        for size in sizes:
            data = Data(x, y, order, np.arange(size, dtype=np.int32))
            run = step(run, data, dropout_masks(net, size, seed=0, step=number, dtype=dtype))
            seen.append([np.array(leaf) for leaf in flatten(run)])
            number += 1
        theta, state = run.theta, run.state
    return seen, step


NETS = {
    "relu softmax dropout l2": Network([6, 7, 5, 3], l2=0.1, dropout=0.4),
    "logistic regression": Network([6, 1], output="sigmoid"),
    "linear": Network([6, 4, 2], hidden="tanh", output="linear"),
    **{f"{name} softmax": Network([6, 4, 3], hidden=name) for name in xpdl.activations.ACTIVATIONS},
}


@pytest.mark.parametrize(("net", "dtype"), list(product(NETS, ["float32", "float64"])))
def test_a_replayed_step_is_the_step_bit_for_bit(net, dtype) -> None:
    """Order, masks and the number of samples change; parameters, state, cost and counters must be the same."""
    expected, _ = train_by(as_it_is, NETS[net], xpdl.adam(1e-2), dtype=dtype)
    actual, step = train_by(Replayed, NETS[net], xpdl.adam(1e-2), dtype=dtype)
    assert all(planned(step))
    for one, other in zip(expected, actual, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_learning_rate_changes_on_replay(name) -> None:
    """A rate that was read at the recording would go on for ever."""
    optimizer = OPTIMIZERS[name](schedules.warmup(schedules.cosine(0.1, 9), 3))
    expected, _ = train_by(as_it_is, NETS["linear"], optimizer)
    actual, step = train_by(Replayed, NETS["linear"], optimizer)
    assert all(planned(step))
    for one, other in zip(expected, actual, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_long_vectors_are_replayed() -> None:
    """In kernels in C, where there is a compiler."""
    net = Network([6, LONG // 9, 3])
    assert net.size > LONG
    expected, _ = train_by(as_it_is, net, xpdl.adamw(1e-2), sizes=(4, 4, 4, 4), epochs=1)
    actual, _ = train_by(Replayed, net, xpdl.adamw(1e-2), sizes=(4, 4, 4, 4), epochs=1)
    assert all(np.array_equal(a, b) for a, b in zip(expected[-1], actual[-1], strict=True))


def test_images_are_scaled_on_replay() -> None:
    expected, _ = train_by(as_it_is, NETS["linear"], xpdl.sgd(1e-2), images=True)
    actual, _ = train_by(Replayed, NETS["linear"], xpdl.sgd(1e-2), images=True)
    assert all(np.array_equal(a, b) for a, b in zip(expected[-1], actual[-1], strict=True))


def impure():
    calls = []

    def step(theta):
        calls.append(1)
        theta += float(len(calls))
        return theta

    return step


def reading():
    def step(theta):
        theta += 1.0
        theta += float(theta[0])
        return theta

    return step


def branching():
    def step(theta):
        theta *= 2.0
        theta += 1.0 if theta[0] > 5 else 0.0
        return theta

    return step


def methods():
    def step(theta):
        theta += theta.mean()
        return theta

    return step


def indexing():
    def step(theta):
        theta[0] += 1.0
        return theta

    return step


def asking():
    def step(theta):
        theta += theta.sum() if hasattr(theta, "sum") else 1.0
        return theta

    return step


def pythons():
    def step(state):
        theta, t = state
        theta += t
        return theta, t + 1

    return step


@pytest.mark.parametrize("make", [impure, reading, branching, methods, indexing, asking, pythons])
def test_what_is_no_function_of_arrays_runs_as_it_is(make) -> None:
    """And a run that fails while it is recorded has changed nothing."""
    start = ((np.ones(3), 1), (np.ones(3), 1)) if make is pythons else (np.ones(3), np.ones(3))
    (expected, actual), plain, compiled = start, make(), Replayed(make())
    for _ in range(5):
        expected, actual = plain(expected), compiled(actual)
    assert not any(planned(compiled))
    assert all(map(np.array_equal, flatten(actual), flatten(expected)))


def test_an_error_of_the_step_is_raised() -> None:
    def step(theta):
        raise ValueError("theta is not to be liked")

    with pytest.raises(ValueError, match="not to be liked"):
        Replayed(step)(np.ones(2))


@pytest.mark.parametrize("what", ["rate", "slope", "rate and slope"])
@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_what_a_callback_changes_counts_from_the_next_epoch(name, what) -> None:
    """A rate that is lowered where training stalls, an activation that is annealed."""
    if xpdl.available_backends()[name] != "ready":
        pytest.skip(xpdl.available_backends()[name])
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 6)), rng.integers(0, 3, 40)

    def trained(backend):
        now = {"rate": 0.1, "slope": 1.0}
        scaled = xpdl.Activation(lambda z: now["slope"] * z, lambda da, z, a: now["slope"] * da)

        def lower(metrics, step):
            if metrics["epoch"] in (2, 3):
                now["rate"] /= 4
                now["slope"] *= 0.5

        net = Network([6, 4, 3], hidden=scaled if "slope" in what else "tanh")
        optimizer = xpdl.momentum((lambda step: now["rate"]) if "rate" in what else 0.1)
        options = {"epochs": 5, "batch_size": 8, "dtype": "float64", "progress": False, "callbacks": [lower]}
        return xpdl.train(net, x, y, optimizer=optimizer, backend=backend, **options).theta

    strict = pytest.importorskip("array_api_strict") and "array_api_strict"
    np.testing.assert_allclose(trained(name), trained(strict), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_what_nothing_can_change_is_not_recorded_anew_each_epoch(optimizer, monkeypatch) -> None:
    """An activation that has a name, a rate that is a number; an epoch of one step would take ten times as long."""
    doubts = []
    monkeypatch.setattr(replayed.Replayed, "invalidate", lambda self: doubts.append(self))
    x, y = np.ones((4, 2)), np.zeros(4, int)
    for rate, expected in ((0.1, 0), (lambda step: 0.1, 3)):
        xpdl.train(Network([2, 2]), x, y, optimizer=optimizer(rate), epochs=3, backend="numpy", progress=False)
        assert len(doubts) == expected
