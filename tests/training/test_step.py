"""The training step: one text for every library, compiled once, in the same memory."""

import numpy as np
import pytest

import xpdl
from xpdl import Network, adam, dropout_masks, sgd
from xpdl.backends.numpy_replay import LONG
from xpdl.files.train_state import Carry
from xpdl.optimizers import OPTIMIZERS, elementwise
from xpdl.randomness import permutation
from xpdl.training.step import Data, is_constant, make_step

TRAINS = ["numpy", "strict-device1", "strict-no_float64", "jax", "torch", "cupy"]
on_each = pytest.mark.parametrize("lib", TRAINS, indirect=True)
DROPPING = Network([6, 16, 8, 3], l2=0.1, dropout=0.5)


@on_each
def test_a_step_takes_the_weights_of_its_own_samples(lib, samples, quiet_train, agree) -> None:
    """The step is compared with steps by hand, in two batches; the last batch is smaller."""
    (x, y), weight, net, rate = samples(10), np.linspace(0.5, 2, 10), Network([6, 5, 3]), 0.1
    theta = net.initialize(0, lib.dtype)
    for rows in np.split(permutation(0, 0, 10), [8]):
        theta = theta - rate * net.loss_and_grad(theta, x[rows].astype(lib.dtype), y[rows], None, weight[rows])[1]
    options = {"epochs": 1, "batch_size": 8, "backend": lib.backend, "dtype": lib.dtype, "optimizer": sgd(rate)}
    agree(quiet_train(net, x, y, sample_weight=weight, **options).theta, theta, 10 * lib.tolerance)


@pytest.mark.parametrize(("n", "traces"), [(24, 1), (25, 2)])
def test_jax_compiles_the_step_once_for_each_batch_size(n, traces, samples, quiet_train, counting) -> None:
    """Python code runs only while JAX traces the step: nothing depends on values, and no value is a constant."""
    pytest.importorskip("jax")
    optimizer, calls = counting(adam(xpdl.schedules.cosine(0.01, 12)))
    quiet_train(
        DROPPING, *samples(n), optimizer=optimizer, epochs=3, batch_size=8, backend="jax", validation=samples(9)
    )
    assert len(calls) == traces


def step_arguments(lib, net, optimizer, x, y, rows, positions):
    """Return the arguments of a step, with new arrays for those that it may change."""
    theta = lib.put(net.initialize(0, lib.dtype)) * 1.0
    zeros = lib.backend.zeros
    data = Data(lib.put(x), lib.put(np.eye(3)[y]), lib.put(np.asarray(rows, "int32")), lib.put(positions))
    carry = Carry(theta, optimizer.init(theta), zeros((), "int32"), zeros((), lib.dtype), zeros((), "int32"))
    masks = [None if mask is None else lib.put(mask) for mask in dropout_masks(net, len(positions), seed=0, step=0)]
    return carry, data, masks


def test_the_step_is_one_text_for_every_library_eager_or_traced(lib, samples) -> None:
    """The step takes the batch at the offset and changes only its consumed argument: the data may be read-only."""
    x, y = samples(10)
    net, rows, positions = DROPPING, [3, 1, 4, 0, 5, 9, 2, 6, 8, 7], np.arange(4, dtype="int32")
    optimizer = sgd(0.5)
    carry, data, masks = step_arguments(lib, net, optimizer, x, y, rows, positions)
    carry = carry._replace(offset=carry.offset + 2, mean=carry.mean + 1.5)
    carry = lib.call(make_step(net, optimizer.update), carry, data, masks)
    theta = net.initialize(0, "float64" if lib.dtype == "float64" else "float32").astype("float64")
    cost, grad = net.loss_and_grad(
        theta, x[[4, 0, 5, 9]], y[[4, 0, 5, 9]], dropout_masks(net, 4, seed=0, step=0, dtype="float64")
    )
    lib.close(carry.theta, theta - 0.5 * grad, scale=10)
    lib.close(carry.mean, (2 * 1.5 + 4 * cost) / 6, scale=10)
    assert (int(lib.host(carry.offset)), int(lib.host(carry.finite))) == (6, 1)


def address(array):
    return array.data_ptr() if hasattr(array, "data_ptr") else array.__array_interface__["data"][0]


@pytest.mark.parametrize("lib", ["numpy", "torch"], indirect=True)
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("units", [4, LONG // 9 + 1])
@pytest.mark.parametrize("compiled", [False, True])
def test_the_step_reuses_its_memory(lib, name, units, compiled, samples) -> None:
    """theta, the optimizer's state and the counters stay where they are, also if theta is long enough for kernels in C.

    A compiled step may move them once, to memory of its own.
    """
    x, y = samples(10)
    net, optimizer = Network([6, units, 3], dropout=0.5), OPTIMIZERS[name](0.01)
    carry, data, masks = step_arguments(lib, net, optimizer, x, y, range(10), np.arange(2, dtype="int32"))
    step = make_step(net, optimizer.fused(lib.backend.fuse))
    if compiled:
        step = lib.backend.compile(step)
        for _ in range(3):
            carry = step(carry, data, masks)
    before = [address(array) for array in (carry.theta, *carry.state, *carry[2:])]
    start = lib.host(carry.theta).copy()
    for _ in range(2):
        carry = step(carry, data, masks)
    assert [address(array) for array in (carry.theta, *carry.state, *carry[2:])] == before
    assert not np.array_equal(lib.host(carry.theta), start)


def test_a_kernel_may_make_new_vectors(samples, quiet_train) -> None:
    """A kernel may return new arrays instead of changing its arguments."""
    kernels = lambda theta, grad, lr: (theta - lr * grad,), lambda theta, grad, lr: (theta.__isub__(lr * grad),)
    optimizers = [elementwise(0, lambda t: (0.1,), kernel) for kernel in kernels]
    new, changed = (quiet_train(DROPPING, *samples(8), optimizer=optimizer, epochs=3) for optimizer in optimizers)
    assert np.array_equal(new.theta, changed.theta)


def test_training_leaves_the_arithmetic_of_the_process_as_it_was(samples, quiet_train) -> None:
    """Within an update NumPy treats denormal numbers as zero, but not outside of it."""
    quiet_train(DROPPING, *samples(16), epochs=1)
    smallest = np.array([1e-38], "float32")
    assert float(smallest[0] * np.float32(0.25)) > 0
    assert (smallest * np.float32(0.25)).tolist() != [0.0]


SQUARE = xpdl.Activation(lambda z: z * z, lambda da, z, a: 2 * z * da)
RATE = xpdl.schedules.step(0.1, every=3)


@pytest.mark.parametrize(
    ("net", "optimizer", "expected"),
    [
        (Network([6, 4, 3]), adam(0.1), True),
        (Network([6, 4, 3]), adam(RATE), False),
        (Network([6, 4, 3], hidden=SQUARE), adam(0.1), False),
        (Network([6, 3], output=xpdl.losses.LOSSES["softmax"]._replace(near_one=False)), adam(0.1), False),
        (Network([6, 4, 3]), xpdl.Optimizer(adam(0.1).init, adam(0.1).update), False),
        (Network([6, 4, 3]), xpdl.Optimizer(adam(0.1).init, adam(0.1).update, adam(0.1).fused), False),
    ],
    ids=["constant", "schedule", "own activation", "own loss", "own optimizer", "own fused optimizer"],
)
def test_a_step_is_constant_if_nothing_outside_can_change_it(net, optimizer, expected) -> None:
    assert is_constant(net, optimizer) is expected
