"""Kernels in C: the numbers of NumPy to the last bit, however operands are broadcast, with or without a compiler."""

import numpy as np
import pytest

import xpdl
from xpdl import Network
from xpdl.backends import numpy as numpy_backend
from xpdl.backends.denormals import Flushed
from xpdl.backends.kernels import c_compiler as c_kernels
from xpdl.backends.kernels.c_compiler import Kernel
from xpdl.backends.numpy import LONG, blocked, fuse
from xpdl.backends.numpy_replay import LARGE
from xpdl.files.train_state import Carry
from xpdl.optimizers import OPTIMIZERS
from xpdl.training.dropout import dropout_masks
from xpdl.training.step import Data, make_step

needs_compiler = pytest.mark.skipif(c_kernels.compiler() is None, reason="there is no C compiler")
NUMPY = xpdl.backend("numpy")


def updated(fuse, name, dtype, steps=4):
    """theta and state after some steps of long vectors."""
    optimizer = OPTIMIZERS[name](xpdl.schedules.cosine(0.01, 9))
    rng, update = np.random.default_rng(0), optimizer.fused(fuse)
    theta = rng.normal(size=LONG).astype(dtype)
    state = optimizer.init(theta)
    for _ in range(steps):
        theta, state = update(theta, rng.normal(size=LONG).astype(dtype), state)
    return [theta, *state]


@needs_compiler
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_are_the_same_to_the_last_bit(name, dtype) -> None:
    assert all(map(np.array_equal, updated(fuse, name, dtype), updated(blocked, name, dtype)))


WIDE = Network([784, 160, 128, 10], l2=0.1, dropout=0.3)
"""Longer than LONG, with products that are LARGE."""


def trained(compiled, net, images, sizes=(128, 128, 128, 100)):
    """The run after an epoch, and the step."""
    rng = np.random.default_rng(0)
    n = sum(sizes)
    x = rng.integers(0, 256, (n, 784)).astype(np.uint8) if images else rng.normal(size=(n, 784)).astype("float32")
    y, order = np.eye(10, dtype="float32")[rng.integers(0, 10, n)], rng.permutation(n).astype("int32")
    optimizer, theta = xpdl.adamw(1e-2), net.initialize(0)
    step = make_step(net, optimizer.fused(fuse if compiled else blocked))
    step = NUMPY.compile(step) if compiled else step
    run = Carry(theta, optimizer.init(theta), *(np.zeros((), t) for t in ("int32", "float32", "int32")))
    with Flushed(), NUMPY.activate():
        for number, size in enumerate(sizes):
            masks = dropout_masks(net, size, seed=0, step=number)
            run = step(run, Data(x, y, order, np.arange(size, dtype="int32")), masks)
    return [run.theta, *run.state, *run[2:]], step


@needs_compiler
@pytest.mark.parametrize("images", [False, True])
@pytest.mark.parametrize("hidden", xpdl.activations.ACTIVATIONS)
def test_steps_are_the_same_to_the_last_bit(hidden, images) -> None:
    net = Network(WIDE.sizes, hidden=hidden, l2=0.1, dropout=0.3)
    assert net.size >= LONG
    (expected, _), (actual, step) = (trained(compiled, net, images) for compiled in (False, True))
    assert all(map(np.array_equal, actual, expected))
    (plan,) = (run for run in step.runs.values() if hasattr(run, "record"))
    kernels = [operation for operation in plan.record if isinstance(operation.function, Kernel)]
    assert len(kernels) > 4
    assert all(o.results[0].ndim == 0 or np.prod(o.results[0].shape) >= LARGE for o in kernels)


def test_short_vectors_are_not_worth_a_compiler(monkeypatch) -> None:
    monkeypatch.setattr(c_kernels, "compile_waiting", lambda: pytest.fail("a compiler was asked"))
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 20)), rng.integers(0, 10, 40)
    xpdl.train(Network([20, 30, 10]), x, y, epochs=3, batch_size=8, backend="numpy", progress=False)


BROADCAST = {
    "one": np.array(2.5, "float32"),
    "a number": 2.5,
    "row": np.arange(5, dtype="float32"),
    "a row of two axes": np.arange(5, dtype="float32")[None, :],
    "column": np.arange(3, dtype="float32")[:, None],
    "all": np.arange(15, dtype="float32").reshape(3, 5),
    "another dtype": np.arange(15, dtype="uint8").reshape(3, 5),
    "truth": np.arange(15).reshape(3, 5) % 2 == 0,
}


@needs_compiler
@pytest.mark.parametrize("operand", BROADCAST)
def test_operands_are_broadcast_as_by_numpy(operand) -> None:
    x = BROADCAST[operand]
    dtype = getattr(x, "dtype", np.dtype("float32")).name
    out, changed = np.zeros((3, 5), "float32"), np.ones((3, 5), "float32")
    kernel = Kernel(f"{dtype} x0", "float32 x1, float32 y2", "y2 = x1 - float32(x0);\nx1 = x1 + T(x0);", "test")
    kernel(x, changed, out)
    assert np.array_equal(out, np.broadcast_to(1 - np.asarray(x, "float32"), (3, 5)))
    assert np.array_equal(changed, np.broadcast_to(1 + np.asarray(x, "float32"), (3, 5)))


@needs_compiler
def test_a_bound_kernel_reads_what_is_there_when_it_is_called() -> None:
    rate, out = np.array(1.0), np.zeros(4)
    call = Kernel("float64 x0", "float64 y1", "y1 = x0 * x0;", "test").bind(rate, out)
    rate[...] = 3.0
    call()
    assert out.tolist() == [9.0] * 4


@needs_compiler
def test_nan_passes_through_maximum() -> None:
    x, out = np.array([np.nan, -1.0, 2.0]), np.zeros(3)
    Kernel("float64 x0", "float64 y1", "y1 = maximum(x0, float64(0.0));", "test")(x, out)
    assert np.array_equal(out, np.maximum(x, 0.0), equal_nan=True)


@needs_compiler
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ones((5, 3)).T, "strides"),
        (np.ones((3, 5), complex), "complex128"),
        (np.ones((2, 5)), r"shape \(2, 5\)"),
    ],
)
def test_what_it_cannot_read_is_refused(x, message) -> None:
    with pytest.raises(TypeError, match=message):
        Kernel("float64 x0", "float64 y1", "y1 = x0;", "test")(x, np.zeros((3, 5)))


@pytest.mark.parametrize("function", ["exp", "tanh", "pow", "log1p"])
def test_what_two_libraries_may_round_differently_is_refused(function) -> None:
    with pytest.raises(TypeError, match=function):
        Kernel("float64 x0", "float64 y1", f"y1 = {function}(x0);", "test")


@pytest.fixture
def with_compiler(monkeypatch):
    """A way to set $CC."""

    def use(command):
        monkeypatch.setenv("CC", command)
        c_kernels.compiler.cache_clear()

    monkeypatch.setattr(c_kernels, "_source", c_kernels.Source)  # nothing that was compiled before
    yield use
    monkeypatch.undo()
    c_kernels.compiler.cache_clear()


@pytest.mark.parametrize("command", ["", "no-such-compiler", "false"])
def test_without_a_compiler_that_works_the_numbers_are_the_same(with_compiler, command) -> None:
    with_compiler(command)
    assert all(map(np.array_equal, updated(fuse, "adam", "float32"), updated(blocked, "adam", "float32")))
    (expected, _), (actual, step) = (trained(compiled, WIDE, True) for compiled in (False, True))
    assert all(map(np.array_equal, actual, expected))
    assert not any(isinstance(o.function, Kernel) for run in step.runs.values() for o in getattr(run, "record", []))
    assert WIDE.size >= numpy_backend.LONG
