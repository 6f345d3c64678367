"""The CuPy backend: its errors and its choice of a device anywhere, its arrays where there is a GPU.

Its kernels are tested in test_backends_cuda.py and test_backends_cuda_dropout.py.
"""

from dataclasses import replace
from functools import partial
from itertools import product
import subprocess
import sys

import numpy as np
import pytest

import xpdl
from xpdl import Network, schedules
from xpdl.backends import available_backends, backend
from xpdl.backends.replay import recorder as record
from xpdl.files.train_state import Carry
from xpdl.randomness import dropout_mask
from xpdl.training.dropout import dropout_masks
from xpdl.training.step import Data, make_step


@pytest.fixture
def cupy():
    return pytest.importorskip("cupy", reason="needs CuPy")


@pytest.fixture
def two_gpus(cupy, monkeypatch):
    """The module under test, where CuPy says that there are two GPUs."""
    monkeypatch.setattr(cupy.cuda, "is_available", lambda: True)
    monkeypatch.setattr(cupy.cuda.runtime, "getDeviceCount", lambda: 2)
    return __import__("xpdl.backends.cupy", fromlist=["connect"])


@pytest.fixture
def gpu(cupy):
    try:
        return backend("cupy")
    except RuntimeError as error:
        pytest.skip(str(error))


def test_without_cupy_or_a_gpu_the_error_says_what_to_install():
    if available_backends()["cupy"] == "ready":
        pytest.skip("there is a GPU here")
    with pytest.raises((ImportError, RuntimeError), match=r"backend 'cupy' .*: .*install") as caught:
        backend("cupy")
    assert "\n" not in str(caught.value)
    assert available_backends()["cupy"] == str(caught.value)


def test_cupy_is_imported_only_when_asked_for():
    asked = (
        "import sys, xpdl, xpdl.backends.cuda.dropout, xpdl.backends.kernels.tracing; sys.exit('cupy' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", asked], check=True)


@pytest.mark.parametrize(("device", "index"), [("", 0), ("0", 0), ("1", 1)])
def test_the_device_is_the_number_after_the_colon(two_gpus, device, index):
    connected = two_gpus.connect("cupy:1", device)
    assert (connected.name, connected.device.id) == ("cupy:1", index)
    assert connected.xp.__name__ == "array_api_compat.cupy"
    assert connected.activate().id == index


@pytest.mark.parametrize(("device", "kind", "message"), [("2", RuntimeError, "2 GPU"), ("a", ValueError, "got 'a'")])
def test_a_device_that_is_not_there(two_gpus, device, kind, message):
    with pytest.raises(kind, match=message):
        two_gpus.connect("cupy", device)


def of_numpy(x):
    return x


def of_torch(x):
    return pytest.importorskip("torch").asarray(x)


def of_torch_on_the_gpu(x):
    torch = pytest.importorskip("torch")
    return torch.asarray(x, device="cuda") if torch.cuda.is_available() else pytest.skip("PyTorch without CUDA")


def of_jax(x):
    return pytest.importorskip("jax").numpy.asarray(x)


def of_strict(x):
    return pytest.importorskip("array_api_strict").asarray(x)


def of_cupy(x):
    return pytest.importorskip("cupy").asarray(x)


@pytest.mark.parametrize(
    "make", [of_numpy, of_torch, of_torch_on_the_gpu, of_jax, of_strict, of_cupy, np.ndarray.tolist]
)
@pytest.mark.parametrize("dtype", ["float32", "int32", "uint8", "bool"])
def test_arrays_of_every_library_come_and_go(gpu, cupy, make, dtype):
    x = np.arange(6).reshape(2, 3).astype(dtype)
    array = gpu.asarray(make(x), dtype)
    assert type(array) is cupy.ndarray
    assert (array.device, array.dtype) == (gpu.device, dtype)
    for back in (gpu.to_numpy(array), backend("numpy").asarray(array)):
        assert type(back) is np.ndarray
        np.testing.assert_array_equal(back, x, strict=True)


def test_a_copy_shares_no_memory(gpu):
    x = gpu.asarray([1.0, 2.0], "float32")
    copied = gpu.asarray(x, copy=True)
    x += 1
    assert gpu.to_numpy(copied).tolist() == [1.0, 2.0]


def test_the_backend_makes_masks_on_its_device(gpu):
    mask = gpu.dropout_mask(1, 2, 3, (5, 7), 0.25, "float32")
    assert mask.device == gpu.device
    np.testing.assert_array_equal(gpu.to_numpy(mask), dropout_mask(1, 2, 3, (5, 7), 0.25, "float32"), strict=True)


def test_every_gpu_can_be_chosen(gpu, cupy):
    for i in range(cupy.cuda.runtime.getDeviceCount()):
        chosen = backend(f"cupy:{i}")
        moved = chosen.asarray(gpu.asarray(np.ones(3)))
        mask = chosen.dropout_mask(1, 2, 3, (5, 7), 0.25, "float32")
        with chosen.activate():
            made = cupy.zeros(3)
        chosen.synchronize()
        assert {moved.device.id, mask.device.id, made.device.id} == {i}


def test_a_fused_kernel_reads_rates_on_the_device(gpu, cupy):
    """It can be captured, which a wait for the host would forbid, and a replay sees the rate of its time."""

    def kernel(x, rate):
        x -= rate
        return (x,)

    step, x, rate = gpu.fuse(kernel), gpu.asarray(np.ones(1000)), gpu.asarray(np.asarray(0.25))
    step(x, rate)
    gpu.synchronize()
    with cupy.cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture()
        step(x, rate)
        graph = stream.end_capture()
        rate[...] = 0.5
        graph.launch()
        stream.synchronize()
    np.testing.assert_array_equal(gpu.to_numpy(x), np.full(1000, 0.25))


# Steps as graphs; without a GPU they are tested in test_backends_cuda_graph.py

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
    step = wrap(make_step(net, optimizer.fused(chosen.fuse)))
    state, seen, number = optimizer.init(theta), [], 0
    for _ in range(epochs):
        order, lanes = put(rng.permutation(n).astype(np.int32)), {m: put(np.arange(m, dtype="int32")) for m in sizes}
        run = Carry(theta, state, zeros((), "int32"), zeros((), dtype), zeros((), "int32"))
        for m in sizes:
            masks = dropout_masks(net, m, seed=0, step=number, backend=chosen, dtype=dtype)
            run = step(run, Data(x, y, order, lanes[m]), masks)
            seen.append([np.array(chosen.to_numpy(leaf)) for leaf in record.flatten(run)])
            number += 1
        theta, state = run.theta, run.state
    return seen, step


every_net = pytest.mark.parametrize(("net", "dtype"), list(product(NETS, ["float32", "float64"])))


@every_net
def test_a_graph_is_its_calls_one_by_one_bit_for_bit(gpu, monkeypatch, net, dtype):
    """A warning that there is no graph would be an error here."""
    from xpdl.backends.cuda.graph import Captured, Graphs

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
    """10 bits of a fraction: some 1e-4 of a gradient, where float32, and three products, are off by 1e-7."""
    net, dtype = Network([784, 256, 10]), "float32"
    expected, _ = train_by(gpu.compile, gpu, net, "float64", xpdl.sgd(1e-2))
    for precision, bounds in {"float32": (0, 1e-5), "3xtf32": (0, 1e-5), "tf32": (1e-6, 1e-2)}.items():
        chosen = backend(gpu, precision=precision)
        actual, _ = train_by(chosen.compile, chosen, net, dtype, xpdl.sgd(1e-2))
        moved = [np.linalg.norm(run[-1][0] - run[0][0]) for run in (actual, expected)]
        off = np.linalg.norm(actual[-1][0] - expected[-1][0]) / moved[1]
        assert bounds[0] <= off <= bounds[1]


def test_two_trainings_give_the_same_bits(gpu):
    """And evaluations between epochs do not disturb the graphs."""
    x, y = np.random.default_rng(0).integers(0, 256, (300, 784)).astype("uint8"), np.arange(300) % 10
    net = Network([784, 64, 10], dropout=0.2)
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
    net = Network([784, 64, 10])
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
