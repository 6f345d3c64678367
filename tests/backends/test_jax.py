"""What only JAX has: many steps in one dispatch, kernels on each parameter by itself, memory that is given away."""

import subprocess
import sys

import numpy as np
import pytest

import xpdl
from xpdl import Network
from xpdl.files.train_state import Carry
from xpdl.optimizers import OPTIMIZERS
from xpdl.training.loop import _grouped
from xpdl.training.step import DISPATCH, Data, make_step

jax = pytest.importorskip("jax")
JAX = xpdl.backend("jax")


def start(net, optimizer, n=24, batch=4):
    """A run and its data."""
    rng = np.random.default_rng(0)
    put, zeros, k = JAX.asarray, JAX.zeros, net.sizes[-1]
    x = put(rng.normal(size=(n, net.sizes[0])))
    y = put(np.eye(k)[rng.integers(0, k, n)] if k > 1 else rng.integers(0, 2, (n, 1)).astype("float64"))
    data = Data(x, y, put(rng.permutation(n).astype("int32")), put(np.arange(batch, dtype="int32")))
    theta = put(net.initialize(0, "float64"), copy=True)
    return Carry(theta, optimizer.init(theta), *(zeros((), t) for t in ("int32", "float64", "int32"))), data


NETS = [Network([3, 5, 4, 2], l2=0.1), Network([3, 1], output="sigmoid"), Network([3, 4, 2], hidden="gelu")]


@pytest.mark.parametrize("net", NETS, ids=str)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_that_the_device_repeats_are_the_steps(net, name) -> None:
    optimizer = OPTIMIZERS[name](xpdl.schedules.cosine(0.1, 6))
    offsets = net.layout.offsets
    step = make_step(net, optimizer.fused(lambda kernel: JAX.fuse(kernel, offsets)))
    plain, one = make_step(net, optimizer.update), JAX.compile(step)
    (expected, data), (single, _), (repeated, _) = (start(net, optimizer) for _ in range(3))
    for _ in range(5):
        expected, single = plain(expected, data, None), one(single, data, None)
    repeated = JAX.repeat(step, offsets)(repeated, data, 5)
    for other in (single, repeated):
        for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(other), strict=True):
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            np.testing.assert_allclose(b, a, rtol=1e-12, atol=1e-15)


def test_any_number_of_steps_is_compiled_once() -> None:
    """Otherwise the last dispatch of an epoch would be compiled separately."""
    traced, net, optimizer = [], NETS[0], xpdl.adam()
    step = make_step(net, optimizer.update)
    repeat = JAX.repeat(lambda *arguments: traced.append(1) or step(*arguments), net.layout.offsets)
    run, data = start(net, optimizer)
    for count in (1, 2, 3):
        run = repeat(run, data, count)
    assert len(traced) == 1
    assert int(run.offset) == 6 * 4


def test_the_memory_of_the_first_argument_is_given_away() -> None:
    net, optimizer = NETS[0], xpdl.adam()
    run, data = start(net, optimizer)
    JAX.repeat(make_step(net, optimizer.update), net.layout.offsets)(run, data, 2)
    assert run.theta.is_deleted()
    assert not data.x.is_deleted()


def test_float32_is_multiplied_in_float32() -> None:
    """On a GPU, JAX would use TF32 by default."""
    net = Network([3, 4, 2])
    step = make_step(net, xpdl.sgd(0.1).update)
    run, data = start(net, xpdl.sgd(0.1))
    for lowered in (
        JAX.compile(step).function.lower(run, data, None),
        JAX.repeat(step, net.layout.offsets).function.lower(run, data, 2),
    ):
        products = [line for line in lowered.as_text().splitlines() if "dot_general" in line]
        assert len(products) == 5
        assert all("precision = [HIGHEST, HIGHEST]" in line for line in products)


@pytest.mark.parametrize("batches", [[4] * 7 + [2], [4], [4] * (2 * DISPATCH), [4] * (DISPATCH + 1) + [1]])
@pytest.mark.parametrize("most", [1, 3, DISPATCH])
def test_dispatches_take_every_step_once_and_in_order(batches, most) -> None:
    dispatches = list(_grouped(batches, most))
    assert [n for _, n, count in dispatches for _ in range(count)] == batches
    assert [step + i for step, _, count in dispatches for i in range(count)] == list(range(len(batches)))
    assert max(count for *_, count in dispatches) <= most


def test_training_with_many_steps_a_dispatch_is_the_training_of_numpy() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4 * DISPATCH + 30, 5)), rng.integers(0, 3, 4 * DISPATCH + 30)
    options = {"epochs": 2, "batch_size": 4, "dtype": "float64", "progress": False, "optimizer": xpdl.adam(1e-2)}
    results = [xpdl.train(Network([5, 4, 3]), x, y, backend=name, **options) for name in ("numpy", "jax")]
    np.testing.assert_allclose(results[1].theta, results[0].theta, rtol=1e-9, atol=1e-12)
    for one, other in zip(results[0].history, results[1].history, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-12)


@pytest.mark.parametrize(("reduced", "asked"), [(False, "HIGHEST"), (True, "HIGH")])
def test_products_are_in_float32_unless_tf32_is_asked_for(reduced, asked) -> None:
    """XLA's HIGHEST is float32 on every device, its HIGH and its default are TF32 on an NVIDIA GPU."""
    from xpdl.backends.jax import IN_TF32

    hooks = {"compile": JAX.compile, "repeat": JAX.repeat} | (IN_TF32 if reduced else {})
    net, optimizer = NETS[0], xpdl.adam()
    run, data = start(net, optimizer)
    step = make_step(net, optimizer.update)
    texts = [
        hooks["compile"](step).function.lower(run, data, None).as_text(),
        hooks["repeat"](step, net.layout.offsets).function.lower(run, data, 3).as_text(),
    ]
    for text in texts:
        products = [line for line in text.splitlines() if "dot_general" in line]
        assert products
        assert all(f"precision = [{asked}, {asked}]" in line for line in products)


@pytest.mark.parametrize("library", ["array_api_strict", "torch"])
def test_the_first_array_of_float64_keeps_its_digits(library) -> None:
    """JAX converts an array to float32 if its 64-bit types are not turned on yet."""
    pytest.importorskip(library)
    given = f"{library}.asarray([0.1], dtype={library}.float64)"
    text = f"import {library}, xpdl; print(float(xpdl.backend('jax').asarray({given})[0]))"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout == "0.1\n"


# 64-bit types


@pytest.fixture
def fresh_jax():
    """JAX as it is imported, without its 64-bit types."""
    jax = pytest.importorskip("jax")
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", False)
    yield jax
    jax.config.update("jax_enable_x64", before)


@pytest.mark.parametrize(
    ("make", "dtype"),
    [
        (lambda b: b.asarray(np.ones(2)), "float64"),
        (lambda b: b.asarray(np.ones(2), "float64"), "float64"),
        (lambda b: b.asarray(np.ones(2), "float64", copy=True), "float64"),
        (lambda b: b.asarray(np.array([2**40])), "int64"),
        (lambda b: b.zeros((2,), "float64"), "float64"),
        (lambda b: b.dropout_mask(0, 0, 1, (2, 2), 0.5, "float64"), "float64"),
    ],
)
def test_jax_gives_64_bits_from_the_first_call_on(fresh_jax, make, dtype) -> None:
    made = make(xpdl.backend("jax"))
    assert made.dtype == dtype
    assert fresh_jax.device_get(made).dtype == dtype


def test_jax_keeps_its_32_bit_default_until_64_bits_are_asked_for() -> None:
    """The backend must not change what a user's own JAX code computes."""
    pytest.importorskip("jax")
    text = """
import jax, numpy as np, xpdl
options = {"backend": "jax", "epochs": 1, "dtype": "float32", "progress": False}
xpdl.train(xpdl.Network([3, 3]), np.eye(3), np.arange(3), **options)
print(jax.config.jax_enable_x64)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
