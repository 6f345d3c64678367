"""What the tests of training share: samples, quiet runs, and a run step by step by hand."""

import signal

import numpy as np
import pytest

from xpdl import Optimizer, dropout_masks, sgd, train
from xpdl.arrays import namespace
from xpdl.randomness import permutation


def _samples(n, d=6, k=3, seed=0):
    """n points in k overlapping clouds, labels in turn."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % k
    return rng.normal(size=(n, d)) + rng.normal(size=(k, d))[y], y


@pytest.fixture(name="samples")
def samples_fixture():
    return _samples


def _quiet_train(net, x, y, **options):
    return train(net, x, y, **{"backend": "numpy", "progress": False, **options})


@pytest.fixture(name="quiet_train")
def quiet_train_fixture():
    return _quiet_train


def _agree(actual, expected, bound):
    """Equal to ``bound``, relative to the largest number."""
    np.testing.assert_allclose(actual, expected, rtol=0, atol=bound * np.abs(expected).max())


@pytest.fixture(name="agree")
def agree_fixture():
    return _agree


def _by_hand(net, x, y, optimizer, *, epochs, batch, seed):
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


@pytest.fixture(name="by_hand")
def by_hand_fixture():
    return _by_hand


def _counting(optimizer):
    """The optimizer, and a list that grows with each call of its update."""
    calls = []

    def update(theta, grad, state):
        calls.append(1)
        return optimizer.update(theta, grad, state)

    return Optimizer(optimizer.init, update), calls


@pytest.fixture(name="counting")
def counting_fixture():
    return _counting


def _exploding(step):
    """Gradient descent whose rate becomes infinite at a step, counted from 0."""
    return sgd(lambda t: 0.1 / namespace(t).astype(t < step, t.dtype))


@pytest.fixture(name="exploding")
def exploding_fixture():
    return _exploding


def _interrupting(optimizer, at, times=1):
    """The optimizer, with SIGINT in its update number ``at``, and the list of its calls."""
    counted, calls = _counting(optimizer)

    def update(theta, grad, state):
        result = counted.update(theta, grad, state)
        for _ in range(times if len(calls) == at else 0):
            signal.raise_signal(signal.SIGINT)
        return result

    return Optimizer(optimizer.init, update), calls


@pytest.fixture(name="interrupting")
def interrupting_fixture():
    return _interrupting
