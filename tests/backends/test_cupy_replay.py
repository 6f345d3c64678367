"""Replayed steps on CuPy: on the pretend CuPy what is fused and what is not, and on a GPU steps as graphs.

More of the graphs is tested without a GPU in cuda/test_graph.py.
"""

from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
import pretend_cupy
from pretend_cupy import CUPY, GPU, XP, Cublas, put
import pytest

import xpdl
from xpdl import Network, schedules
from xpdl.arrays import namespace
from xpdl.backends import backend
from xpdl.backends.cuda.cublas import Products
from xpdl.backends.cuda.graph import Captured
from xpdl.backends.cupy_replay import compile, fusion, target
from xpdl.backends.kernels.operations import OPERATIONS
from xpdl.files.train_state import Carry
from xpdl.pytree import flatten
from xpdl.training.dropout import dropout_masks
from xpdl.training.step import Data, make_step

# On the pretend CuPy


@pytest.fixture
def pretended(raw_kernel):
    """(step) -> the step, compiled for the pretend CuPy."""
    pretend_cupy.start(raw_kernel)
    fusion.cache_clear()
    yield partial(compile, CUPY, XP, products=products)
    fusion.cache_clear()


def products(branches=1):
    memory = partial(pretend_cupy.empty, dtype="uint8")
    return Products(Cublas(), memory, lambda: GPU.current.ptr, branches=branches)


def lion(state, grad):
    """An update with the sign of an average (Chen et al. 2023)."""
    theta, m = state
    theta -= 0.01 * namespace(theta).sign(0.9 * m + 0.1 * grad)
    m += 0.1 * (grad - m)
    return theta, m


def updated(wrap, size=9_000, steps=6):
    """theta and m after some updates, and the wrapped update."""
    rng, update = np.random.default_rng(0), wrap(lion)
    state = tuple(put(rng.normal(size=size)) for _ in range(2))
    for _ in range(steps):
        state = update(state, put(rng.normal(size=size)))
    return [x.host() for x in state], update


def test_an_update_with_a_sign_is_one_launch(pretended) -> None:
    (expected, _), (actual, update) = (updated(wrap) for wrap in (lambda step: step, pretended))
    [captured] = update.runs.values()
    assert isinstance(captured, Captured)
    assert len(captured.plan.calls) == 1
    assert all(map(np.array_equal, expected, actual))


def test_an_operation_that_the_table_does_not_know_is_a_launch_of_its_own(pretended, monkeypatch) -> None:
    """It raised an error when there was a tracer."""
    monkeypatch.delitem(OPERATIONS, "sign")
    (expected, _), (actual, update) = (updated(wrap) for wrap in (lambda step: step, pretended))
    [captured] = update.runs.values()
    assert isinstance(captured, Captured)
    assert len(captured.plan.calls) == 3
    assert all(map(np.array_equal, expected, actual))


def test_a_target_has_a_writer_for_what_is_not_elementwise(pretended) -> None:
    made = target(CUPY, XP, products)
    assert {XP.take, XP.astype, XP.sum, XP.max, XP.min} <= made.writers.keys()
    assert made.elementwise(XP.exp)
    assert not made.elementwise(XP.sum)
    assert not made.exact


# On a GPU


@pytest.fixture
def cupy():
    return pytest.importorskip("cupy", reason="needs CuPy")


@pytest.fixture
def gpu(cupy):
    try:
        return backend("cupy")
    except RuntimeError as error:
        pytest.skip(str(error))


def test_a_compiled_step_reads_rates_on_the_device(gpu):
    """A rate that was captured as a number would never change."""

    def step(x, rate):
        x -= rate
        return x

    compiled, x, rate = gpu.compile(step), gpu.asarray(np.ones(1000)), gpu.asarray(np.asarray(0.25))
    for _ in range(4):
        x = compiled(x, rate)
    rate[...] = 0.5
    np.testing.assert_array_equal(gpu.to_numpy(compiled(x, rate)), np.full(1000, -0.5))


NETS = {
    "relu softmax dropout l2": Network([784, 256, 128, 10], l2=0.1, dropout=0.4),
    "logistic regression": Network([6, 1], output="sigmoid"),
    "linear": Network([6, 4, 2], hidden="tanh", output="linear"),
    **{f"{name} softmax": Network([6, 4, 3], hidden=name) for name in xpdl.activations.ACTIVATIONS},
}
RATE = schedules.warmup(schedules.cosine(0.01, 15), 3)


def train_by(wrap, chosen, net, dtype, optimizer, *, sizes=(64, 64, 40), epochs=6):
    """The runs after each step of a training whose masks, order and last batch change, and the step."""
    rng, put, zeros = np.random.default_rng(0), chosen.asarray, chosen.zeros
    n, d, k = sum(sizes), net.sizes[0], net.sizes[-1]
    x = rng.integers(0, 256, (n, d)).astype(np.uint8)
    y = net.targets(np.zeros(1, dtype), x, np.eye(k, dtype=dtype)[rng.integers(0, k, n)])
    x, y, theta = put(x), put(y), put(net.initialize(0, dtype))
    step = wrap(make_step(net, optimizer.update))
    state, seen, number = optimizer.init(theta), [], 0
    for _ in range(epochs):
        order, lanes = put(rng.permutation(n).astype(np.int32)), {m: put(np.arange(m, dtype="int32")) for m in sizes}
        run = Carry(theta, state, zeros((), "int32"), zeros((), dtype), zeros((), "int32"))
        for m in sizes:
            masks = dropout_masks(net, m, seed=0, step=number, backend=chosen, dtype=dtype)
            run = step(run, Data(x, y, order, lanes[m]), masks)
            seen.append([np.array(chosen.to_numpy(leaf)) for leaf in flatten(run)])
            number += 1
        theta, state = run.theta, run.state
    return seen, step


every_net = pytest.mark.parametrize(("net", "dtype"), list(product(NETS, ["float32", "float64"])))


@every_net
def test_a_graph_is_its_calls_one_by_one_bit_for_bit(gpu, monkeypatch, net, dtype):
    """A warning that there is no graph would be an error here."""
    from xpdl.backends.cuda.graph import Graphs

    actual, step = train_by(gpu.compile, gpu, NETS[net], dtype, xpdl.adam(RATE))
    assert {type(run) for run in step.runs.values()} == {Captured}
    assert all(run.graph is not None for run in step.runs.values())
    monkeypatch.setattr(Graphs, "dispatch", lambda graphs, plan, plain: plan)
    expected, _ = train_by(gpu.compile, gpu, NETS[net], dtype, xpdl.adam(RATE))
    for one, other in zip(expected, actual, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@every_net
def test_a_graph_is_the_step_to_rounding(gpu, net, dtype):
    """CuPy's products may be rounded in another order.  Adam would make a sign of a gradient that is all rounding."""
    expected, _ = train_by(lambda step: step, gpu, NETS[net], dtype, xpdl.momentum(RATE))
    actual, _ = train_by(gpu.compile, gpu, NETS[net], dtype, xpdl.momentum(RATE))
    for one, other in zip(expected, actual, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_allclose(b, a, rtol=0, atol=2e3 * np.finfo(dtype).eps * max(1.0, np.abs(a).max()))


@every_net
def test_a_graph_gives_the_numbers_of_numpy(gpu, net, dtype):
    host = backend("numpy")
    expected, _ = train_by(host.compile, host, NETS[net], dtype, xpdl.momentum(RATE))
    actual, _ = train_by(gpu.compile, gpu, NETS[net], dtype, xpdl.momentum(RATE))
    for one, other in zip(expected, actual, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_allclose(b, a, rtol=0, atol=2e4 * np.finfo(dtype).eps * max(1.0, np.abs(a).max()))


def test_products_in_tf32_are_off_by_as_much_as_tf32_is(gpu):
    """TF32 has 10 bits of a fraction: a gradient is off by some 1e-4; with float32 and with three products by 1e-7.

    The distance is relative to how far theta moves, 0.18 of a norm of 23.  So rounding theta counts 130-fold: NumPy's
    float32 is off by 1.4e-5.
    """
    net, dtype = Network([784, 256, 10]), "float32"
    expected, _ = train_by(gpu.compile, gpu, net, "float64", xpdl.sgd(1e-2))
    for precision, bounds in {"float32": (0, 5e-5), "3xtf32": (0, 5e-5), "tf32": (1e-6, 1e-2)}.items():
        chosen = backend(gpu, precision=precision)
        actual, _ = train_by(chosen.compile, chosen, net, dtype, xpdl.sgd(1e-2))
        moved = [np.linalg.norm(run[-1][0] - run[0][0]) for run in (actual, expected)]
        off = np.linalg.norm(actual[-1][0] - expected[-1][0]) / moved[1]
        assert bounds[0] <= off <= bounds[1]


def test_two_trainings_give_the_same_bits(gpu):
    """Evaluations between epochs do not disturb the graphs."""
    x, y = np.random.default_rng(0).integers(0, 256, (300, 784)).astype("uint8"), np.arange(300) % 10
    net = Network([784, 64, 10], dropout=0.2, inputs=xpdl.Scaling.images)
    options = {"epochs": 8, "batch_size": 64, "validation": (x, y), "progress": False}
    one, other = (xpdl.train(net, x, y, backend=gpu, **options) for _ in range(2))
    np.testing.assert_array_equal(one.theta, other.theta)
    host = xpdl.train(net, x, y, backend="numpy", **options)
    for here, there in zip(one.history, host.history, strict=True):
        assert here["loss"] == pytest.approx(there["loss"], rel=1e-3)
        assert here["validation_loss"] == pytest.approx(there["validation_loss"], rel=1e-3)


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_branches_give_the_bits_of_one_after_the_other(gpu, dropout):
    net = Network([784, 64, 64, 10], dropout=dropout)
    expected, _ = train_by(gpu.compile, gpu, net, "float32", xpdl.adam())
    actual, _ = train_by(partial(gpu.compile, branches=True), gpu, net, "float32", xpdl.adam())
    for one, other in zip(expected, actual, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_several_steps_a_graph_give_the_bits_of_one(gpu):
    x, y = np.random.default_rng(0).integers(0, 256, (1000, 784)).astype("uint8"), np.arange(1000) % 10
    options = {"epochs": 3, "batch_size": 16, "progress": False}
    net = Network([784, 64, 10], inputs=xpdl.Scaling.images)
    one, other = (xpdl.train(net, x, y, backend=chosen, **options) for chosen in (gpu, replace(gpu, repeat=None)))
    np.testing.assert_array_equal(one.theta, other.theta)


def test_graphs_follow_the_current_stream(gpu, cupy):
    """Nothing waits for another stream, so all that a step reads must have been written on its own."""

    def step(total, x):
        total += x * 2.0
        return total

    compiled, total = gpu.compile(step), gpu.zeros((1_000_000,), "float64")
    with cupy.cuda.Stream(non_blocking=True):
        for number in range(20):
            total = compiled(total, cupy.full(1_000_000, number, "float64"))
        assert set(gpu.to_numpy(total)) == {2.0 * sum(range(20))}
