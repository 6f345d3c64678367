"""Replayed steps: bit for bit what the step does, whatever changes between steps, and no memory is asked for."""

from functools import partial
from itertools import product
import tracemalloc

import numpy as np
import pytest

import xpdl
from xpdl import Network, schedules
from xpdl.backends.denormals import Flushed
from xpdl.backends.numpy import BLOCK
from xpdl.backends.numpy_replay import MACHINE
from xpdl.backends.replay import recorder as record, replayed
from xpdl.files.train_state import Carry
from xpdl.optimizers import OPTIMIZERS
from xpdl.training.dropout import dropout_masks
from xpdl.training.step import Data, make_step

NUMPY = xpdl.backend("numpy")
xp = NUMPY.xp
Replayed = partial(replayed.Replayed, MACHINE)


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
    step = wrap(make_step(net, optimizer.fused(NUMPY.fuse)))
    theta = net.initialize(0, dtype)
    state, seen, number = optimizer.init(theta), [], 0
    for _ in range(epochs):
        order, zeros = rng.permutation(n).astype(np.int32), NUMPY.zeros
        run = Carry(theta, state, zeros((), "int32"), zeros((), dtype), zeros((), "int32"))
        for size in sizes:
            data = Data(x, y, order, np.arange(size, dtype=np.int32))
            run = step(run, data, dropout_masks(net, size, seed=0, step=number, dtype=dtype))
            seen.append([np.array(leaf) for leaf in record.flatten(run)])
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


def test_vectors_of_several_blocks_are_replayed() -> None:
    net = Network([6, BLOCK // 8, 3])
    assert net.size > BLOCK
    expected, _ = train_by(as_it_is, net, xpdl.adamw(1e-2), sizes=(4, 4, 4, 4), epochs=1)
    actual, _ = train_by(Replayed, net, xpdl.adamw(1e-2), sizes=(4, 4, 4, 4), epochs=1)
    assert all(np.array_equal(a, b) for a, b in zip(expected[-1], actual[-1], strict=True))


def test_images_are_scaled_on_replay() -> None:
    expected, _ = train_by(as_it_is, NETS["linear"], xpdl.sgd(1e-2), images=True)
    actual, _ = train_by(Replayed, NETS["linear"], xpdl.sgd(1e-2), images=True)
    assert all(np.array_equal(a, b) for a, b in zip(expected[-1], actual[-1], strict=True))


def test_a_replayed_step_asks_for_no_memory() -> None:
    """Of 100 kB for each of its results."""
    net, optimizer = Network([100, 100, 100, 10], dropout=0.5), xpdl.adam()
    x, y = np.ones((256, 100), "float32"), np.ones((256, 10), "float32")
    data = Data(x, y, np.arange(1024, dtype=np.int32) % 256, np.arange(256, dtype=np.int32))
    masks = [np.ones((256, 100), "float32")] * 2
    run = Carry(net.initialize(0), optimizer.init(net.initialize(0)), *(np.zeros((), t) for t in ("i4", "f4", "i4")))
    step = Replayed(make_step(net, optimizer.fused(NUMPY.fuse)))
    for _ in range(3):
        run = step(run, data, masks)
    tracemalloc.start()
    step(run, data, masks)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40_000  # NumPy's buffer for a sum with broadcasting is 32 kB


def test_vectors_are_moved_to_cache_lines() -> None:
    """NumPy's own memory begins 16 bytes behind one, and every vector instruction would read two: 7 % of a step."""
    net, optimizer = Network([100, 100, 10]), xpdl.adam()
    theta = np.empty(net.size + 1, "float32")[1:]
    theta[:] = net.initialize(0)
    data = Data(
        np.ones((8, 100), "f4"), np.ones((8, 10), "f4"), np.arange(64, dtype="i4") % 8, np.arange(8, dtype="i4")
    )
    run = Carry(theta, optimizer.init(theta), *(np.zeros((), t) for t in ("i4", "f4", "i4")))
    step = Replayed(make_step(net, optimizer.fused(NUMPY.fuse)))
    for _ in range(3):
        run = step(run, data, None)
    assert [array.ctypes.data % 64 for array in (run.theta, *run.state[1:])] == [0, 0, 0]


def test_gradients_are_computed_where_they_are_joined() -> None:
    """No product is copied into the gradient: ``concat`` finds every part in its place."""

    def step(theta, x):
        w, v = xp.reshape(theta[:12], (3, 4)), xp.reshape(theta[12:], (4, 2))
        a = x @ w
        dv = xp.matrix_transpose(a) @ (a @ v)
        dw = xp.matrix_transpose(x) @ (a @ v @ xp.matrix_transpose(v))
        theta += xp.concat([xp.reshape(dw, (-1,)), xp.reshape(dv, (-1,))])
        return theta

    rng = np.random.default_rng(0)
    x, theta = rng.normal(size=(5, 3)), rng.normal(size=20)
    expected, compiled = [theta := step(theta.copy(), x) for _ in range(4)][-1], Replayed(step)
    theta = np.random.default_rng(0).normal(size=35)[15:].copy()
    for _ in range(4):
        theta = compiled(theta, x)
    assert np.array_equal(theta, expected)
    (plan,) = compiled.runs.values()
    (joined,) = [o for o in plan.record if o.function is xp.concat]
    assert all(np.shares_memory(plan.arrays[joined.results[0]], plan.arrays[part]) for part in joined.inputs)


def test_what_is_not_consumed_is_never_written() -> None:
    def step(theta, x):
        theta += xp.sum(x * x)
        return theta

    compiled, theta = Replayed(step), np.zeros(3)
    for k in range(1, 6):
        x = np.full(2, float(k))
        x.flags.writeable = False
        theta = compiled(theta, x)
    assert theta.tolist() == [2.0 * (1 + 4 + 9 + 16 + 25)] * 3


def test_results_may_change_places() -> None:
    """The state of the next step is the state of this one in another order."""

    def step(state):
        a, b = state
        a *= 2.0
        return b, a

    compiled, state = Replayed(step), (np.ones(2), np.full(2, 3.0))
    for _ in range(6):
        state = compiled(state)
    assert [x.tolist() for x in state] == [[8.0, 8.0], [24.0, 24.0]]


def test_a_new_array_in_place_of_a_consumed_one_is_read() -> None:
    def step(theta):
        return theta * 2.0

    compiled, theta = Replayed(step), np.ones(3)
    for _ in range(5):
        theta = compiled(theta)
    assert theta.tolist() == [32.0] * 3
    assert compiled(np.full(3, 5.0)).tolist() == [10.0] * 3


def test_an_operand_that_is_broadcast_is_not_written_over() -> None:
    """Even where the result takes as many bytes: 4 numbers of 8, 32 of 1."""
    column = np.linspace(0, 6, 8)[:, None]

    def step(theta):
        hit = xp.reshape(theta, (1, 4)) * 2.0 > column
        theta += xp.sum(xp.astype(hit, theta.dtype), axis=0)
        return theta

    expected, theta, replayed = np.arange(4.0), np.arange(4.0), Replayed(step)
    for _ in range(4):
        expected, theta = step(expected), replayed(theta)
    assert np.array_equal(theta, expected)


def test_numpy_functions_are_recorded() -> None:
    """A kernel of the user's may call ``np.tanh`` where it should ask for the namespace."""

    def step(theta):
        theta -= np.tanh(theta)
        return theta

    compiled, expected, theta = Replayed(step), np.ones(3), np.ones(3)
    for _ in range(4):
        expected, theta = expected - np.tanh(expected), compiled(theta)
    assert np.array_equal(theta, expected)
    assert planned(compiled) == [True]


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
    assert all(map(np.array_equal, record.flatten(actual), record.flatten(expected)))


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


def test_a_large_constant_that_changes_in_the_middle_is_seen() -> None:
    """NumPy prints arrays of more than 1,000 entries with an ellipsis."""
    masks = [np.ones((40, 50)) for _ in range(5)]
    for k, mask in enumerate(masks):
        mask[20, 25] = k
    drawn = iter(masks)

    def step(theta):
        theta += next(drawn)
        return theta

    replayed, theta = Replayed(step), np.zeros((40, 50))
    for _ in masks:
        theta = replayed(theta)
    assert theta[20, 25] == 0 + 1 + 2 + 3 + 4
    assert planned(replayed) == [False]
