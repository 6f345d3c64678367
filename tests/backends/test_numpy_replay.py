"""Replayed steps on NumPy: kernels in C where vectors are long, with the bits of NumPy, in memory of their own."""

import tracemalloc

import numpy as np
import pytest

import xpdl
from xpdl import Network
from xpdl.backends.denormals import Flushed
from xpdl.backends.kernels import c_compiler
from xpdl.backends.kernels.c_compiler import Kernel
from xpdl.backends.numpy_replay import ALIGNMENT, LARGE, LONG, TARGET, elementwise, memory
from xpdl.backends.replay.plan import Plan
from xpdl.backends.replay.replayed import Replayed
from xpdl.files.train_state import Carry
from xpdl.optimizers import OPTIMIZERS
from xpdl.training.dropout import dropout_masks
from xpdl.training.step import Data, make_step

needs_compiler = pytest.mark.skipif(c_compiler.compiler() is None, reason="there is no C compiler")
NUMPY = xpdl.backend("numpy")


def updated(compiled, name, dtype, size, steps=4):
    """theta and state after some updates, and the update."""
    optimizer = OPTIMIZERS[name](xpdl.schedules.cosine(0.01, 9))
    rng, theta = np.random.default_rng(0), np.random.default_rng(1).normal(size=size).astype(dtype)

    def step(run, grad):
        theta, state = run
        return optimizer.update(theta, grad, state)

    update, run = NUMPY.compile(step) if compiled else step, (theta, optimizer.init(theta))
    with Flushed():
        for _ in range(steps):
            run = update(run, rng.normal(size=size).astype(dtype))
    return [run[0], *run[1]], update


def kernels(step):
    """The operations in C of the step's plan."""
    [plan] = [run for run in step.runs.values() if isinstance(run, Plan)]
    return [operation for operation in plan.record if isinstance(operation.function, Kernel)]


@needs_compiler
@pytest.mark.parametrize("size", [1, LARGE - 1, LONG - 1, LONG, LONG + 7])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_updates_are_the_same_to_the_last_bit(name, dtype, size) -> None:
    (expected, _), (actual, update) = (updated(compiled, name, dtype, size) for compiled in (False, True))
    assert all(map(np.array_equal, actual, expected))
    assert bool(kernels(update)) == (size >= LONG)


@needs_compiler
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_update_of_a_long_vector_is_one_kernel(name) -> None:
    """One pass over memory, in place."""
    _, update = updated(True, name, "float32", LONG)
    [plan] = update.runs.values()
    [kernel] = [operation for operation in plan.record if operation.results[0].shape == (LONG,)]
    assert isinstance(kernel.function, Kernel)


WIDE = Network([784, 160, 128, 10], l2=0.1, dropout=0.3)
"""Longer than LONG, with products that are LARGE."""


def trained(compiled, net, images, sizes=(128, 128, 128, 100)):
    """The run after an epoch, and the step."""
    rng = np.random.default_rng(0)
    n = sum(sizes)
    x = rng.integers(0, 256, (n, 784)).astype(np.uint8) if images else rng.normal(size=(n, 784)).astype("float32")
    y, order = np.eye(10, dtype="float32")[rng.integers(0, 10, n)], rng.permutation(n).astype("int32")
    optimizer, theta = xpdl.adamw(1e-2), net.initialize(0)
    step = make_step(net, optimizer.update)
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
    net = Network(WIDE.sizes, hidden=hidden, l2=0.1, dropout=0.3, inputs=xpdl.Scaling.images if images else None)
    assert net.size >= LONG
    (expected, _), (actual, step) = (trained(compiled, net, images) for compiled in (False, True))
    assert all(map(np.array_equal, actual, expected))
    found = kernels(step)
    assert len(found) > 4
    assert all(o.results[0].ndim == 0 or np.prod(o.results[0].shape) >= LARGE for o in found)


def test_short_vectors_are_not_worth_a_compiler(monkeypatch) -> None:
    monkeypatch.setattr(c_compiler, "compiled", lambda *arguments: pytest.fail("a compiler was asked"))
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 20)), rng.integers(0, 10, 40)
    xpdl.train(Network([20, 30, 10]), x, y, epochs=3, batch_size=8, backend="numpy", progress=False)


def test_evaluating_is_not_worth_a_compiler(monkeypatch) -> None:
    """It returns single numbers, however long theta and the activations are."""
    monkeypatch.setattr(c_compiler, "compiled", lambda *arguments: pytest.fail("a compiler was asked"))
    x, y = np.ones((400, 784), "float32"), np.zeros(400, int)
    xpdl.evaluate(WIDE, WIDE.initialize(0), x, y, backend="numpy")


@pytest.mark.parametrize("command", ["", "no-such-compiler", "false"])
def test_without_a_compiler_that_works_the_step_is_replayed_in_numpy(monkeypatch, command) -> None:
    """The numbers are the same."""
    monkeypatch.setenv("CC", command)
    c_compiler.compiler.cache_clear()
    try:
        (expected, _), (actual, step) = (trained(compiled, WIDE, True) for compiled in (False, True))
        assert kernels(step) == []
    finally:
        monkeypatch.undo()
        c_compiler.compiler.cache_clear()
    assert all(map(np.array_equal, actual, expected))
    assert WIDE.size >= LONG


# Memory


def test_memory_begins_with_a_cache_line() -> None:
    for size in (0, 1, 7, 64, 1000):
        piece = memory(size)
        assert (piece.nbytes, piece.ctypes.data % ALIGNMENT) == (size, 0)


def test_products_and_reductions_are_not_elementwise() -> None:
    assert [*map(elementwise, (np.add, np.exp, np.isfinite))] == [True] * 3
    assert [*map(elementwise, (np.matmul, np.sum, np.take))] == [False] * 3


@pytest.mark.parametrize("name", ["sum", "max", "min", "take", "astype", "matmul"])
def test_a_writer_writes_into_the_place(name) -> None:
    """They are the numbers of the function."""
    function, rng = getattr(NUMPY.xp, name), np.random.default_rng(0)
    x = rng.normal(size=(4, 4))
    operands = {"take": (x, np.array([2, 0, 2])), "astype": (x, np.int32), "matmul": (x, x)}.get(name, (x,))
    options = {"axis": 0} if len(operands) == 1 or name == "take" else {}
    expected = function(*operands, **options)
    place = np.zeros_like(expected)
    TARGET.writers[function](place, *operands, **options)()
    np.testing.assert_array_equal(place, expected, strict=True)


def test_a_replayed_step_asks_for_no_memory() -> None:
    """Each of its results has 100 kB, so an allocation would show."""
    net, optimizer = Network([100, 100, 100, 10], dropout=0.5), xpdl.adam()
    x, y = np.ones((256, 100), "float32"), np.ones((256, 10), "float32")
    data = Data(x, y, np.arange(1024, dtype=np.int32) % 256, np.arange(256, dtype=np.int32))
    masks = [np.ones((256, 100), "float32")] * 2
    run = Carry(net.initialize(0), optimizer.init(net.initialize(0)), *(np.zeros((), t) for t in ("i4", "f4", "i4")))
    step = Replayed(TARGET, make_step(net, optimizer.update))
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
    step = Replayed(TARGET, make_step(net, optimizer.update))
    for _ in range(3):
        run = step(run, data, None)
    assert [array.ctypes.data % 64 for array in (run.theta, *run.state[1:])] == [0, 0, 0]
